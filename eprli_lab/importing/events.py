"""TensorBoard's event files: scalars out of the records, without TensorBoard.

A record is its length (8 bytes), that length's checksum, the bytes, their checksum: masked CRC-32C, little-endian (the
TFRecord format). The bytes are a protocol buffer `Event`: step = 2, summary = 5; of a summary value = 1; of a value
tag = 1, simple_value = 2, tensor = 8, metadata = 9 (tensorflow/core/util/event.proto, framework/summary.proto).
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from eprli_lab.errors import UserError
from eprli_lab.importing.log import Log

NAME = "tfevents"  # in the name of every event file
POLYNOMIAL = 0x82F63B78  # of CRC-32C, reflected
LONGEST = 1 << 30  # bytes of a record: more is a damaged length


class Field(NamedTuple):
    """A field of a protocol buffer: its number, and its number or bytes."""

    number: int
    value: int | bytes


def is_event_file(path: Path) -> bool:
    """By its name, as TensorBoard tells them."""
    return NAME in path.name


def read_events(path: Path, log: Log) -> None:
    """Every scalar of an event file. Raises UserError for one that is none, is damaged, or was cut off."""
    for payload in _records(path, log):
        try:
            _take(payload, log, str(path))
        except (ValueError, IndexError, struct.error):
            raise UserError(f"{path}: a record holds no TensorBoard event: give the file as it was written") from None


def _records(path: Path, log: Log) -> Iterator[bytes]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    place = 0
    while place < len(data):
        head = data[place : place + 12]
        size = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else 0
        if len(head) < 12:
            log.was_cut(str(path), f"its last record ends after {len(head)} bytes")
            return
        if _masked(head[:8]) != struct.unpack("<I", head[8:])[0] or size > LONGEST:
            what = "is no TensorBoard event file" if place == 0 else f"is damaged at byte {place}"
            raise UserError(f"{path} {what}: give an events.out.tfevents file as it was written")
        body = data[place + 12 : place + 16 + size]
        if len(body) < size + 4:
            log.was_cut(str(path), f"its last record has {len(body)} of {size + 4} bytes")
            return
        if _masked(body[:size]) != struct.unpack("<I", body[size:])[0]:
            raise UserError(f"{path} is damaged at byte {place} (another checksum): give the file as it was written")
        yield body[:size]
        place += 16 + size


def _take(payload: bytes, log: Log, where: str) -> None:
    event = list(_fields(payload))
    step = next((f.value for f in event if f.number == 2), 0)
    if not isinstance(step, int) or step >= 1 << 63:
        raise ValueError("no step")
    for summary in (f.value for f in event if f.number == 5):
        for value in _fields(_bytes(summary)):
            if value.number == 1:
                scalar = _scalar(_bytes(value.value))
                if scalar is not None:
                    log.put(scalar[0], step, scalar[1], where)


def _scalar(value: bytes) -> tuple[str, float] | None:
    """(tag, number) of a summary's value; None for texts, histograms, images."""
    fields = {f.number: f.value for f in _fields(value)}
    tag = _bytes(fields.get(1, b"")).decode()
    if 2 in fields:
        return tag, float(struct.unpack("<f", _bytes(fields[2]))[0])
    if 8 not in fields:
        return None
    tensor = {f.number: f.value for f in _fields(_bytes(fields[8]))}
    shape = list(_fields(_bytes(tensor.get(2, b""))))
    kind = {1: ("<f", 5), 2: ("<d", 6)}.get(int(tensor.get(1, 0)) if isinstance(tensor.get(1, 0), int) else 0)
    raw = tensor.get(4) or (tensor.get(kind[1]) if kind is not None else None)
    if kind is None or shape or raw is None or len(_bytes(raw)) != struct.calcsize(kind[0]):
        return None
    return tag, float(struct.unpack(kind[0], _bytes(raw))[0])


def _fields(data: bytes) -> Iterator[Field]:
    """Wire format: a key (number << 3 | type), then a varint (0), 8 bytes (1), a length and bytes (2), 4 bytes (5)."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield Field(key >> 3, value)
            continue
        if kind == 2:
            size, place = _varint(data, place)
        else:
            size = {1: 8, 5: 4}[kind] if kind in (1, 5) else -1
        if size < 0 or place + size > len(data):
            raise ValueError("a field that ends outside")
        yield Field(key >> 3, data[place : place + size])
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, place
        if shift > 63:
            raise ValueError("no number")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where bytes belong")
    return value


@functools.cache
def _table() -> tuple[int, ...]:
    out = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (POLYNOMIAL if byte & 1 else 0)
        out.append(byte)
    return tuple(out)


def _masked(data: bytes) -> int:
    """CRC-32C, turned right by 15 bits plus a constant, as TFRecord stores it."""
    table = _table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
