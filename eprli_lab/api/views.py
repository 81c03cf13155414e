"""What a study looks like: its table of arms and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eprli_lab.api.tables import AblationTable, table_of
from eprli_lab.errors import UserError, nearest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from eprli_lab.api.studies import Study


def ablation_table(study: Study, baseline: str | None = None) -> AblationTable:
    """The study's table of arms, the one that the sweep printed.

    `baseline`: an arm that all are compared with; None: the study's own baselines. Raises UserError when there is no
    such arm, the study is a search (its values chose its winners and compare nothing), or no run belongs to an arm.
    """
    return table_of(study.data, baseline)


def figures(study: Study, names: Sequence[str] | None = None, baseline: str | None = None) -> dict[str, Figure]:
    """The figures of the study's report, by name: effects, learning_curves, buffer, forgetting and more.

    `names`: those that are wanted; None: all for which something was logged, in the order of the report. `baseline`:
    as of `ablation_table`. The figures belong to no window: show one by its name in a notebook, or `savefig` it.
    Raises UserError for a name that this study has no figure of, with the nearest.
    """
    from eprli_lab.reporting.artifacts import read_artifacts
    from eprli_lab.reporting.figures import pictures

    if isinstance(names, str):
        raise UserError(f"figures: give the names as a list, [{names!r}]")
    needs_artifacts = names is None or not {"pass_at_k", "drawn"}.isdisjoint(names)
    found = read_artifacts(study.tracking, study.data) if needs_artifacts else None
    outcomes, ledger = (found.outcomes, found.ledger) if found is not None else (None, None)
    found_pictures = pictures(study.data, baseline, names, outcomes, ledger)
    drawn: dict[str, Figure] = {p.name: p.figure for one in found_pictures for p in (one, *one.alternatives)}
    for name in names or ():
        if name not in drawn:
            known = [p.name for p in pictures(study.data, baseline)]
            raise UserError(f"figures: {study.name} has no figure '{name}'{nearest(name, known)}")
    return drawn if names is None else {name: drawn[name] for name in names}
