"""Compressed files that unpack to far more than any text does: refused before they fill the memory."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from eprli_lab.errors import UserError

HARMLESS = 1 << 23  # bytes that any file may unpack to
RATIO = 100  # unpacked bytes a packed one; prompts and answers compress to a fifth, a set of equal ones to a thirtieth
ROWS_PER_BYTE = 100  # of a parquet file, likewise: distinct problems take some bytes each
HARMLESS_ROWS = 1_000_000


class Unpacked(io.RawIOBase):
    """What a stream unpacks to. Raises UserError once that is more than a data file can be."""

    def __init__(self, path: Path, stream: Any) -> None:
        self._path = path
        self._stream = stream
        self._read = 0
        self._most = max(HARMLESS, RATIO * path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._read += len(data)
        if self._read > self._most:
            _refuse(self._path, f"unpacks to more than {self._most >> 20} MB, over {RATIO} times its size")
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def check_parquet(path: Path, metadata: Any) -> None:
    """Raises UserError for columns that unpack to far more than the file holds, or rows that cannot be distinct."""
    size = path.stat().st_size
    unpacked = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if unpacked > max(HARMLESS, RATIO * size):
        _refuse(path, f"unpacks to {unpacked >> 20} MB, over {RATIO} times its size")
    if metadata.num_rows > max(HARMLESS_ROWS, ROWS_PER_BYTE * size):
        _refuse(path, f"holds {metadata.num_rows} rows in {size} bytes")


def _refuse(path: Path, what: str) -> None:
    raise UserError(f"{path}: {what}: such a file holds no problems; write it again, without its repetitions")
