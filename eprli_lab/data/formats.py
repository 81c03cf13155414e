"""From the bytes of a data file to its rows: JSON lines, JSON, parquet, CSV and TSV, plain or compressed.

A file is what its first bytes say. What contradicts its name is refused by name, and so is text in another encoding
than UTF-8: nothing is guessed, and no character is replaced.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from eprli_lab.data.bombs import Unpacked, check_parquet
from eprli_lab.data.rows import Row, RowError, parse_json
from eprli_lab.data.shards import file_format
from eprli_lab.errors import UserError

BOM = b"\xef\xbb\xbf"
MAGIC = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}
HEAD = 512  # bytes that are looked at
LONGEST_ROW = 1 << 24  # bytes of one line, characters of one cell: a prompt that any model takes is far shorter
ROWS_AT_ONCE = 1024  # of a parquet file
_UTF16 = "UTF-16: write it as UTF-8 (iconv -f UTF-16 -t UTF-8)"
_BEGINNINGS: tuple[tuple[bytes, str], ...] = (  # of a file that is to be plain text, and what such a file is
    (MAGIC[".gz"], "gzip, whatever its name says: let the name end with .gz"),
    (MAGIC[".zst"], "zstd, whatever its name says: let the name end with .zst"),
    (b"PAR1", "parquet, whatever its name says: let the name end with .parquet"),
    (b"PK\x03\x04", "a ZIP archive (or a spreadsheet): unpack it, or write it as .csv"),
    (b"\xff\xfe\x00\x00", "UTF-32: write it as UTF-8 (iconv -f UTF-32 -t UTF-8)"),
    (b"\xff\xfe", _UTF16),
    (b"\xfe\xff", _UTF16),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself: fetch it (git lfs pull)"),
    (b"<!DOCTYPE", "a web page: download the file itself"),
    (b"<html", "a web page: download the file itself"),
)


def rows_of(path: Path, prefix: str = "") -> Iterator[Row]:
    """The rows of a file; one that is no row of its format comes with its error.

    `prefix`: before the number of a row. Raises UserError where the whole file cannot be read.
    """
    import pyarrow as pa

    kind, packed = file_format(path) or ("", "")
    reader = {".parquet": _parquet, ".json": _json, ".csv": _table, ".tsv": _table}.get(kind, _lines)
    try:
        with _opened(path, packed) as stream:
            for place, number, cells in reader(path, stream):
                if isinstance(cells, RowError):
                    yield Row(place, prefix + number, {}, cells)
                else:
                    yield Row(place, prefix + number, cells)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: the compressed file is damaged or cut off ({error})") from None
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read ({_words(error)})") from None


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]


def _opened(path: Path, packed: str) -> io.BufferedReader:
    """The file's bytes, unpacked. Raises UserError where its name says another compression than its bytes."""
    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe that nobody writes to, an endless device
        raise UserError(f"{path} is no regular file: copy its content into one")
    raw = open(path, "rb")  # closed with what is made of it
    head = raw.peek(HEAD)[:HEAD]
    if packed and not head.startswith(MAGIC[packed]):
        raw.close()
        empty = "is empty" if not head else f"is not compressed as its name says ({packed})"
        raise UserError(f"{path} {empty}: let the name end otherwise, or compress it")
    if packed == ".gz":
        return io.BufferedReader(Unpacked(path, gzip.GzipFile(fileobj=raw)))
    if packed == ".zst":
        import pyarrow as pa

        return io.BufferedReader(Unpacked(path, pa.CompressedInputStream(raw, "zstd")))
    return raw


def _by_line(path: Path, stream: io.BufferedReader) -> Iterator[bytes]:
    """The lines of a file. Raises UserError for one that is longer than LONGEST_ROW."""
    number = 0
    while line := stream.readline(LONGEST_ROW + 1):
        number += 1
        if len(line) > LONGEST_ROW:
            raise UserError(
                f"{path}:{number}: a line of more than {LONGEST_ROW >> 20} MB is no row: write one row a line"
            )
        yield line


def _text(path: Path, stream: io.BufferedReader) -> None:
    """Past a byte order mark. Raises UserError for what is no text in UTF-8 by its first bytes."""
    head = stream.peek(HEAD)[:HEAD]
    for beginning, what in _BEGINNINGS:
        if head.lstrip().startswith(beginning) if beginning.startswith(b"<") else head.startswith(beginning):
            raise UserError(f"{path} is {what}")
    zeros = (head[::2].count(0), head[1::2].count(0))
    if len(head) >= 8 and max(zeros) > len(head) // 4 and min(zeros) < len(head) // 16:
        raise UserError(f"{path} is {_UTF16}")  # without a byte order mark: every second byte is zero
    if head.startswith(BOM):
        stream.read(len(BOM))


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = data[error.start]
        raise RowError(f"not UTF-8 (byte 0x{byte:02x} at {error.start + 1}): write it as UTF-8", "not UTF-8") from None


Numbered = tuple[str, str, dict[str, Any] | RowError]  # place, number, cells


def _lines(path: Path, stream: io.BufferedReader) -> Iterator[Numbered]:
    _text(path, stream)
    for number, line in enumerate(_by_line(path, stream), 1):
        if not line.strip():
            continue
        try:
            cells: dict[str, Any] | RowError = _cells(parse_json(_decoded(line)))
        except RowError as error:
            cells = error
        yield f"{path}:{number}", str(number), cells


def _json(path: Path, stream: io.BufferedReader) -> Iterator[Numbered]:
    _text(path, stream)
    try:
        text = _decoded(stream.read())
        rows = json.loads(text)
    except RowError as error:
        raise UserError(f"{path}: {error}") from None
    except json.JSONDecodeError as error:
        more = ""
        if error.msg == "Extra data":
            more = ": one object a line belongs into a .jsonl file"
        raise UserError(f"{path}:{error.lineno}: not valid JSON ({error.msg} at column {error.colno}){more}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if not isinstance(rows, list):
        raise UserError(f"{path}: a list of objects is needed; one object a line belongs into a .jsonl file")
    for number, row in enumerate(rows):
        try:
            cells: dict[str, Any] | RowError = _cells(row)
        except RowError as error:
            cells = error
        yield f"{path} row {number}", str(number), cells


def _cells(value: Any) -> dict[str, Any]:
    """The cells of a row of JSON; a conversation that is a row by itself has the columns `problem` and `answer`.

    So Open-Reasoner-Zero writes its problems: `[{"from": "human", "value": ...}, {"from": "assistant",
    "ground_truth": {"value": ...}}]`.
    """
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
        truths = [turn["ground_truth"] for turn in value if "ground_truth" in turn]
        asked = [turn for turn in value if "ground_truth" not in turn]
        if len(truths) == 1 and asked:
            truth, single = truths[0], len(asked) == 1 and asked[0].get("from") == "human"
            problem = asked[0].get("value") if single else asked  # a text, which prompt_template is for
            return {"problem": problem, "answer": truth.get("value") if isinstance(truth, dict) else truth}
    raise RowError(f"a JSON object is needed, not {type(value).__name__}", "no JSON object")


def _parquet(path: Path, stream: BinaryIO) -> Iterator[Numbered]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = isinstance(stream, io.BufferedReader) and isinstance(stream.raw, io.FileIO)
    try:
        table = pq.ParquetFile(path if plain else pa.BufferReader(stream.read()))
        check_parquet(path, table.metadata)
        names = table.schema_arrow.names
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise UserError(f"{path}: the column '{twice[0]}' is there twice: name the columns apart")
        number = 0
        for batch in table.iter_batches(batch_size=ROWS_AT_ONCE):
            for row in batch.to_pylist():
                yield f"{path} row {number}", str(number), row
                number += 1
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        # ValueError: a text that is not UTF-8; OverflowError: a date of the year 5,000,000
        raise UserError(f"{path}: not a readable parquet file ({_words(error)})") from None


def _table(path: Path, stream: io.BufferedReader) -> Iterator[Numbered]:
    """The rows of a CSV or TSV file; the first line names the columns, every cell is a text."""
    _text(path, stream)
    tabs = (file_format(path) or ("",))[0] == ".tsv"
    csv.field_size_limit(LONGEST_ROW)
    line = 0

    def decoded() -> Iterator[str]:
        for number, data in enumerate(_by_line(path, stream), 1):
            try:
                yield _decoded(data)
            except RowError as error:
                raise UserError(f"{path}:{number}: {error}") from None

    reader = csv.reader(decoded(), delimiter="\t" if tabs else ",", strict=True)
    try:
        names = next(reader, [])
        _check_header(path, names, tabs)
        line = reader.line_num
        for values in reader:
            begin, line = line + 1, reader.line_num
            if not values:
                continue
            cells: dict[str, Any] | RowError = dict(zip(names, values, strict=False))
            if len(values) != len(names):
                cells = RowError(
                    f"{len(values)} cells, and the first line names {len(names)} columns", "another number of cells"
                )
            yield f"{path}:{begin}", str(begin), cells
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not valid {'TSV' if tabs else 'CSV'} ({error})") from None


def _check_header(path: Path, names: list[str], tabs: bool) -> None:
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise UserError(f"{path}:1: the column '{twice[0]}' is there twice: name the columns apart")
    other = "," if tabs else next((c for c in ("\t", ";", "|") if len(names) == 1 and c in names[0]), "")
    if len(names) == 1 and other and other in names[0]:
        which = "tabs" if other == "\t" else f"'{other}'"
        raise UserError(
            f"{path}:1: the columns are parted by {which}, and in a {'.tsv' if tabs else '.csv'} file they are parted "
            f"by {'tabs' if tabs else 'commas'}: let the name end with .tsv for tabs, .csv for commas"
        )
