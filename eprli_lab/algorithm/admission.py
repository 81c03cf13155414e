"""Which groups may train the policy: exactly one verdict a group, before anything is dropped (docs/algorithm.md)."""

from __future__ import annotations

from collections.abc import Sequence

from eprli_lab.config.curriculum import AdmissionSpec
from eprli_lab.records import Verdict

SPREAD_TOLERANCE = 1e-9  # rewards closer than this are equal: what is left is float noise, not signal


def admission_verdict(
    admission: AdmissionSpec, correct: Sequence[bool], rewards: Sequence[float], errored: bool = False
) -> Verdict:
    """The verdict on one group of G responses.

    The band [a_min, a_max] is closed. It is applied to the raw accuracy (the default: a length term gives an
    all-wrong group reward spread, and group normalisation would blow that up into a full-size phantom gradient)
    or to the mean shaped reward (`metric: reward`, the rule that lets such groups pass).
    `no_signal` is a group inside the band whose final rewards have no spread: its advantages are all zero.
    """
    if errored:
        return "errored"
    if admission.metric == "accuracy":
        value = sum(correct) / len(correct)  # an exact ratio: 3 of 10 compares equal to a threshold of 0.3
    else:
        value = sum(rewards) / len(rewards)
    if value < admission.accuracy_min:
        return "too_hard"
    if value > admission.accuracy_max:
        return "too_easy"
    if max(rewards) - min(rewards) <= SPREAD_TOLERANCE:
        return "no_signal"
    return "admitted"
