"""What is asked of a mirror before anything is trained: its package, and what that needs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError


def check_mirrors(tracking: TrackingSpec, study: str | None) -> None:
    """Raises UserError, one sentence, for a mirror that cannot be written as things are."""
    for name in tracking.mirror:
        found = find_spec(name)
        if found is None or found.origin is None:  # a folder of this name, such as the mirrors make, is no package
            raise UserError(
                f"tracking.mirror: {name} needs the Python package {name}: pip install {name} (in a checkout: pip "
                f"install -c constraints.txt -e '.[{name}]'), or leave {name} out"
            )
    if "wandb" in tracking.mirror:
        from eprli_lab.tracking.mirrors import wandb_run

        wandb_run.check(tracking.experiment)
    if "trackio" in tracking.mirror:
        from eprli_lab.tracking.mirrors import trackio_project

        trackio_project.check(study, tracking.experiment, Path.cwd())
