"""TensorBoard: one file of events for a run, in tensorboard/STUDY/ARM/seedN of the working directory."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eprli_lab.tracking.mirrors.base import MirroredRun, Row

FOLDER = "tensorboard"
EVENTS = "events.out.tfevents."


def directory_of(run: MirroredRun) -> Path:
    """Where the run's events are."""
    return run.home / FOLDER / (run.study or "") / run.name


class TensorBoardEvents:
    """A run that goes on writes a new file with all of its steps, and marks those of older files as replaced.

    Values are single precision, TensorBoard's own. Files stay where the run put them: TensorBoard holds none.
    """

    def start(self, run: MirroredRun) -> int:
        """0: everything is written, in any case."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.plugins.text.summary_v2 import text_pb
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder = directory_of(run)
        folder.mkdir(parents=True, exist_ok=True)
        self._file = open(folder / _next_name(folder), "wb")
        self._writer, self._event = RecordWriter(self._file), Event
        self._write(file_version="brain.Event:2")
        self._write(step=0, session_log=SessionLog(status=SessionLog.START))  # older files: purged from step 0
        self._write(summary=hparams_pb({k: _plain(v) for k, v in run.params.items()}, trial_id=run.id))
        self._write(summary=text_pb("tags", _table(run.tags)))
        self._flush()
        return 0

    def rows(self, rows: Sequence[Row]) -> None:
        """On the disk when it is back."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        for row in rows:
            moments: dict[int, list[Any]] = {}
            for key, (value, at) in row.values.items():
                moments.setdefault(at, []).append(Summary.Value(tag=key, simple_value=value))
            for at, values in moments.items():
                self._write(step=row.step, at=at / 1000, summary=Summary(value=values))
        self._flush()

    def file(self, path: Path, folder: str) -> None:
        """Nothing: there is no such thing in TensorBoard."""

    def finish(self, status: str, message: str | None) -> None:
        """The status as a text and as the end of the hparams session."""
        from tensorboard.plugins.text.summary_v2 import text_pb

        try:
            self._write(summary=text_pb("status", f"{status}: {message}" if message else status))
            self._write(summary=_session_end(status == "FINISHED"))
            self._flush()
        finally:
            self._file.close()

    def _write(self, *, at: float | None = None, **content: Any) -> None:
        event = self._event(wall_time=time.time() if at is None else at, **content)
        self._writer.write(event.SerializeToString())

    def _flush(self) -> None:
        self._file.flush()


def _next_name(folder: Path) -> str:
    """Files are read in the order of their names: behind those that are there, whatever the clock says."""
    now = time.time()
    older = sorted(folder.glob(f"{EVENTS}*"))
    if older:
        seconds = ".".join(older[-1].name.removeprefix(EVENTS).split(".")[:2])
        now = max(now, float(seconds) + 1e-5)
    return f"{EVENTS}{now:017.6f}.{socket.gethostname()}.{os.getpid()}"


def _session_end(well: bool) -> Any:
    """What the HParams page reads a run's end from. It has no public function of its own."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_FLOAT
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    status = api_pb2.STATUS_SUCCESS if well else api_pb2.STATUS_FAILURE
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    content = plugin_data_pb2.HParamsPluginData(session_end_info=end, version=metadata.PLUGIN_DATA_VERSION)
    plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=content.SerializeToString())
    nothing = TensorProto(dtype=DT_FLOAT, tensor_shape=TensorShapeProto())
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG, metadata=SummaryMetadata(plugin_data=plugin), tensor=nothing
    )
    return Summary(value=[value])


def _plain(value: Any) -> bool | int | float | str:
    """As HParams takes it."""
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)


def _table(values: Mapping[str, str]) -> str:
    """A table in Markdown, which is what the Text page shows."""
    rows = [f"| {key} | {' '.join(value.replace('|', '&#124;').split())} |" for key, value in values.items()]
    return "\n".join(["| tag | value |", "|---|---|", *rows])
