"""How far the looks of a running study are, and which looks it cannot have (docs/power.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eprli_lab.errors import UserError
from eprli_lab.sweeping.spec import StudySpec

if TYPE_CHECKING:
    from eprli_lab.reporting.stats.looks import Look, LookPlan

TAKEN = "looks"  # attribute of the study in its storage


@dataclass(frozen=True)
class Looked:
    """How far the looks of a study are."""

    plan: LookPlan
    taken: tuple[Look, ...]
    is_stopped: bool  # at the newest one, with seeds left

    @property
    def open_seeds(self) -> frozenset[int]:
        """Seeds that may be run now: those of the next look, or of the one at which the study stopped."""
        return frozenset(self.plan.seeds_of(len(self.taken) + (0 if self.is_stopped else 1)))

    def is_left(self, seed: int) -> bool:
        """May this seed still be run, now or after another look?"""
        return not self.is_stopped or seed in self.open_seeds


def refuse_looks(spec: StudySpec) -> None:
    """Raises UserError for looks that the study cannot have."""
    if spec.looks == 1:
        if spec.spending != "obrien_fleming":
            raise UserError(
                f"study.spending={spec.spending}: the study is looked at once, at its end, so it would change nothing: "
                "set study.looks, or leave it out"
            )
        return
    from eprli_lab.reporting.stats.looks import refusal

    if spec.search is not None:
        raise UserError(
            f"study.looks={spec.looks}: a search chooses its winners, and their runs are compared once, at the end: "
            "leave it out, or look at a study of the winners as arms"
        )
    why = refusal(len(spec.seeds), spec.looks)
    if why:
        raise UserError(f"study.looks={spec.looks}: {why} (study.seeds)")


def look_plan(spec: StudySpec) -> LookPlan:
    """When the study is looked at."""
    from eprli_lab.reporting.stats.looks import LookPlan

    return LookPlan(tuple(spec.seeds), spec.looks, spec.spending)


def looked(spec: StudySpec, attributes: Mapping[str, Any]) -> Looked | None:
    """From the attributes of a study in its storage; None of one that is not looked at early."""
    if spec.looks == 1:
        return None
    from eprli_lab.reporting.stats.looks import read_looks

    taken, is_stopped = read_looks(attributes.get(TAKEN, ""))
    return Looked(look_plan(spec), taken, is_stopped)
