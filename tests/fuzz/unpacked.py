"""Files of some kilobytes that unpack to a gigabyte, each read in this process; its last line is the peak of memory."""

from __future__ import annotations

import gzip
import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eprli_lab.config.data import SourceSpec
from eprli_lab.data.files import read_source
from eprli_lab.errors import UserError

MEGABYTE = 1 << 20


def packed(name: str, unit: bytes, megabytes: int) -> str:
    part = unit * (MEGABYTE // len(unit))
    out = gzip.open(name, "wb", compresslevel=1) if name.endswith(".gz") else pa.CompressedOutputStream(name, "zstd")
    with out as file:
        for _ in range(megabytes):
            file.write(part)
    return name


def rows(name: str, count: int) -> str:
    column = pa.array(["a"] * count).dictionary_encode()
    pq.write_table(pa.table({"id": column, "problem": column, "answer": column}), name)
    return name


def main() -> None:
    os.chdir(tempfile.mkdtemp())
    Path("a_line.jsonl").write_bytes(b'{"id": "' + b"[" * (1 << 25) + b'"}')
    files = [
        "a_line.jsonl",
        packed("one_line.jsonl.gz", b"0", 200),
        packed("brackets.json.gz", b"[", 200),
        packed("blanks.jsonl.zst", b" ", 1000),
        packed("quoted.csv.zst", b'"a', 1000),
        packed("columns.parquet.zst", b"PAR1", 1000),
        packed("long_lines.jsonl.zst", b" " * 4095 + b"\n", 1000),
        rows("rows.parquet", 1_500_000),
    ]
    for file in files:
        try:
            read_source(SourceSpec(path=file), "data.source")
            print("accepted:", file)
        except UserError as error:
            print("refused:", error)
        Path(file).unlink()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]))  # kB; ru_maxrss would count its parent's too


if __name__ == "__main__":
    main()
