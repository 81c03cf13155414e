"""`python -m eprli_lab.warmstart`: make the initial policy of a generated family from nothing, by one seeded recipe.

SFT on worked chains to near-competence, then SFT on noisy demonstrations (each step's result wrong with probability
`noise`, the error carried on). That gives a policy that knows how but is unsure, and RL something to do; what RL does
here is mostly sharpening of this latent skill.

    python -m eprli_lab.warmstart model=mod10 data=mod10             # into eprli_lab/assets/mod10
    python -m eprli_lab.warmstart model=int data=int out=somewhere
"""

from __future__ import annotations

import sys
from pathlib import Path

from eprli_lab.backends.local.warmstart import make
from eprli_lab.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Command line: Hydra overrides, and `out=DIR`; the exit code."""
    from eprli_lab.config.compose import compose_spec
    from eprli_lab.config.paths import ASSETS_DIR

    given = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(given):
        print(__doc__)
        return 0
    out = next((a.removeprefix("out=") for a in given if a.startswith("out=")), None)
    overrides = [a for a in given if not a.startswith("out=")]
    try:
        spec = compose_spec(overrides)
        if spec.model.config is None or spec.data.generated is None:
            raise UserError("a warm start needs a model built from a config and a generated data family")
        family = spec.data.generated.family
        directory = Path(out) if out else ASSETS_DIR / family
        command = " ".join(["python -m eprli_lab.warmstart", *overrides])
        provenance = make(spec.model, family, directory, command)
    except UserError as error:
        print(f"eprli_lab: {error}", file=sys.stderr)
        return 2
    print(f"{directory}: sha256 {provenance['sha256'][:12]}, start accuracy {provenance['start_accuracy']}")
    return 0
