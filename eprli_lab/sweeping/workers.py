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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eprli_lab.errors import Interrupted, NonFiniteError, UserError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
ORPHAN_GRACE = 20.0  # s that a worker may take to save after its controller died
PROGRESS_EVERY = 0.5  # s between two progress messages of a run


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Job:
    """What a worker needs to know of one run: plain data."""

    spec_json: str
    directory: str
    parent_run_id: str | None


@dataclass(frozen=True)
class Message:
    """What a worker says: kind is progress, done, interrupted, or failed."""

    kind: str
    content: Any


def resolve(name: str) -> Callable[..., dict[str, Any]]:
    """`package.module:function`"""
    module, _, function = name.partition(":")
    found: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), function)
    return found


def _serve(pipe: Any, executor: str, parent: int) -> None:
    """A worker's life: take jobs until None or until the controller is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches everybody; the controller decides
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_watch_parent, args=(parent, stop), daemon=True).start()
    run = resolve(executor)
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        if job is None:
            return
        message = _work(run, job, stop, pipe)
        with contextlib.suppress(OSError):
            pipe.send(message)
        if stop.is_set():
            return


def _work(run: Callable[..., dict[str, Any]], job: Job, stop: threading.Event, pipe: Any) -> Message:
    """One run, with whatever it prints and warns of in <directory>/log.txt."""
    Path(job.directory).mkdir(parents=True, exist_ok=True)
    said = [0.0]

    def on_progress(state: dict[str, Any]) -> None:
        if time.monotonic() - said[0] >= PROGRESS_EVERY:
            said[0] = time.monotonic()
            with contextlib.suppress(OSError):
                pipe.send(Message("progress", state))

    with open(Path(job.directory) / "log.txt", "a", buffering=1) as log:
        handler = logging.StreamHandler(log)
        logging.getLogger().addHandler(handler)
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            try:
                result = run(job.spec_json, job.directory, job.parent_run_id, stop.is_set, on_progress)
                return Message("done", result)
            except Interrupted as error:
                return Message("interrupted", str(error))
            except (UserError, NonFiniteError) as error:
                return Message("failed", str(error))
            except Exception as error:
                traceback.print_exc(file=log)
                return Message("failed", f"{type(error).__name__}: {error} (see {job.directory}/log.txt)")
            finally:
                logging.getLogger().removeHandler(handler)


def _watch_parent(parent: int, stop: threading.Event) -> None:
    """When the controller is gone: ask the run to save, and leave at the latest after a grace period."""
    while os.getppid() == parent:
        time.sleep(0.5)
    stop.set()
    time.sleep(ORPHAN_GRACE)
    os._exit(1)


class Worker:
    """The controller's side of one worker process."""

    def __init__(self, executor: str) -> None:
        context = mp.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        saved = {k: os.environ.get(k) for k in THREAD_VARIABLES}
        main_module = sys.modules["__main__"]
        spec = getattr(main_module, "__spec__", None)
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))  # inherited at spawn
        try:
            main_module.__spec__ = None  # a worker must not import the controller's main module again
            self.process = context.Process(target=_serve, args=(theirs, executor, os.getpid()), daemon=False)
            self.process.start()
        finally:
            main_module.__spec__ = spec
            for k, v in saved.items():
                os.environ.pop(k) if v is None else os.environ.__setitem__(k, v)
        theirs.close()

    def give(self, job: Job | None) -> None:
        """Start a run, or say that there are no more."""
        with contextlib.suppress(OSError):
            self.pipe.send(job)

    def ask_to_stop(self) -> None:
        """Save and leave."""
        self.process.terminate()

    def heard(self) -> list[Message]:
        """Messages since the last call; a dead worker's last one is its death."""
        out: list[Message] = []
        try:
            while self.pipe.poll():
                out.append(self.pipe.recv())
        except (EOFError, OSError):
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
