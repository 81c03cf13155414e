"""What mirrors hold, read from their files: W&B's log of an offline run, TensorBoard's events, Trackio's database."""

from __future__ import annotations

import json
import sqlite3
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.tracking.read import read_histories

Points = dict[tuple[str, int], list[float]]  # (metric, step) -> its values, in order
BLOCK = 32768  # bytes of a block of W&B's file, which is a log of LevelDB behind seven bytes of W&B's
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4  # kinds of a record


@dataclass
class WandbFile:
    """One offline run of W&B."""

    points: Points = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    run: Any = None
    exit_code: int | None = None


def in_mlflow(run_id: str, uri: str = "sqlite:///mlflow.db") -> Points:
    """What MLflow's store holds of a run."""
    out: Points = {}
    for _, key, steps, values in read_histories(TrackingSpec(uri=uri), [run_id]):
        for step, value in zip(steps, values, strict=True):
            out.setdefault((key, step), []).append(value)
    return out


def in_wandb(folder: Path) -> WandbFile:
    """The offline run, which ended, in a directory of W&B's: its own process writes the last lines a moment later."""
    found = _in_wandb(folder)
    for _ in range(2400):
        if found.exit_code is not None:
            break
        time.sleep(0.05)
        found = _in_wandb(folder)
    return found


def _in_wandb(folder: Path) -> WandbFile:
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.glob("*.wandb")
    out = WandbFile()
    for data in _records(file.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "history":
            for item in record.history.item:
                key = item.key or "/".join(item.nested_key)
                if not key.startswith("_"):
                    value = float(json.loads(item.value_json))
                    out.points.setdefault((key, record.history.step.num), []).append(value)
        elif kind == "run":
            out.run = record.run
            out.config |= {u.key: json.loads(u.value_json) for u in record.run.config.update}
        elif kind == "summary":
            out.summary |= {u.key or "/".join(u.nested_key): json.loads(u.value_json) for u in record.summary.update}
        elif kind == "exit":
            out.exit_code = record.exit.exit_code
    return out


def _records(data: bytes) -> Iterator[bytes]:
    """Of a log as LevelDB writes it. A last one that was cut by a kill is left out."""
    assert data[:4] == b":W&B"
    at, parts = 7, b""
    while at + 7 <= len(data):
        left = BLOCK - at % BLOCK
        if left < 7:
            at += left
            continue
        checksum, length, kind = struct.unpack("<IHB", data[at : at + 7])
        if kind == 0 or at + 7 + length > len(data):
            return
        part = data[at + 7 : at + 7 + length]
        assert zlib.crc32(part, zlib.crc32(bytes([kind]))) == checksum
        parts = part if kind in (FULL, FIRST) else parts + part
        if kind in (FULL, LAST):
            yield parts
        at += 7 + length


def in_tensorboard(folder: Path) -> tuple[Points, dict[str, Any]]:
    """(scalars, texts and hparams) of a run's directory, as TensorBoard itself reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    points: Points = {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            points.setdefault((tag, event.step), []).append(event.value)
    found: dict[str, Any] = {}
    for tag in events.Tags()["tensors"]:
        if not tag.startswith("_hparams_"):
            found[tag] = events.Tensors(tag)[-1].tensor_proto.string_val[0].decode()
    for tag, content in events.PluginTagToContent("hparams").items():
        found[tag] = plugin_data_pb2.HParamsPluginData.FromString(content)
    return points, found


def in_trackio(file: Path, run: str) -> tuple[Points, dict[str, Any]]:
    """(metrics, config) of the run of this name in a project's database."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    query = "SELECT step, metrics FROM metrics WHERE run_name = ? ORDER BY id"
    points: Points = {}
    for step, text in connection.execute(query, (run,)):
        for key, value in json.loads(text).items():
            points.setdefault((key, step), []).append(float(value))
    configs = connection.execute("SELECT config FROM configs WHERE run_name = ?", (run,)).fetchall()
    connection.close()
    assert len(configs) == 1
    return points, json.loads(configs[0][0])
