"""One arm of a table: means over its seeds, and its difference to its baseline."""

from __future__ import annotations

from dataclasses import dataclass

from eprli_lab.reporting.stats.paired import PairedDifference


@dataclass(frozen=True)
class ArmRow:
    """One arm: means over its seeds. nan: not logged."""

    arm: str
    seeds: tuple[int, ...]
    start: dict[str, float]  # suite -> accuracy (avg_at_k) before training
    final: dict[str, float]  # suite -> accuracy after
    score_start: float  # of the objective
    score: float
    difference: PairedDifference | None  # to its baseline; None: it is one
    p_holm: float
    others: dict[str, PairedDifference]  # further objectives of the study -> difference to its baseline
    others_p: dict[str, float]  # those -> p, Holm-corrected over the arms
    baseline: str  # its baseline
    updates: float
    tokens: float
    response_tokens: float  # mean over suites, after training
    seconds: float
    admission: dict[str, float]  # level -> admitted / generated, over the whole run
    clip_low: dict[str, float]  # level -> fraction of tokens, mean over updates
    clip_high: dict[str, float]
    differs: tuple[str, ...]  # config values that are not the baseline's
