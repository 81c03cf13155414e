"""Thousands of scripted runs under kills, stops, full disks, outages and set clocks, in simulated time.

    python benchmarks/soak.py SEED RUNS

The study, its storage, its journal and its leases are the package's own; simulated are the clock, the machines and what
the system says to a write. Several processes of several machines take turns, drawn from SEED, on studies of 6 arms and
5 seeds; each may be killed in the middle of an append, stopped for longer than its lease, find the disk full or the
file system gone, and see its wall clock set by an hour. After every event and every study the invariants are checked;
the first one that is broken ends the soak with an AssertionError. Prints a report.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from eprli_lab.config.compose import compose_tree
from eprli_lab.errors import UserError
from eprli_lab.sweeping import journal, opened, witness
from eprli_lab.sweeping.clocks import Clock
from eprli_lab.sweeping.opened import LeaseLostError
from eprli_lab.sweeping.plan import Plan, build_plan
from eprli_lab.sweeping.states import TrialState
from eprli_lab.sweeping.study import Study
from eprli_lab.sweeping.trials import Task, key_of

ARMS = "abcdef"
SEEDS = range(5)
STEPS = 4  # of a run
MACHINES = 4
LEASE = 60.0
MAX_TURNS = 20_000  # of one study
HELD_PATIENCE = 30.0  # s that a worker waits for a run's directory
FILES = {"study.journal", "study.journal.witness", "study.lock"}

Key = tuple[str, int]


class Killed(BaseException):
    """The simulated process ends here, at once."""


def expected(key: Key, steps: int = STEPS) -> float:
    """The score of an undisturbed run."""
    total = ARMS.index(key[0])
    for step in range(steps):
        total = (31 * total + key[1] + step) % 1009
    return total / 1009


@dataclass
class World:
    """What all simulated processes share: time, the disk, the runs' directories; and what has happened so far."""

    rng: random.Random
    seconds: float = 0.0
    full_until: float = 0.0
    gone_until: float = 0.0
    chaos: bool = False  # faults are drawn now
    directories: dict[Key, int] = field(default_factory=dict)  # steps that were saved
    writers: dict[Key, str] = field(default_factory=dict)  # who holds a run's directory
    events: Counter[str] = field(default_factory=Counter)


class MachineClock(Clock):
    """Of one machine: simulated time, and a wall clock that somebody sets now and then."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.offset = timedelta(0)

    def monotonic(self) -> float:
        return self.world.seconds

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.world.seconds) + self.offset

    def sleep(self, seconds: float) -> None:
        self.world.seconds += seconds


class FaultyOs:
    """The system as the journal and its witness see it. All else is the real one's."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def stat(self, path: Any) -> os.stat_result:
        if self._world.seconds < self._world.gone_until:
            self._world.events["outage seen"] += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return os.stat(path)

    def fsync(self, handle: int) -> None:
        world = self._world
        if world.seconds < world.full_until:
            world.events["full disk seen"] += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if world.chaos and world.rng.random() < 0.008:
            if world.rng.random() < 0.7:  # only a part of the line has reached the disk
                size = os.fstat(handle).st_size
                os.ftruncate(handle, max(0, size - world.rng.randrange(1, 120)))
                self._mend(handle)
                world.events["killed within a line"] += 1
            else:
                world.events["killed after a line, before its witness"] += 1
            raise Killed

    @staticmethod
    def _mend(handle: int) -> None:
        """A line cannot be cut beyond its own beginning."""
        path = Path(f"/proc/self/fd/{handle}").resolve()
        known = witness.Witness(path).read()
        if known is not None and os.fstat(handle).st_size < known.size:
            os.ftruncate(handle, known.size)

    def pwrite(self, handle: int, data: bytes, offset: int) -> int:
        if self._world.chaos and self._world.rng.random() < 0.004:
            self._world.events["killed before the witness was written"] += 1
            raise Killed
        return os.pwrite(handle, data, offset)


class Process:
    """One simulated process: a controller with one worker."""

    def __init__(self, world: World, plan: Plan, machine: str, incarnation: int, clock: MachineClock) -> None:
        self.world = world
        self.name = f"{machine}:{incarnation}:1"
        self.clock = clock
        self.task: Task | None = None
        self.blocked_since: float | None = None  # waiting for a run's directory
        self.stopped_until = 0.0
        self.next_heartbeat = 0.0
        self.finished = False
        self.study = Study(plan, process_id=self.name, clock=clock)

    def turn(self) -> None:
        """The next thing that a controller and its worker do. Raises Killed or UserError: the process ends."""
        if self.world.seconds >= self.next_heartbeat and self.world.rng.random() < 0.7:  # else a result comes first
            self.next_heartbeat = self.world.seconds + LEASE / 6
            lost = self.study.heartbeat({} if self.task is None else {self.task.number: 0.5})
            if lost:
                self._let_go("lease lost, heard at a heartbeat")
        if self.task is None:
            self.task = self.study.claim()
            if self.task is None:
                self.finished = self.study.left() == 0
            return
        try:
            self._work(self.task)
        except LeaseLostError:
            self._let_go("lease lost, heard at a result")

    def _work(self, task: Task) -> None:
        world = self.world
        key = task.run.key
        if world.writers.get(key, self.name) != self.name:
            self.blocked_since = world.seconds if self.blocked_since is None else self.blocked_since
            if world.seconds - self.blocked_since > HELD_PATIENCE:
                world.events["a run's directory was held"] += 1
                self.blocked_since = None
                assert self.study.worker_died(task, "held")
            return
        self.blocked_since = None
        world.writers[key] = self.name
        step = world.directories.get(key, 0)
        if step < STEPS:
            world.directories[key] = step + 1
            if world.rng.random() < 0.02:
                world.events["a try failed"] += 1
                assert self.study.fail(task, "out of luck")
            return
        outcome = self.study.succeed(task, {"score": expected(key, step)}, 1.0)
        assert outcome == "complete"
        world.events["run booked"] += 1
        self._let_go("")

    def _let_go(self, why: str) -> None:
        assert self.task is not None
        if why:
            self.world.events[why] += 1
        self.end()
        self.task = None
        self.blocked_since = None

    def end(self) -> None:
        """It is gone, or leaves its run: the system takes its locks away."""
        for key in [k for k, name in self.world.writers.items() if name == self.name]:
            del self.world.writers[key]


class Soak:
    """One study under chaos."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.world = world
        self.plan = plan
        self.clocks = {f"node{i}": MachineClock(world) for i in range(MACHINES)}
        self.up: dict[str, Process] = {}
        self.incarnations = 0
        self.booked: dict[Key, list[float]] = {}

    def run(self) -> None:
        """To its end. Raises AssertionError when an invariant is broken."""
        world = self.world
        turns = 0
        while not (self.up and all(p.finished for p in self.up.values())):
            turns += 1
            assert turns < MAX_TURNS, "the study does not end"
            world.seconds += world.rng.uniform(0.2, 6.0)
            machine = f"node{world.rng.randrange(MACHINES)}"
            world.chaos = True
            try:
                self._turn(machine)
            except Killed:
                world.events["process killed"] += 1
                self.up.pop(machine, None)
            except UserError as error:
                assert "cannot be used" in str(error) and "\n" not in str(error), error
                world.events["process ended with a sentence"] += 1
                self._end(machine)
            world.chaos = False
            self._check()
        self._check_end()

    def _turn(self, machine: str) -> None:
        world = self.world
        world.events["turn"] += 1
        self._draw_faults(machine)
        process = self.up.get(machine)
        if process is None:
            if world.rng.random() < 0.3:
                self.incarnations += 1
                world.events["process started"] += 1
                with self._ended_when_killed(machine):
                    self.up[machine] = Process(world, self.plan, machine, self.incarnations, self.clocks[machine])
            return
        if world.seconds < process.stopped_until:
            return
        if world.rng.random() < 0.008:
            self._end(machine)
            raise Killed
        with self._ended_when_killed(machine):
            process.turn()

    @contextlib.contextmanager
    def _ended_when_killed(self, machine: str) -> Iterator[None]:
        try:
            yield
        except Killed:
            self._end(machine)
            raise

    def _draw_faults(self, machine: str) -> None:
        world = self.world
        rng = world.rng
        if rng.random() < 0.015 and machine in self.up:
            world.events["process stopped"] += 1
            self.up[machine].stopped_until = world.seconds + rng.uniform(0.0, 4 * LEASE)
        if rng.random() < 0.002:
            world.events["disk full"] += 1
            world.full_until = world.seconds + rng.choice((5.0, 60.0, 400.0))
        if rng.random() < 0.001:
            world.events["file system gone"] += 1
            world.gone_until = world.seconds + rng.uniform(1.0, 60.0)
        if rng.random() < 0.003:
            world.events["clock set"] += 1
            self.clocks[machine].offset = timedelta(hours=rng.choice((-1, 0, 1)))

    def _end(self, machine: str) -> None:
        process = self.up.pop(machine, None)
        if process is not None:
            process.end()

    def _trials(self) -> Any:
        """What the storage holds, read by somebody whom no fault meets; None while nobody is there or nobody can."""
        world = self.world
        if not self.up or world.seconds < world.gone_until:
            return None
        study = next(iter(self.up.values())).study
        return study.storage.step(study._trials)

    def _check(self) -> None:
        """After every event: one trial a run that is not failed, one owner a trial, no booked value ever changes."""
        trials = self._trials()
        if trials is None:
            return
        keys = Counter(key_of(t) for t in trials.in_state(TrialState.RUNNING, TrialState.FREE, TrialState.COMPLETE))
        assert all(count == 1 for count in keys.values()), f"doubled: {keys}"
        held = Counter(p.task.number for p in self.up.values() if p.task and p.study._holds(p.task.number))
        assert all(count == 1 for count in held.values()), f"owned by two: {held}"
        complete = {key_of(t): t.values for t in trials.in_state(TrialState.COMPLETE)}
        for key, values in self.booked.items():
            assert complete.get(key) == values, f"{key} was lost or changed"
        self.booked = complete

    def _check_end(self) -> None:
        """Every run once, with the undisturbed value; nothing under way; no file too many, none too large."""
        self.world.gone_until = self.world.full_until = 0.0
        trials = self._trials()
        values = {key_of(t): t.values for t in trials.in_state(TrialState.COMPLETE)}
        assert values == {(a, s): [expected((a, s))] for a in ARMS for s in SEEDS}
        metrics = {k: v["metrics"] for k, v in trials.complete().items()}
        assert metrics == {(a, s): {"score": expected((a, s))} for a in ARMS for s in SEEDS}
        assert len(trials) == len(values), "no trial but those"
        assert {p.name for p in Path("studies").iterdir()} == FILES
        backend = next(iter(self.up.values())).study.storage._journal
        assert len(backend._entries) < 100, "what was read is forgotten"
        for process in self.up.values():
            process.study.close()
        size = Path("studies/study.journal").stat().st_size
        self.world.events["journal bytes"] += size
        assert size < 2_000_000, size


def soak(seed: int, runs: int) -> str:
    """At least so many runs; the report. Raises AssertionError when an invariant is broken."""
    rng = random.Random(seed)
    arms = {name: {"overrides": [f"optim.learning_rate={1 + i}e-4"]} for i, name in enumerate(ARMS)}
    node = {"name": "study", "baseline": "a", "arms": arms, "seeds": list(SEEDS), "lease_seconds": LEASE}
    plan = build_plan(compose_tree, {**node, "retries": 10, "max_lost": 1000}, "default", [])
    digests = opened.code_digests()
    events: Counter[str] = Counter()
    began = time.monotonic()
    memory: list[int] = []
    simulated = 0.0
    studies = -(-runs // (len(ARMS) * len(SEEDS)))
    home = Path.cwd()
    originals = (opened.code_digests, journal.os, witness.os)
    try:
        opened.code_digests = lambda: digests  # the same files every time
        for _ in range(studies):
            world = World(rng)
            journal.os = witness.os = FaultyOs(world)  # type: ignore[assignment]
            with tempfile.TemporaryDirectory() as directory:
                os.chdir(directory)
                Soak(world, plan).run()
                os.chdir(home)
            events += world.events
            simulated += world.seconds
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    finally:
        os.chdir(home)
        opened.code_digests, journal.os, witness.os = originals
    settled = memory[min(len(memory) - 1, 10)]
    assert memory[-1] < settled + 100_000, f"memory grows: {settled} kB, then {memory[-1]} kB"
    size = events.pop("journal bytes") // studies
    lines = [
        f"seed {seed}: {studies} studies of {len(ARMS)} arms x {len(SEEDS)} seeds = {studies * len(ARMS) * len(SEEDS)} "
        f"runs on {MACHINES} machines, {simulated / 3600:.0f} h of simulated time in {time.monotonic() - began:.0f} s",
        *(f"  {count:>8} {name}" for name, count in sorted(events.items(), key=lambda item: -item[1])),
        f"  journal: {size} bytes a study; memory: {memory[-1] // 1024} MB, {(memory[-1] - settled) // 1024} MB of it "
        "since the tenth study",
        "  after every event: no trial doubled, owned by two, lost or changed; after every study: each (arm, seed)",
        "  complete exactly once with the undisturbed metrics, nothing running, no file but journal, witness and lock",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(soak(int(sys.argv[1]), int(sys.argv[2])))
