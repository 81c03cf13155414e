"""The dynamic-sampling buffer of one level: admits groups, ages them, hands out N_l, counts (docs/algorithm.md)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from eprli_lab.algorithm.starvation import main_rejection, remedy
from eprli_lab.config.curriculum import AdmissionSpec
from eprli_lab.records import VERDICTS, Group, Verdict


@dataclass
class Tally:
    """What happened to the groups since the last `take`; every generated group is in exactly one verdict."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    rounds: int = 0  # sampling rounds
    tokens: int = 0  # generated tokens
    stale_dropped: int = 0  # carried groups that grew too old
    overflow: int = 0  # admitted groups beyond N_l: carried or dropped

    @property
    def generated(self) -> int:
        """All groups that were sampled: admitted + too_hard + too_easy + no_signal + errored."""
        return sum(self.verdicts.values())


class Buffer:
    """Admitted groups waiting for an update.

    Surplus groups (beyond N_l when the update comes) are carried over to the next update (`carry`), thrown away
    (`drop`), or trained on as well (`train`). Carried groups age: staleness is the number of updates made since
    they were sampled, and beyond `max_staleness` they are dropped and counted.
    """

    def __init__(self, admission: AdmissionSpec, size: int) -> None:
        self.admission, self.size = admission, size
        self.groups: list[Group] = []  # oldest first
        self.tally = Tally()

    def add_round(self, groups: list[Group]) -> None:
        """Count one sampling round, whatever its verdicts, and keep what was admitted."""
        self.tally.rounds += 1
        for group in groups:
            self.tally.verdicts[group.verdict] += 1
            self.tally.tokens += group.tokens
            if group.verdict == "admitted":
                self.groups.append(group)

    @property
    def full(self) -> bool:
        """N_l groups are waiting: the update may be made."""
        return len(self.groups) >= self.size

    def take(self) -> list[Group]:
        """The groups of the next update (N_l of them, oldest first; all of them under `train`).

        Raises ValueError below N_l: below it there is no update.
        """
        if not self.full:
            raise ValueError(f"the buffer holds {len(self.groups)} groups, {self.size} are needed")
        if self.admission.surplus == "train":
            taken, rest = self.groups, []
        else:
            taken, rest = self.groups[: self.size], self.groups[self.size :]
        self.tally.overflow = len(rest)
        self.groups = rest if self.admission.surplus == "carry" else []
        return taken

    def expire(self, version: int) -> None:
        """Drop carried groups older than `max_staleness` updates at `version`, and count them."""
        fresh = [g for g in self.groups if version - g.version <= self.admission.max_staleness]
        self.tally.stale_dropped += len(self.groups) - len(fresh)
        self.groups = fresh

    def pop_tally(self) -> Tally:
        """The tally since the last call; the next one starts from zero."""
        tally, self.tally = self.tally, Tally()
        return tally


def conserved(tally: Tally) -> bool:
    """generated = admitted + too_hard + too_easy + no_signal + errored, and nothing else is a verdict."""
    return set(tally.verdicts) <= set(VERDICTS) and tally.generated == sum(tally.verdicts[v] for v in VERDICTS)


def starvation_advice(level: str, admission: AdmissionSpec, verdicts: Counter[Verdict], rounds: int) -> str:
    """One sentence for a level that could not fill its buffer: what kept it empty and which threshold to change."""
    counts = ", ".join(f"{verdicts[v]} {v}" for v in VERDICTS)

    def now(setting: str) -> str:
        head, _, name = setting.partition(".")
        return str(getattr(admission, name)) if head == "admission" else ""

    advice = remedy(level, main_rejection(verdicts), now)
    return f"level {level} starved after {rounds} rounds ({counts}): {advice}"
