"""Process rewards that are learned: what the model of them sees of a step, what it says, and how right that is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from eprli_lab.algorithm.implicit_rewards import step_scores
from eprli_lab.algorithm.ranking import auc
from eprli_lab.backends.rewarder import ProcessRewarder
from eprli_lab.records import Group
from eprli_lab.tracking import names


def learn_rewards(
    rewarder: ProcessRewarder, level: str, groups: Sequence[Group]
) -> tuple[list[Group], dict[str, float]]:
    """The groups with their token rewards, and process/{l}/...: first the outcomes are learned, then it is scored.

    The groups are those of one update. All of their responses count, those too that get no loss for being cut off.
    """
    responses = [r for g in groups for r in g.responses]
    terms = rewarder.observe(responses, [grade.correct for g in groups for grade in g.grades])
    rewards = rewarder.score(responses)
    out, place = [], 0
    for group in groups:
        mine = tuple(rewards[place : place + len(group.responses)])
        out.append(dataclasses.replace(group, process=mine))
        place += len(group.responses)
    values = {"cross_entropy": terms.cross_entropy, "accuracy": terms.accuracy, "step_auc": step_auc(out)}
    return out, {names.process(level, k): v for k, v in values.items() if v is not None}


def step_auc(groups: Sequence[Group]) -> float | None:
    """AUC of the token rewards' sums over the steps of all responses against the exact check of each step.

    None where no step was checked, and where all were right or all were wrong.
    """
    scores: list[float] = []
    right: list[bool] = []
    for group in groups:
        for rewards, steps in zip(group.process, group.steps, strict=False):
            scores += step_scores(rewards, steps)
            right += [step.correct for step in steps]
    return auc(scores, right)
