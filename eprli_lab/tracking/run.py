"""The run of one (arm, seed): params, metrics through a background thread, artifacts, status."""

from __future__ import annotations

import shlex
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError
from eprli_lab.escaping import shown
from eprli_lab.tracking.backoff import RETRY, Backoff
from eprli_lab.tracking.birth import StoreError
from eprli_lab.tracking.header import run_header
from eprli_lab.tracking.inputs import DataInput
from eprli_lab.tracking.mirrors.base import MirroredRun
from eprli_lab.tracking.mirrors.feed import Mirrors
from eprli_lab.tracking.send import BATCH, Item, Point, attach, end_run, is_stored, missing, send
from eprli_lab.tracking.spool import NAME, Spool, SpoolError, SpoolWriter, artifact_entry
from eprli_lab.tracking.store import log, open_store
from eprli_lab.tracking.uri import first_line, resolve_uri

Status = Literal["FINISHED", "FAILED", "KILLED"]


class RunTracker:
    """The run of one (arm, seed): params at once, metrics through a background thread, artifacts, status.

    While the store cannot be reached the run is spooled; the thread tries again every so often, and sends what the
    spool holds and the store does not as soon as it can.
    """

    def __init__(
        self,
        spec: RunSpec,
        *,
        parent_run_id: str | None,
        run_id: str | None,
        run_dir: Path,
        resume_step: int | None = None,
        engine: Mapping[str, str] | None = None,
        inputs: Sequence[DataInput] = (),
    ) -> None:
        """Open a new run, or re-open `run_id` at the checkpoint of `resume_step`.

        `engine`: how that computes, noted. `inputs`: the data that it trains and is examined on.

        Raises UserError when the experiment was deleted, the spool is damaged or cannot be written, and when neither
        spool nor store holds what was logged up to the checkpoint.
        """
        self._directory, self._tracking, self._uri = run_dir, spec.tracking, resolve_uri(spec.tracking.uri)
        run_dir.mkdir(parents=True, exist_ok=True)
        spool = _spool_of(run_dir)
        spool.rewind(-1 if resume_step is None else resume_step)
        spool.header = run_header(spec, parent_run_id, spool.header.get("token"), run_dir, engine or {}, inputs)
        spool.run_id = run_id or spool.run_id
        self._stored: dict[tuple[str, int], float] = {}
        self._queue: deque[Item] = deque()
        self._wake = threading.Condition()
        self._wanted = self._stopping = self._busy = False
        self._offline: str | None = None
        self._retry = Backoff()
        try:
            self._client, experiment = open_store(spec.tracking)
            spool.run_id, self._stored = attach(self._client, experiment, spool)
        except StoreError as error:
            self._go_offline(error)
        except UserError:
            raise
        except Exception as error:
            self._go_offline(error)
        if self._offline is None and resume_step:
            _check_known(resume_step, {step for _, step in (*spool.points, *self._stored)}, run_dir)
        self._file = _begun(spool)
        self._spool = spool
        self._step = -1 if resume_step is None else resume_step
        self._held: dict[str, tuple[float, int]] = {}  # this step's values; a later one replaces an earlier one
        self._released: set[str] = set()  # metrics of this step that were handed to the writer
        self._mirrors = Mirrors(
            spec.tracking.mirror, MirroredRun.of(spec, spool.header["tags"], run_dir), spec.tracking.flush_seconds
        )
        for step, values in spool.steps().items():
            self._held = values
            if step < self._step:
                self._hand_on(step)
        spool.points = {}
        self._thread = threading.Thread(target=self._write, name="tracking", daemon=True)
        self._thread.start()

    @property
    def run_id(self) -> str | None:
        """MLflow's run id; None while the run is only spooled."""
        return self._spool.run_id

    def log(self, metrics: Mapping[str, float | None], step: int) -> None:
        """Note values at a step; returns at once. Values that are None are left out. Steps must not decrease.

        Raises UserError when they cannot be written to the spool.
        """
        at = int(time.time() * 1000)
        values = {key: float(value) for key, value in metrics.items() if value is not None}
        with self._wake:
            self._file.write({"metrics": values, "step": step, "at": at})
            if step != self._step:
                self._release()
                for key in self._released:  # a step that is left does not come back
                    self._stored.pop((key, self._step), None)
                self._step, self._released = step, set()
            for key, value in values.items():
                self._held[key] = (value, at)

    def artifact(self, path: Path, folder: str) -> None:
        """Attach a file, in `folder` of the run's artifacts ('': at the top)."""
        entry = (str(path.resolve()), folder)
        with self._wake:
            self._file.write(artifact_entry(self._directory, *entry))
            if self._offline is None:
                self._queue.append(entry)
        self._mirrors.file(path, folder)

    def register(self, name: str, folder: str) -> None:
        """Make what was attached in `folder` a version of the model `name` of MLflow's registry."""
        with self._wake:
            self._file.write({"register": name, "folder": folder})
            if self._offline is None:
                self._queue.append((name, folder, None))

    def flush(self) -> None:
        """Block until everything logged so far is stored, or the store could not be reached."""
        with self._wake:
            self._release()
            self._wanted = True
            self._retry.now()
            self._wake.notify_all()
            self._wake.wait_for(lambda: not (self._wanted or self._busy or (self._queue and self._offline is None)))

    def finish(self, status: Status, message: str | None) -> None:
        """Store everything, then the status: only work that is wholly stored becomes FINISHED."""
        if self._file.closed:
            return
        message = None if message is None else shown(message)
        try:
            self.flush()
            with self._wake:
                self._file.write({"end": status, "message": message}, sync=True)
            if self._offline is None:
                try:
                    end_run(self._client, self._spool.run_id, status, message)
                except Exception as error:
                    self._go_offline(error)
        finally:
            with self._wake:
                self._stopping = True
                self._wake.notify_all()
            self._mirrors.finish(status, message)
            self._thread.join(timeout=30)
            self._file.close()

    def _release(self) -> None:
        """The held step is complete."""
        self._released.update(self._held)
        self._hand_on(self._step)

    def _hand_on(self, step: int) -> None:
        """What is held is of this step, and goes to the writer and to the mirrors."""
        for key, (value, at) in self._held.items():
            self._enqueue((key, step, value, at))
        self._mirrors.row(step, self._held)
        self._held = {}

    def _enqueue(self, point: Point) -> None:
        if self._offline is not None or is_stored(self._stored, point):
            return
        self._stored[point[0], point[1]] = point[2]
        with self._wake:
            self._queue.append(point)
            if len(self._queue) >= BATCH:
                self._wake.notify_all()

    def _write(self) -> None:
        """The background thread: whatever is queued, in order, every flush_seconds or when a batch is full."""
        while True:
            with self._wake:
                due = lambda: self._wanted or self._stopping or len(self._queue) >= BATCH  # noqa: E731
                self._wake.wait_for(due, timeout=self._tracking.flush_seconds if self._offline is None else RETRY / 2)
                if self._stopping and not (self._queue and self._offline is None):
                    return
                self._wanted, self._busy = False, True
            try:
                if self._offline is not None and self._retry.is_due():
                    self._reconnect()
                with self._wake:
                    items = list(self._queue)
                    self._queue.clear()
                if self._offline is None:
                    send(self._client, self._uri, str(self._spool.run_id), items)
            except Exception as error:
                self._go_offline(error)
            with self._wake:
                self._busy = False
                self._wake.notify_all()

    def _reconnect(self) -> None:
        """Send what the spool holds and the store does not. Raises whatever the store still answers with."""
        client, experiment = open_store(self._tracking)
        spool, held = self._on_disk()
        run_id, stored = attach(client, experiment, spool)
        send(client, self._uri, run_id, missing(spool, stored, held))
        with self._wake:  # nothing is logged meanwhile: what came since the last look follows through the queue
            later, still_held = self._on_disk()
            known = stored | {key: value for key, (value, _) in spool.points.items() if key not in held}
            items = missing(later, known, still_held)
            self._queue.extend(i for i in items if len(i) == 4 or i not in spool.artifacts)
            self._stored = {key: value for key, value in known.items() if key[1] >= self._step}
            if run_id != self._spool.run_id:
                self._spool.run_id = run_id
                self._file.write({"id": run_id})
            self._client, self._offline = client, None
        self._retry = Backoff()
        log.warning("tracking: %s is there again: what was spooled is sent", self._tracking.uri)

    def _on_disk(self) -> tuple[Spool, set[tuple[str, int]]]:
        """The spool as it was written so far, and which of its points may still be replaced within their step."""
        with self._wake:
            spool = Spool.read(self._spool.path)
            held = {(key, self._step) for key in self._held}
        spool.run_id = self._spool.run_id
        return spool, held

    def _go_offline(self, error: BaseException) -> None:
        """Spool only, until the store is there again; said once each time."""
        with self._wake:
            self._retry.failed()
            if self._offline is None:
                self._offline = first_line(error)
                self._queue.clear()
                log.warning(
                    "tracking: %s cannot be reached (%s): the run goes on and is spooled, and is sent when the store "
                    "is there again; or upload it with: eprli-lab upload %s",
                    self._tracking.uri,
                    self._offline,
                    shlex.quote(str(self._directory)),
                )
            self._wake.notify_all()


def _spool_of(run_dir: Path) -> Spool:
    """Raises UserError, with the way out, for a damaged one."""
    try:
        return Spool.read(run_dir / NAME)
    except SpoolError as error:
        raise UserError(
            f"{error}: move it away where the tracking store has all of it; else remove {run_dir}, and the same "
            "command makes the run again"
        ) from None


def _begun(spool: Spool) -> SpoolWriter:
    """The spool on disk as it is remembered, to be appended to. Raises UserError when it cannot be written."""
    try:
        spool.rewrite()
        return SpoolWriter(spool.path)
    except OSError as error:
        raise UserError(
            f"{spool.path} cannot be written ({error.strerror}): free some space there; the same command goes on"
        ) from None


def _check_known(step: int, steps: Collection[int], run_dir: Path) -> None:
    """Raises UserError when nothing is known of the step at which a run would go on."""
    if step not in steps:
        raise UserError(
            f"{run_dir}: neither {NAME} nor the tracking store has what was logged at step {step}, where it would go "
            "on: remove the directory, and the same command makes the run again"
        )
