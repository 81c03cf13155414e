"""Which groups may train the policy: exactly one verdict a group, before anything is dropped (docs/algorithm.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eprli_lab.algorithm.memory import Remembering
from eprli_lab.config.curriculum import AdmissionSpec
from eprli_lab.config.extensions import resolve
from eprli_lab.records import ZERO_VARIANCE, Problem, Verdict

SPREAD_TOLERANCE = 1e-9  # rewards closer than this are equal: what is left is float noise, not signal


class AdmissionRule(Remembering):
    """Base of admission rules, one object a level: `verdict` is to be given, the rest may stay as it is.

    A rule with memory keeps it in plain data that `state` returns and the constructor takes back.
    """

    def __init__(self, spec: AdmissionSpec, state: dict[str, Any] | None = None) -> None:
        self.spec = spec

    def verdict(self, problem: Problem, correct: Sequence[bool], rewards: Sequence[float]) -> Verdict:
        """admitted, too_hard or too_easy, for one group: whether each response is right [G], shaped rewards [G]."""
        raise NotImplementedError


class Band(AdmissionRule):
    """The closed band [a_min, a_max], on the raw accuracy or on the mean shaped reward.

    On the accuracy by default: a length term gives an all-wrong group reward spread, and group normalisation would blow
    that up into a full-size phantom gradient. `metric: reward` is the rule that lets such groups pass.
    """

    def verdict(self, problem: Problem, correct: Sequence[bool], rewards: Sequence[float]) -> Verdict:
        """By which side of the band the group is on."""
        if self.spec.metric == "accuracy":
            value = sum(correct) / len(correct)  # an exact ratio: 3 of 10 compares equal to a threshold of 0.3
        else:
            value = sum(rewards) / len(rewards)
        if value < self.spec.accuracy_min:
            return "too_hard"
        if value > self.spec.accuracy_max:
            return "too_easy"
        return "admitted"


def make_rule(spec: AdmissionSpec, state: dict[str, Any] | None = None) -> AdmissionRule:
    """The rule of one level; `state`: as it was saved."""
    made: AdmissionRule = resolve("admission", spec.rule)(spec, state)
    return made


def admission_verdict(
    rule: AdmissionRule, problem: Problem, correct: Sequence[bool], rewards: Sequence[float], errored: bool = False
) -> Verdict:
    """The verdict on one group of G responses: `errored`, the rule's, or zero variance for one that it would admit.

    Rewards without spread make advantages that are all zero: such a group teaches nothing, whatever the rule.
    """
    if errored:
        return "errored"
    verdict = rule.verdict(problem, correct, rewards)
    if verdict == "admitted" and max(rewards) - min(rewards) <= SPREAD_TOLERANCE:
        return ZERO_VARIANCE
    return verdict
