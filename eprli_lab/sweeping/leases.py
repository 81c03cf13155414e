"""Leases: who works on a study, whose heartbeat is overdue, and starts of the command (epochs).

A process writes a note of itself, `process:<identity>`, and counts up its `beat` while it lives; -1 says that it left.
Everything here is called while the study's lock is held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from eprli_lab.sweeping.clocks import Clock
from eprli_lab.tracking.process import ProcessIdentity

PREFIX = "process:"  # of the study's attributes that are notes
RECENT = 300.0  # s, or a longer lease; a process elsewhere that beat since then is taken for alive when a study opens


def process_notes(attributes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Identity of a process -> its note {"beat", "at", "epoch", "runs": {trial number: fraction}}; without who left."""
    notes = {k.removeprefix(PREFIX): v for k, v in attributes.items() if k.startswith(PREFIX)}
    return {identity: note for identity, note in notes.items() if note["beat"] >= 0}


def seconds_since(stamp: str) -> float:
    """Seconds since an ISO time stamp."""
    return (datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()


class Presence:
    """One process among those that work on a study. `study`: Optuna's; `lease`: s of silence after which one is gone.

    It joins those that are at work, or starts anew: then `epoch` is a new number and what failed before is tried again.
    Only that is decided by what people call the time, which somebody may set; silence is measured by our own clock.
    """

    def __init__(self, study: Any, process_id: str, lease: float, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.study = study
        self.process_id = process_id
        self.lease = lease
        self._beat = 0
        self._named: set[str] = set()  # silent ones that were told of
        self._last_look = self.clock.monotonic()
        self._last_change: dict[str, tuple[int, float]] = {}  # others: their beat, when we saw it change (monotonic, s)
        self._noted: set[str] = set()  # others that had not left when we last looked
        last = study.user_attrs.get("epoch")
        self.epoch: int = max((n["epoch"] for n in self._working().values()), default=(last or 0) + 1)
        if self.epoch != last:
            study.set_user_attr("epoch", self.epoch)
        self.observe()
        self._write({"beat": 0, "runs": {}})

    def heartbeat(self, fractions: Mapping[int, float]) -> None:
        """Say that this process lives, and how far its runs are: trial number -> fraction in [0, 1]."""
        self.observe()
        self._beat += 1
        self._write({"beat": self._beat, "runs": {str(k): round(v, 3) for k, v in fractions.items()}})

    def leave(self) -> None:
        """Say that this process is at work no longer."""
        self._write({"beat": -1})

    def rejoin(self) -> None:
        """Take part in the newest start of the command."""
        self.epoch = self.study.user_attrs["epoch"]

    def observe(self) -> None:
        """Remember when the beat of each of the others last changed, by our own clock.

        Who did not look for a whole lease (it was stopped, say) cannot tell who was silent meanwhile.
        """
        now = self.clock.monotonic()
        if now - self._last_look > self.lease:
            self.start_over()
        self._last_look = now
        others = self._others()
        self._noted = set(others)
        for identity, note in others.items():
            if identity not in self._last_change or self._last_change[identity][0] != note["beat"]:
                self._last_change[identity] = (note["beat"], now)

    def start_over(self) -> None:
        """Give everybody a whole lease from now on."""
        now = self.clock.monotonic()
        self._last_change = {identity: (beat, now) for identity, (beat, _) in self._last_change.items()}

    def is_stale(self, identity: str) -> bool:
        """Is that process known to be dead, or silent for a whole lease? Its trials may then be taken over.

        As far as the last `observe` knows, which comes before in the same step: one is asked of every trial under way.
        """
        process = ProcessIdentity.parse(identity)
        if identity == self.process_id or not process.is_alive(elsewhere=True):
            return True
        if process.is_local:
            return False
        if identity not in self._noted:
            return True
        return self.clock.monotonic() - self._last_change[identity][1] > self.lease

    def silent(self, identities: Iterable[str]) -> list[str]:
        """Those of this machine that live and were not heard for a whole lease: a sentence each, once."""
        sentences = []
        for identity in sorted(identities):
            process = ProcessIdentity.parse(identity)
            _, changed = self._last_change.get(identity, (0, self.clock.monotonic()))
            silence = self.clock.monotonic() - changed
            if process.is_local and silence > self.lease and identity not in self._named:
                self._named.add(identity)
                sentences.append(
                    f"process {process.pid} of this machine holds runs and has said nothing for {silence:.0f} s: if it "
                    f"is stopped, kill -CONT {process.pid} lets it go on, and kill -KILL {process.pid} frees its runs"
                )
        return sentences

    def _others(self) -> dict[str, dict[str, Any]]:
        """Notes of the processes that did not leave by themselves."""
        notes = process_notes(self.study.user_attrs)
        return {identity: note for identity, note in notes.items() if identity != self.process_id}

    def _working(self) -> dict[str, dict[str, Any]]:
        """Notes of the others that are alive, as far as one that just came can tell."""
        out = {}
        for identity, note in self._others().items():
            process = ProcessIdentity.parse(identity)
            age = (self.clock.now() - datetime.fromisoformat(note["at"])).total_seconds()
            recent = abs(age) < max(RECENT, self.lease)  # a stamp from the future: a clock was set, and it says nothing
            if process.is_alive(elsewhere=True) and (process.is_local or recent):
                out[identity] = note
        return out

    def _write(self, note: dict[str, Any]) -> None:
        now = self.clock.now().isoformat(timespec="seconds")
        self.study.set_user_attr(f"{PREFIX}{self.process_id}", {**note, "at": now, "epoch": self.epoch})
