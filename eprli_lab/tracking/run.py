"""The run of one (arm, seed): params, metrics through a background thread, artifacts, status."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError
from eprli_lab.escaping import visible
from eprli_lab.masking import mask, masked
from eprli_lab.tracking.description import PLANNED
from eprli_lab.tracking.provenance import provenance
from eprli_lab.tracking.send import BATCH, Point, attach, end_run, is_stored, send
from eprli_lab.tracking.spool import Spool
from eprli_lab.tracking.store import log, open_store, process_tags
from eprli_lab.tracking.uri import absolute, first_line, resolve_uri

Status = Literal["FINISHED", "FAILED", "KILLED"]


class RunTracker:
    """The run of one (arm, seed): params at once, metrics through a background thread, artifacts, status."""

    def __init__(
        self,
        spec: RunSpec,
        *,
        parent_run_id: str | None,
        run_id: str | None,
        run_dir: Path,
        resume_step: int | None = None,
    ) -> None:
        """Open a new run, or re-open `run_id`. `resume_step`: step of the checkpoint that training goes on from."""
        self._directory, self._tracking, self._uri = run_dir, spec.tracking, resolve_uri(spec.tracking.uri)
        run_dir.mkdir(parents=True, exist_ok=True)
        spool = Spool.read(run_dir / "spool.jsonl")
        spool.rewind(-1 if resume_step is None else resume_step)
        spool.header = _header(spec, parent_run_id, spool.header.get("token"))
        spool.run_id = run_id or spool.run_id
        self._stored: dict[tuple[str, int], float] = {}
        self._queue: deque[Point | tuple[str, str]] = deque()
        self._wake = threading.Condition()
        self._wanted = self._stopping = False
        self._busy = False
        self._offline: str | None = None
        try:
            self._client, experiment = open_store(spec.tracking)
            spool.run_id, self._stored = attach(self._client, experiment, spool)
        except UserError:
            raise
        except Exception as error:
            self._go_offline(error)
        spool.rewrite()
        self._spool = spool
        self._file = spool.path.open("a")
        self._step = -1 if resume_step is None else resume_step
        self._held: dict[str, tuple[float, int]] = {}  # this step's values; a later one replaces an earlier one
        self._released: set[str] = set()  # metrics of this step that were handed to the writer
        for (key, step), (value, at) in spool.points.items():
            if step < self._step:
                self._enqueue((key, step, value, at))
            else:
                self._held[key] = (value, at)
        spool.points = {}
        self._thread = threading.Thread(target=self._write, name="tracking", daemon=True)
        self._thread.start()

    @property
    def run_id(self) -> str | None:
        """MLflow's run id; None while the run is only spooled."""
        return self._spool.run_id

    def log(self, metrics: Mapping[str, float | None], step: int) -> None:
        """Note values at a step; returns at once. Values that are None are left out. Steps must not decrease."""
        at = int(time.time() * 1000)
        values = {key: float(value) for key, value in metrics.items() if value is not None}
        self._note({"metrics": values, "step": step, "at": at})
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
        self._note({"artifact": entry[0], "folder": folder})
        if self._offline is None:
            with self._wake:
                self._queue.append(entry)

    def flush(self) -> None:
        """Block until everything logged so far is stored, or the store is given up."""
        self._release()
        with self._wake:
            self._wanted = True
            self._wake.notify_all()
            self._wake.wait_for(lambda: not (self._queue or self._busy) or self._offline is not None)

    def finish(self, status: Status, message: str | None) -> None:
        """Store everything, then the status: only work that is wholly stored becomes FINISHED."""
        if self._file.closed:
            return
        message = None if message is None else visible(mask(message))
        self.flush()
        self._note({"end": status, "message": message})
        if self._offline is None:
            try:
                end_run(self._client, self._spool.run_id, status, message)
            except Exception as error:
                self._go_offline(error)
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self._thread.join(timeout=30)
        self._file.close()

    def _note(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()  # to the operating system: survives a kill of this process

    def _release(self) -> None:
        """The held step is complete: hand its values to the writer."""
        if self._offline is None:
            for key, (value, at) in self._held.items():
                self._enqueue((key, self._step, value, at))
        self._released.update(self._held)
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
                self._wake.wait_for(due, timeout=self._tracking.flush_seconds)
                if self._stopping and not self._queue:
                    return
                items, self._wanted, self._busy = list(self._queue), False, True
                self._queue.clear()
            try:
                if self._offline is None:
                    send(self._client, self._uri, str(self._spool.run_id), items)
            except Exception as error:
                self._go_offline(error)
            with self._wake:
                self._busy = False
                self._wake.notify_all()

    def _go_offline(self, error: BaseException) -> None:
        """Spool only, from now on; said once."""
        with self._wake:
            if self._offline is None:
                self._offline = first_line(error)
                self._queue.clear()
                log.warning(
                    "tracking: %s cannot be reached (%s): the run goes on and is spooled; when it can be reached, "
                    "upload it with: eprli-lab upload %s",
                    self._tracking.uri,
                    self._offline,
                    self._directory,
                )
            self._wake.notify_all()


def _header(spec: RunSpec, parent_run_id: str | None, token: str | None) -> dict[str, Any]:
    """Everything that makes the run in a store. `token` names this spool, so that an upload finds its run again."""
    token = token or uuid.uuid4().hex
    name = f"{spec.arm}-seed{spec.seed}" if spec.arm else f"run-{spec.fingerprint()}"
    tags = {"kind": "run", "seed": str(spec.seed), "fingerprint": spec.fingerprint(), "eprli.token": token}
    tags |= {"study": spec.study} if spec.study else {}
    tags |= {"arm": spec.arm} if spec.arm else {}
    tags |= {PLANNED: spec.planned} if spec.planned else {}
    tags |= {"mlflow.parentRunId": parent_run_id} if parent_run_id else {}
    tags |= {"mlflow.source.name": "python -m eprli_lab.run", "mlflow.source.type": "LOCAL"}
    tags["eprli.provenance"] = json.dumps(provenance())
    params = {k: v if isinstance(v, str) else json.dumps(v) for k, v in spec.flat().items()}
    tracking = spec.tracking.model_dump() | {"uri": absolute(spec.tracking.uri)}
    tags |= process_tags()
    return {"token": token, "name": name, "tags": tags, "params": masked(params), "tracking": tracking}
