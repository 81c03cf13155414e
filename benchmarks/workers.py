"""Many workers on one study: scripted runs of about a second through the package's own study, storage and leases.

    python benchmarks/workers.py [--workers 64] [--seconds 120] [--run-seconds 1.0] [--storage postgresql]

Every worker is a process (forked, so that imports are shared) with a host name of its own, as one of a cluster: it
opens the study, claims, holds, beats and books as the controller does, and nothing else: a run only sleeps. Without
`--storage` the study is a journal file in a temporary directory; `postgresql` starts a server for it. At the end every
run is looked for in the storage and in the workers' own accounts: an AssertionError says what was lost or doubled.
Prints claims a second, what a claim takes, and the time under the study's lock.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing as mp
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna  # noqa: F401  (before the fork: shared)

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from eprli_lab.config.compose import compose_tree
from eprli_lab.errors import UserError
from eprli_lab.sweeping.controller import BEATS_A_LEASE
from eprli_lab.sweeping.opened import LeaseLostError
from eprli_lab.sweeping.plan import Plan, build_plan
from eprli_lab.sweeping.study import Study
from eprli_lab.sweeping.trials import Task, key_of

ROOT = Path(__file__).resolve().parent.parent
ARMS = "abcdefgh"
LOOK_AGAIN = 0.2  # s between two looks for work while there is none


@dataclass
class Account:
    """What one worker did, as it saw it. Seconds are by its own clock."""

    opening: float = 0.0
    claims: list[float] = field(default_factory=list)  # s that each successful claim took
    booked: list[tuple[str, int]] = field(default_factory=list)  # (arm, seed)
    waited: list[float] = field(default_factory=list)  # s for the lock, a step
    held: list[float] = field(default_factory=list)  # s under the lock, a step
    held_cpu: list[float] = field(default_factory=list)  # CPU-s of ours under the lock, a step
    lost: int = 0  # leases
    cpu: float = 0.0
    ended: float = 0.0  # s after the common start


def expected(arm: str, seed: int) -> float:
    """The score of a run."""
    return (31 * ARMS.index(arm) + seed) % 1009 / 1009


def make_plan(runs: int, storage: str | None = None, names: Sequence[str] = ARMS) -> Plan:
    """At least so many runs of these arms."""
    arms = {name: {"overrides": [f"optim.learning_rate={1 + i}e-4"]} for i, name in enumerate(names)}
    node = {"name": "many", "baseline": names[0], "arms": arms, "seeds": list(range(-(-runs // len(names))))}
    return build_plan(compose_tree, {**node, "storage": storage}, "default", [])


def timed(enter: Callable[..., Any], account: Account) -> Callable[..., Any]:
    """A context manager that holds the lock, with its times in the account."""

    @contextlib.contextmanager
    def lock(*arguments: Any) -> Iterator[None]:
        asked = time.perf_counter()
        with enter(*arguments):
            got = time.perf_counter()
            account.waited.append(got - asked)
            cpu = time.process_time()
            try:
                yield
            finally:
                account.held.append(time.perf_counter() - got)
                account.held_cpu.append(time.process_time() - cpu)

    return lock


class Scripted:
    """One worker: a controller's steps with one run at a time."""

    def __init__(self, plan: Plan, number: int, run_seconds: float) -> None:
        self.account = Account()
        self.rng = random.Random(number)
        self.run_seconds = run_seconds
        began = time.perf_counter()
        self.study = Study(plan, process_id=f"node{number:03d}:{os.getpid()}:1")
        self.account.opening = time.perf_counter() - began
        storage = self.study.storage
        name = "_advisory" if storage.kind == "postgresql" else "_lock_file"
        setattr(storage, name, timed(getattr(storage, name), self.account))
        self.every = plan.spec.lease_seconds / BEATS_A_LEASE
        self.next_heartbeat = time.monotonic() + self.every * self.rng.random()

    def work(self, seconds: float) -> None:
        """For so long, and until what it holds then is booked; or to the study's end."""
        began = time.monotonic()
        cpu = time.process_time()
        while time.monotonic() - began < seconds:
            before = time.perf_counter()
            task = self.study.claim()
            if task is not None:
                self.account.claims.append(time.perf_counter() - before)
                self._run(task)
            elif self.study.left() == 0:
                break
            else:
                self._sleep(LOOK_AGAIN, {})
        self.account.ended = time.monotonic() - began
        self.account.cpu = time.process_time() - cpu
        self.study.close()

    def _run(self, task: Task) -> None:
        try:
            self._sleep(self.run_seconds * self.rng.uniform(0.5, 1.5), {task.number: 0.5})
            key = task.run.key
            score = expected(*key)
            assert self.study.succeed(task, {"score": score}, self.run_seconds) == "complete"
            self.account.booked.append(key)
            self.study.finished()  # as a controller does for its line
        except LeaseLostError:
            self.account.lost += 1

    def _sleep(self, seconds: float, fractions: dict[int, float]) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if time.monotonic() >= self.next_heartbeat:
                self.next_heartbeat = time.monotonic() + self.every
                self.study.heartbeat(fractions)
            time.sleep(max(0.0, min(left, self.next_heartbeat - time.monotonic())))


def worker(plan: Plan, number: int, options: argparse.Namespace, everybody: Any) -> None:
    """The life of one process; its account is a file in the working directory."""
    try:
        scripted = Scripted(plan, number, options.run_seconds)
        everybody.wait()
        scripted.work(options.seconds)
    except (UserError, threading.BrokenBarrierError) as error:
        everybody.abort()
        sys.exit(f"worker {number}: {error}" if str(error) else 1)
    Path(f"account{number}.json").write_text(json.dumps(asdict(scripted.account)))


def check(plan: Plan, accounts: list[Account], to_its_end: bool) -> int:
    """Runs that are complete. Raises AssertionError for one that was lost, doubled or changed."""
    study = Study(plan)
    trials = study.points()
    study.close()
    by_key = Counter(key_of(t) for t in trials)
    assert all(count == 1 for count in by_key.values()), f"doubled: {[k for k, n in by_key.items() if n > 1]}"
    assert {t.state.name for t in trials} == {"COMPLETE"}, Counter(t.state.name for t in trials)
    assert all(t.values == [expected(*key_of(t))] for t in trials), "a value changed"
    booked = Counter(tuple(key) for account in accounts for key in account.booked)
    assert booked == by_key, f"the accounts differ from the storage: {booked - by_key} {by_key - booked}"
    assert not to_its_end or len(trials) == len(plan.runs), f"{len(trials)} of {len(plan.runs)} runs were made"
    return len(trials)


def p99(values: list[float]) -> float:
    """The value that 1% exceed."""
    return sorted(values)[int(0.99 * len(values))]


def report(plan: Plan, accounts: list[Account], complete: int, where: str) -> str:
    """What happened, in lines."""
    claims = [s for a in accounts for s in a.claims]
    held = [s for a in accounts for s in a.held]
    waited = [s for a in accounts for s in a.waited]
    cpu = [s for a in accounts for s in a.held_cpu]
    wall = max(a.ended for a in accounts)
    opening = [a.opening for a in accounts]

    def milliseconds(values: list[float]) -> str:
        return f"mean {1000 * statistics.fmean(values):.1f} ms, p99 {1000 * p99(values):.1f} ms"

    return "\n".join([
        f"{len(accounts)} workers, {where}: {complete} runs in {wall:.1f} s, each there exactly once (storage and "
        f"accounts), {sum(a.lost for a in accounts)} leases lost; {len(plan.runs)} were planned",
        f"  claims a second   {len(claims) / wall:.1f}",
        f"  a claim           {milliseconds(claims)}, max {max(claims):.2f} s",
        f"  under the lock    {milliseconds(held)} a step (of it {1000 * statistics.fmean(cpu):.1f} ms of CPU); "
        f"{len(held) / wall:.0f} steps a second; {100 * sum(held) / wall:.0f}% of the time somebody held it",
        f"  for the lock      {milliseconds(waited)} a step",
        f"  opening           mean {statistics.fmean(opening):.1f} s, max {max(opening):.1f} s, all at once",
        f"  processor         {1000 * sum(a.cpu for a in accounts) / complete:.1f} ms a run",
    ])  # fmt: skip


def measure(options: argparse.Namespace) -> str:
    """The report of one such study in the working directory. Raises AssertionError when a run is not there once."""

    plan = make_plan(
        options.runs or round(1.2 * options.workers * options.seconds / options.run_seconds), options.storage
    )
    context = mp.get_context("fork")
    everybody = context.Barrier(options.workers)
    processes = [
        context.Process(target=worker, args=(plan, number, options, everybody)) for number in range(options.workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert all(p.exitcode == 0 for p in processes), [p.exitcode for p in processes]
    accounts = [Account(**json.loads(Path(f"account{i}.json").read_text())) for i in range(options.workers)]
    complete = check(plan, accounts, to_its_end=bool(options.runs))
    return report(plan, accounts, complete, "PostgreSQL" if options.storage else "journal")


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120.0, help="until nobody claims any more")
    parser.add_argument("--run-seconds", type=float, default=1.0, help="of a run, on average")
    parser.add_argument("--runs", type=int, default=0, help="of the study, which is brought to its end; 0: too many")
    parser.add_argument("--storage", help="a URI, or postgresql: a server of its own; a journal by default")
    return parser.parse_args(arguments)


def main() -> None:
    options = parsed(sys.argv[1:])
    with contextlib.ExitStack() as stack:
        if options.storage == "postgresql":
            sys.path.insert(0, str(ROOT / "tests"))
            from postgres import server  # noqa: PLC0415  (it needs a driver and pytest)

            options.storage = stack.enter_context(server())
        os.chdir(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.callback(os.chdir, "/")
        print(measure(options))


if __name__ == "__main__":
    main()
