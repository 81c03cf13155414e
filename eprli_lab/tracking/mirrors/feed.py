"""What a run logs, to each of its mirrors: a queue and a thread apiece, so that none waits for another, or the run."""

from __future__ import annotations

import contextlib
import importlib
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from eprli_lab.tracking.mirrors.base import Mirror, MirroredRun, Row
from eprli_lab.tracking.uri import first_line

log = logging.getLogger(__name__)
MIRRORS = {
    "wandb": "eprli_lab.tracking.mirrors.wandb_run:WandbRun",
    "tensorboard": "eprli_lab.tracking.mirrors.events:TensorBoardEvents",
    "trackio": "eprli_lab.tracking.mirrors.trackio_project:TrackioProject",
}
BATCH = 50  # rows that are sent at once, without waiting for flush_seconds
FARTHEST = 100_000  # rows that may wait: a mirror that is further behind is given up
FINISH_SECONDS = 120.0  # that the end of a run waits for its mirrors, all together: one that hangs is left then


class Mirrors:
    """Every mirror of one run."""

    def __init__(self, names: Sequence[str], run: MirroredRun, flush_seconds: float) -> None:
        self._feeds = [Feed(name, run, flush_seconds) for name in names]

    def row(self, step: int, values: Mapping[str, tuple[float, int]]) -> None:
        """A step that is complete: metric -> (value, ms). Returns at once."""
        if values:
            row = Row(step, dict(values))
            for feed in self._feeds:
                feed.put(row)

    def file(self, path: Path, folder: str) -> None:
        """A file, as `RunTracker.artifact` was given it. Returns at once."""
        for feed in self._feeds:
            feed.put((path, folder))

    def finish(self, status: str, message: str | None) -> None:
        """Send what waits, then the status; back when all mirrors have it, or after FINISH_SECONDS."""
        end = time.monotonic() + FINISH_SECONDS
        for feed in self._feeds:
            feed.end(status, message)
        for feed in self._feeds:
            feed.wait(end - time.monotonic())


class Feed:
    """One mirror's queue and thread."""

    def __init__(self, name: str, run: MirroredRun, flush_seconds: float) -> None:
        self.name = name
        self._run, self._flush_seconds = run, flush_seconds
        self._queue: deque[Row | tuple[Path, str]] = deque()
        self._end: tuple[str, str | None] | None = None
        self._gone = False  # it raised, or is too far behind
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._live, name=f"mirror-{name}", daemon=True)
        self._thread.start()

    def put(self, item: Row | tuple[Path, str]) -> None:
        """To be sent soon; nothing where the mirror is gone."""
        with self._wake:
            if self._gone:
                return
            self._queue.append(item)
            if len(self._queue) > FARTHEST:
                self._give_up(f"it is {FARTHEST} steps behind")
            elif len(self._queue) >= BATCH:
                self._wake.notify_all()

    def end(self, status: str, message: str | None) -> None:
        """Nothing follows."""
        with self._wake:
            self._end = status, message
            self._wake.notify_all()

    def wait(self, seconds: float) -> None:
        """Until it has sent everything; what takes longer is left, and said."""
        if not self._gone:
            self._thread.join(max(0.0, seconds))
        with self._wake:
            if self._thread.is_alive():
                self._give_up(f"it was not done {FINISH_SECONDS:g} s after the run")

    def _live(self) -> None:
        mirror: Mirror | None = None
        try:
            mirror = make(self.name)
            lacks = mirror.start(self._run)
            while not self._gone:
                with self._wake:
                    due = lambda: self._end is not None or self._gone or len(self._queue) >= BATCH  # noqa: E731
                    self._wake.wait_for(due, timeout=self._flush_seconds)
                    items, end = list(self._queue), self._end
                    self._queue.clear()
                rows = [item for item in items if isinstance(item, Row) and item.step >= lacks]
                if rows:
                    mirror.rows(rows)
                for item in items:
                    if not isinstance(item, Row) and item[0].is_file():
                        mirror.file(*item)
                if end is not None:
                    mirror.finish(*end)
                    return
        except Exception as error:
            with self._wake:
                self._give_up(first_line(error))
        if mirror is not None:  # its files are closed, if they can be
            with contextlib.suppress(Exception):
                mirror.finish("FAILED", "the mirror broke")

    def _give_up(self, reason: str) -> None:
        """Said once; called with the lock held."""
        if not self._gone:
            self._gone = True
            self._queue.clear()
            self._wake.notify_all()
            log.warning(
                "tracking.mirror: %s has no more of this run (%s): the run goes on, and MLflow has all of it",
                self.name,
                reason,
            )


def make(name: str) -> Mirror:
    """A mirror by its name. Raises ImportError where its package is missing."""
    module, _, kind = MIRRORS[name].partition(":")
    mirror: Mirror = getattr(importlib.import_module(module), kind)()
    return mirror
