"""What the tracking parent remembers of a study of arms."""

from __future__ import annotations

from collections.abc import Sequence

from eprli_lab.sweeping.spec import PlannedRun, StudySpec
from eprli_lab.tracking.description import Objective, StudyDescription


def describe_arms(spec: StudySpec, runs: Sequence[PlannedRun], objectives: Sequence[Objective]) -> StudyDescription:
    """Its question, how its arms are compared, and the fingerprint of every run that is planned."""
    one_an_arm = {run.arm: run for run in runs}
    in_file_order = [name for name in spec.arms if name in one_an_arm]
    winners = [name for name in one_an_arm if name not in spec.arms]
    baselines = {name: spec.arms[name].baseline for name in in_file_order}
    planned: dict[str, dict[str, str]] = {}
    for run in runs:
        planned.setdefault(run.arm, {})[str(run.seed)] = run.fingerprint
    return StudyDescription(
        kind="arms",
        question=spec.question,
        claim=spec.claim,
        objectives=tuple(objectives),
        baseline=spec.baseline,
        arm_baselines={arm: baseline for arm, baseline in baselines.items() if baseline is not None},
        contrasts=tuple(spec.contrasts),
        expected=tuple(spec.expected),
        looks=spec.looks,
        spending=spec.spending,
        varies_evaluation=spec.varies_evaluation,
        arms=(*in_file_order, *winners),
        seeds=tuple(spec.seeds),
        configurations={arm: run.configuration for arm, run in one_an_arm.items()},
        planned=planned,
        after={
            arm: {key: f"{run.after.arm} {metric}" for key, metric in run.after.set.items()}
            for arm, run in one_an_arm.items()
            if run.after is not None
        },
    )
