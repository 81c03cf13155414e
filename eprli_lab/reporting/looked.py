"""How far the looks of a study are, as it was logged (docs/power.md): what may be judged now, and over which seeds."""

from __future__ import annotations

from dataclasses import dataclass

from eprli_lab.reporting.stats.looks import (
    Look,
    LookPlan,
    Pair,
    Scores,
    SequentialTest,
    examine,
    is_over,
    read_looks,
)
from eprli_lab.tracking.description import Contrast, StudyDescription

BROKEN = "looks: "  # begins the line of a plan of looks that was changed with study.force


@dataclass(frozen=True)
class StudyLooks:
    """The looks of a study: their plan, those that were taken, and whether the newest one stopped it early."""

    plan: LookPlan
    taken: tuple[Look, ...]
    is_stopped: bool
    is_broken: bool  # the plan was changed after there were runs: nothing is judged

    def test(self, scores: Scores, pair: Pair) -> SequentialTest:
        """What the looks so far say of one comparison."""
        return examine(scores, [pair], self.plan, self.taken)[0]

    @property
    def not_run(self) -> tuple[int, ...]:
        """Seeds that the study stopped before."""
        return self.plan.seeds[len(self.plan.seeds_of(self.taken[-1].number)) :] if self.is_stopped else ()

    @property
    def rest(self) -> str:
        """A sentence on the seeds that the study stopped before."""
        seeds = ", ".join(map(str, self.not_run))
        many = "s" if len(self.not_run) > 1 else ""
        return f"seed{many} {seeds}: not run: stopped at look {self.taken[-1].number} of {self.plan.looks}"

    @property
    def waits(self) -> str:
        """Why nothing is judged; empty where something is."""
        if self.is_broken:
            return "not judged, since the looks were changed after the study had runs (study.force)"
        if not self.taken:
            return f"not judged before look 1 of {self.plan.looks} (after {self.plan.sizes[0]} seeds)"
        return ""

    @property
    def line(self) -> str:
        """What stands above every table."""
        total = f"{len(self.plan.seeds)} seeds"
        by = f"{self.plan.spending} spending"
        if self.waits:
            return f"Looks: {self.waits}."
        k = self.taken[-1].number
        after = len(self.plan.seeds_of(k))
        if self.is_stopped:
            return (
                f"Stopped at look {k} of {self.plan.looks} after {after} of {total}: all that the study asks is "
                f"decided ({by}; p and intervals are those of the looks)."
            )
        if k == self.plan.looks:
            return f"Look {k} of {self.plan.looks}, the last, after {total} ({by}; p and intervals are of the looks)."
        return (
            f"Look {k} of {self.plan.looks} after {after} of {total}: the study goes on ({by}; later seeds are not "
            "looked at before their look)."
        )


def study_looks(description: StudyDescription, record: str, scores: Scores) -> StudyLooks | None:
    """From a study's description, the record of looks that its sweep left (a tag), and the objective of its runs.

    A look that is not recorded, since the sweep is under way, is taken when all its runs are there: it is the one that
    the sweep takes. None of a study that is looked at once and always was.
    """
    is_broken = any(line.startswith(BROKEN) for line in description.forced)
    if description.looks == 1 and not is_broken:
        return None
    plan = LookPlan(description.seeds, description.looks, description.spending)
    try:
        taken, is_stopped = read_looks("" if is_broken else record)
    except ValueError:  # somebody wrote into the tag: the runs say the same
        taken, is_stopped = read_looks("")
    pairs = deciding_pairs(description)
    while not (is_stopped or is_broken) and len(taken) < plan.looks:
        new = Look(len(taken) + 1)
        if any(s not in scores.get(arm, {}) for arm in description.arms for s in plan.seeds_of(new.number)):
            break
        taken = (*taken, new)
        is_stopped = len(taken) < plan.looks and is_over(scores, pairs, plan, taken)
    return StudyLooks(plan, taken, is_stopped, is_broken)


def deciding_pairs(description: StudyDescription) -> list[Pair]:
    """What must be decided before the study may stop: its contrasts; without any, every arm and its baseline."""
    arms = description.arms
    contrasts = [Contrast.of(text) for text in description.contrasts]
    named = [(c.arm, c.reference) for c in contrasts if c.arm in arms and c.reference in arms]
    if named or description.baseline is None:
        return named
    return [(a, b) for a in arms if (b := description.arm_baselines.get(a, description.baseline)) != a]
