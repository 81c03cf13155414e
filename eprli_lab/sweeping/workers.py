"""Worker processes: one run at a time each, one torch thread, imports paid once.

The controller talks to a worker over a pipe and watches its sentinel: a worker that dies costs one run a retry and
nothing else. A worker whose controller dies saves and leaves.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import multiprocessing as mp
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from eprli_lab.errors import Interrupted, NonFiniteError, UserError
from eprli_lab.escaping import shown
from eprli_lab.grading.spawn import main_module_hidden
from eprli_lab.masking import MaskedFormatter, mask
from eprli_lab.sweeping import locks

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
ORPHAN_GRACE = 20.0  # s that a worker may take to save after its controller died
PROGRESS_EVERY = 0.5  # s between two progress messages of a run
PRUNE = "prune"  # the controller's word to a worker whose run is to stop


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def runs_at_once(plan: Any) -> int:
    """`study.workers`; by default one a core, but one alone where every run starts a Ray of its own on this machine."""
    backend = plan.sample.backend
    alone = backend.kind == "openrlhf" and not (backend.ray_address or os.environ.get("RAY_ADDRESS"))
    return int(plan.spec.workers or (1 if alone else usable_cores()))


@dataclass(frozen=True)
class Job:
    """What a worker needs to know of one run: plain data."""

    spec_json: str
    directory: str
    parent_run_id: str | None


@dataclass(frozen=True)
class Message:
    """What a worker says: progress, evaluation, done, interrupted, failed, held (its directory), died (said for it)."""

    kind: str
    content: Any


def resolve(name: str) -> Callable[..., dict[str, Any]]:
    """The function that `package.module:function` names. Raises ImportError or AttributeError when there is none."""
    module, _, function = name.partition(":")
    executor: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), function)
    return executor


def _serve(pipe: Any, executor: str, parent: int, ahead: bool) -> None:
    """A worker's life: take jobs until None or until the controller is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches everybody; the controller decides
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_watch_parent, args=(parent, stop), daemon=True).start()
    if ahead:
        with contextlib.suppress(Exception), _output_to(Path(os.devnull)):  # what fails is said by the first run
            importlib.import_module(f"{executor.partition(':')[0]}_ahead")
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        if job is None:
            return
        if job == PRUNE:  # its run ended before it could be stopped
            continue
        try:
            message = _work(executor, job, stop, pipe)
        except OSError as error:  # not even the log can be written
            message = Message(
                "failed",
                f"{job.directory} cannot be written ({error.strerror or error}): make room, or make it writable",
            )
        with contextlib.suppress(OSError):
            pipe.send(message)
        if stop.is_set():
            return


def _work(executor: str, job: Job, stop: threading.Event, pipe: Any) -> Message:
    """One run, with whatever it prints and warns of in <directory>/log.txt."""
    Path(job.directory).mkdir(parents=True, exist_ok=True)
    pruned = False
    last_progress = 0.0  # monotonic, s

    def stop_reason() -> str:
        """Why the run is to stop: `stop`, `pruned`; empty: go on."""
        nonlocal pruned
        if not pruned and not stop.is_set():
            with contextlib.suppress(EOFError, OSError):
                pruned = bool(pipe.poll() and pipe.recv() == PRUNE)
        if pruned:
            return "pruned"
        return "stop" if stop.is_set() else ""

    def on_progress(state: dict[str, Any]) -> None:
        nonlocal last_progress
        if "point" in state:
            with contextlib.suppress(OSError):
                pipe.send(Message("evaluation", state))
        elif time.monotonic() - last_progress >= PROGRESS_EVERY:
            last_progress = time.monotonic()
            with contextlib.suppress(OSError):
                pipe.send(Message("progress", state))

    with _output_to(Path(job.directory) / "log.txt"):
        try:
            with _alone(Path(job.directory), stop):
                run = resolve(executor)
                return Message("done", run(job.spec_json, job.directory, job.parent_run_id, stop_reason, on_progress))
        except Interrupted as error:
            return Message("interrupted", str(error))
        except locks.LockHeldError as error:  # e.g. its process is stopped; who comes next tries again
            return Message("held", str(error))
        except (UserError, NonFiniteError) as error:
            return Message("failed", str(error))
        except Exception as error:
            print(mask(traceback.format_exc()), end="", file=sys.stderr)
            reason = shown(f"{type(error).__name__}: {error}")
            return Message("failed", f"{reason} (see {job.directory}/log.txt)")


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Everything that is printed or logged, also by C code and child processes, is appended to a file."""
    kept = [os.dup(1), os.dup(2)]
    with open(path, "a", buffering=1) as log:
        handler = logging.StreamHandler(log)
        handler.setFormatter(MaskedFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(handler)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield
        finally:
            logging.getLogger().removeHandler(handler)
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)


@contextlib.contextmanager
def _alone(directory: Path, stop: threading.Event) -> Iterator[None]:
    """Hold the run's directory: the worker of a controller that was killed may still be saving there.

    Raises Interrupted when asked to stop meanwhile, LockHeldError (with a sentence) when the other one does not leave.
    """
    deadline = time.monotonic() + ORPHAN_GRACE + 10
    while True:
        try:
            lock_file = locks.lock(directory / "lock")
            break
        except locks.LockHeldError as error:
            if stop.is_set():
                raise Interrupted("stopped before the start") from None
            if time.monotonic() > deadline:
                raise locks.LockHeldError(f"{directory} is being written by another process ({error})") from None
            time.sleep(0.2)
    try:
        yield
    finally:
        if lock_file is not None:
            lock_file.close()


def _watch_parent(parent: int, stop: threading.Event) -> None:
    """When the controller is gone: ask the run to save, and leave at the latest after a grace period."""
    while os.getppid() == parent:
        time.sleep(0.5)
    stop.set()
    time.sleep(ORPHAN_GRACE)
    os._exit(1)


@contextlib.contextmanager
def _spawning() -> Iterator[None]:
    """What a worker inherits: one thread a library, deaf to Ctrl-C from its first instruction on, no main module."""
    saved = {k: os.environ.get(k) for k in THREAD_VARIABLES}
    resource_tracker.ensure_running()  # its start would unblock signals
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # ours waits until the end of this block
    method = mp.get_start_method(allow_none=True)
    mp.set_start_method("spawn", force=True)  # a child is told the default, and knows none that a launcher registered
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        with main_module_hidden():  # else every worker would import the controller's again
            yield
    finally:
        mp.set_start_method(method, force=True)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for k, v in saved.items():
            if v is None:
                del os.environ[k]
            else:
                os.environ[k] = v


def end_all(workers: list[Worker]) -> None:
    """Tell all of them first, so that they leave together."""
    for worker in workers:
        worker.give(None)
    while workers:
        workers.pop().end()


class Worker:
    """The controller's side of one worker process."""

    def __init__(self, executor: str, ahead: bool = False) -> None:
        """`ahead`: import what a run needs (`<the executor's module>_ahead`) before the first one comes."""
        context = mp.get_context("spawn")
        self.pipe, worker_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(worker_end, executor, os.getpid(), ahead), daemon=False)
        with _spawning():
            self.process.start()
        worker_end.close()

    def give(self, job: Job | None) -> None:
        """Start a run, or say that there are no more."""
        with contextlib.suppress(OSError):
            self.pipe.send(job)

    def prune(self) -> None:
        """Stop the run under way; the worker stays."""
        with contextlib.suppress(OSError):
            self.pipe.send(PRUNE)

    def ask_to_stop(self) -> None:
        """Save and leave."""
        self.process.terminate()

    def messages(self) -> list[Message]:
        """Messages since the last call; a dead worker's last one is its death."""
        out: list[Message] = []
        gone = not self.process.is_alive()  # first: what it sent before it went is still in the pipe
        try:
            while self.pipe.poll():
                out.append(self.pipe.recv())
        except Exception:  # closed, or a message cut short by a kill
            gone = True
        if gone:
            self.process.join(5)
            code = self.process.exitcode
            how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
            out.append(Message("died", f"the worker died with {how}"))
        return out

    def end(self) -> None:
        """Make sure that it is gone."""
        self.give(None)
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
