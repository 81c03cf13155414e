"""The arms of a study beside each other: one row an arm, means over its seeds and its difference to its baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass

from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.paired import PairedDifference
from eprli_lab.reporting.tables.numbers import difference_text


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
    secondary_score: dict[str, float]  # further objectives of the study -> last value
    secondary: dict[str, PairedDifference]  # those -> difference to its baseline
    secondary_p: dict[str, float]  # those -> p, Holm-corrected over the arms
    baseline: str  # its baseline
    updates: float
    tokens: float
    response_tokens: float  # mean over suites, after training
    seconds: float
    entropy: float  # nats a token, over the last updates
    parameters: float  # of all networks together
    transfer: dict[str, float]  # forward_transfer, backward_transfer, forgetting -> mean over seeds
    admission_rate: dict[str, float]  # level -> admitted / generated, over the whole run
    clip_fraction_low: dict[str, float]  # level -> fraction of tokens, mean over updates
    clip_fraction_high: dict[str, float]
    config_diff: tuple[str, ...]  # config values that are not the baseline's


@dataclass(frozen=True)
class Comparison:
    """The rows of a study, and the baseline that it is named after."""

    study: StudyData
    baseline: str
    rows: list[ArmRow]

    @property
    def has_other_baselines(self) -> bool:
        """Is any arm compared with another arm than the table's baseline?"""
        return any(r.difference is not None and r.baseline != self.baseline for r in self.rows)

    def format_difference(self, row: ArmRow, difference: PairedDifference | None) -> str:
        """A difference as a cell, with its seeds and baseline where they are not the row's and the table's."""
        if difference is None:
            return "baseline"
        n = difference.n
        seeds = f" (n={n})" if n and n != len(row.seeds) and not math.isnan(difference.low) else ""
        base = f" to {row.baseline}" if row.baseline != self.baseline else ""
        return difference_text(difference) + seeds + base

    def run_ids(self, row: ArmRow) -> str:
        """The ids of an arm's runs, by seed, with a space between them."""
        return " ".join(run.run_id for run in self.study.of(row.arm))
