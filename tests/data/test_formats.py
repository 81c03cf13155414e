"""Bytes to rows: every format and encoding is read, or called by its name in one sentence."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eprli_lab.config.data import ColumnsSpec, SourceSpec
from eprli_lab.data.files import Loaded, read_source
from eprli_lab.errors import UserError

ROWS = [{"id": f"q{i}", "problem": f'What is\n{i}+1, "exactly"?', "answer": str(i + 1)} for i in range(3)]
WHOLE = [("q0", ("1",)), ("q1", ("2",)), ("q2", ("3",))]


def as_jsonl(rows: list[dict[str, Any]] = ROWS) -> bytes:
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows).encode()


def as_table(delimiter: str) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerows([list(ROWS[0]), *(list(r.values()) for r in ROWS)])
    return out.getvalue().encode()


def as_parquet(rows: list[dict[str, Any]] = ROWS) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as packed:
        packed.write(data)
    return out.getvalue().to_pybytes()


def gz(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # the time in the header would make another test id in each worker


CONTENTS = {
    ".jsonl": as_jsonl(), ".ndjson": as_jsonl(), ".json": json.dumps(ROWS).encode(), ".parquet": as_parquet(),
    ".csv": as_table(","), ".tsv": as_table("\t"),
}  # fmt: skip


def load(path: Path | str, bad: int | None = 0, split: str = "train", **columns: Any) -> Loaded:
    source = SourceSpec(path=str(path), split=split, columns=ColumnsSpec(**columns))
    return read_source(source, "data.source", bad)


def refusal(path: Path | str, bad: int | None = 0, **kwargs: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(path, bad, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("ending", [*CONTENTS, ".JSONL", ".Parquet", ".CSV"])
@pytest.mark.parametrize("packed", ["", ".gz", ".zst", ".GZ"])
def test_every_format_gives_the_same_problems(tmp_path: Path, ending: str, packed: str) -> None:
    pack = {"": bytes, ".gz": gz, ".zst": zstd}[packed.lower()]
    path = tmp_path / f"toy{ending}{packed}"
    path.write_bytes(pack(CONTENTS[ending.lower()]))
    problems = load(path).problems
    assert [(p.id, p.answers) for p in problems] == WHOLE
    assert [p.prompt.replace("\r\n", "\n") for p in problems] == [r["problem"] for r in ROWS]
    assert {p.source for p in problems} == {"toy"}


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".tsv"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a{ending}").write_bytes(b"\xef\xbb\xbf" + CONTENTS[ending])
    assert [(p.id, p.answers) for p in load(tmp_path / f"a{ending}").problems] == WHOLE


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", as_jsonl().decode().encode("utf-16"), "a.jsonl is UTF-16: write it as UTF-8"),
        ("a.csv", as_table(",").decode().encode("utf-16-be"), "a.csv is UTF-16: write it as UTF-8"),
        ("a.json", json.dumps(ROWS).encode("utf-16-le"), "a.json is UTF-16"),
        ("a.json", json.dumps(ROWS).encode("utf-32"), "a.json is UTF-32"),
        ("a.jsonl", gz(as_jsonl()), "a.jsonl is gzip, whatever its name says: let the name end with .gz"),
        ("a.jsonl", zstd(as_jsonl()), "a.jsonl is zstd, whatever its name says: let the name end with .zst"),
        ("a.jsonl", as_parquet(), "a.jsonl is parquet, whatever its name says"),
        ("a.csv", b"PK\x03\x04 a spreadsheet", "a.csv is a ZIP archive (or a spreadsheet)"),
        ("a.json", b"version https://git-lfs.github.com/spec/v1\n", "a.json is a pointer of Git LFS"),
        ("a.jsonl", b"\n<!DOCTYPE html><p>Not found", "a.jsonl is a web page: download the file itself"),
        ("a.jsonl.gz", as_jsonl(), "a.jsonl.gz is not compressed as its name says (.gz)"),
        ("a.jsonl.zst", gz(as_jsonl()), "a.jsonl.zst is not compressed as its name says (.zst)"),
        ("a.jsonl.gz", b"", "a.jsonl.gz is empty"),
        ("a.jsonl.gz", gz(as_jsonl() * 50)[:-20], "a.jsonl.gz: the compressed file is damaged or cut off ("),
        ("a.jsonl.gz", gz(as_jsonl() * 50)[:30] + b"\xff" * 40, "a.jsonl.gz: the compressed file is damaged"),
        ("a.jsonl.zst", zstd(as_jsonl())[:6] + b"\xff" * 40, "a.jsonl.zst cannot be read ("),
        ("a.parquet", as_jsonl(), "a.parquet: not a readable parquet file ("),
        ("a.json", as_jsonl(), "a.json:2: not valid JSON (Extra data at column 1): one object a line belongs into a .jsonl"),
        ("a.json", b'{"data": []}', "a.json: a list of objects is needed"),
        ("a.json", b'["\xff"]', "a.json: not UTF-8 (byte 0xff at 3): write it as UTF-8"),
        ("a.csv", b"problem,answer\n1+\xff?,2\n", "a.csv:2: not UTF-8 (byte 0xff at 3)"),
        ("a.csv", b'problem,answer\n"1+1?,2\n', "a.csv:2: not valid CSV (unexpected end of data)"),
        ("a.csv", b"id,problem,answer,answer\n", "a.csv:1: the column 'answer' is there twice"),
        ("a.csv", b"id;problem;answer\na;1+1?;2\n", "a.csv:1: the columns are parted by ';', and in a .csv file"),
        ("a.csv", b"id\tproblem\tanswer\n", "a.csv:1: the columns are parted by tabs"),
        ("a.tsv", b"id,problem,answer\n", "a.tsv:1: the columns are parted by ',', and in a .tsv file"),
        ("a.csv", b"", "a.csv holds no rows"),
    ],
)  # fmt: skip
def test_bytes_that_are_something_else_are_called_by_name(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert said in refusal(tmp_path / name)


def test_a_column_that_is_there_twice_in_a_parquet_file(tmp_path: Path) -> None:
    table = pa.table([pa.array(["a"]), pa.array(["1"]), pa.array(["2"])], names=["problem", "answer", "answer"])
    pq.write_table(table, tmp_path / "a.parquet")
    assert "a.parquet: the column 'answer' is there twice" in refusal(tmp_path / "a.parquet", id=None)


def test_the_line_of_a_csv_row_is_the_one_in_which_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('problem,answer\n"a\nb",1\nc,2,3\n\nd,\n')
    loaded = load(path, 2, id=None)
    assert [p.id for p in loaded.problems] == ["2"]
    assert [(b.place.rpartition("/")[2], b.sentence) for b in loaded.bad] == [
        ("a.csv:4", "3 cells, and the first line names 2 columns"),
        ("a.csv:6", "column answer: the answer is empty"),
    ]


# --- rows that cannot be used


BAD = [
    '{"id": "b1", "problem": "p1", "answer": ""}', '{"id": "b2", "problem": "p2", "answer": null}', "{not json",
    '{"id": "b3", "problem": "p3", "answer": "N/A"}', '[1]', '{"id": "b4", "problem": "\\ud800", "answer": "1"}',
    '{"id": null, "problem": "p5", "answer": "1"}', '{"id": "b6", "problem": "p6", "answer": "1", "images": ["x.png"]}',
]  # fmt: skip


def test_bad_rows_are_counted_by_reason_and_left_out_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(as_jsonl() + "\n".join(BAD).encode() + b'\n{"id": "b7", "problem": "\xff", "answer": "1"}\n')
    reasons = (
        "2 the answer is empty (a.jsonl:4, a.jsonl:5); 1 not valid JSON (a.jsonl:6); 1 the answer is 'N/A' (a.jsonl:7); "
        "1 no JSON object (a.jsonl:8); 1 half a surrogate pair (a.jsonl:9); 1 no id (a.jsonl:10); 1 images (a.jsonl:11); "
        "1 not UTF-8 (a.jsonl:12)"
    )
    assert refusal(path, 8) == (
        f"{path}:4: column answer: the answer is empty; 9 of 12 rows cannot be used: {reasons}: mend them, or leave them "
        "out with data.max_bad_rows=9"
    )
    loaded = load(path, 9)
    assert [(p.id, p.answers) for p in loaded.problems] == WHOLE and (loaded.rows, len(loaded.bad)) == (12, 9)
    assert loaded.notes("data.source") == [f"data.source: 9 of 12 rows are left out: {reasons}"]
    assert refusal(path, None).endswith("mend them or take them out"), "of a suite no row is left out"


def test_where_no_row_can_be_used_the_first_one_says_why(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(as_jsonl())
    assert refusal(path, 100, answer="gold").startswith(f"{path}:1: there is no column 'gold' for the answer")


# --- shards


def shards(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        rows = [{"problem": f"{i}: {k}?", "answer": k} for k in range(2)]
        (folder / name).write_bytes(as_parquet(rows) if name.endswith(".parquet") else as_jsonl(rows))


def test_the_shards_of_a_folder_and_of_a_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "sums"
    shards(folder, "part-0.jsonl", "part-1.jsonl", "part-1.difficulty.jsonl")
    (folder / "README.md").write_text("sums")
    (folder / ".hidden.jsonl").write_text("{")
    for path in (folder, f"{folder}/", folder / "part-?.jsonl", tmp_path / "*" / "part-*.jsonl"):
        loaded = load(path, id=None)
        assert [p.id for p in loaded.problems] == ["part-0-1", "part-0-2", "part-1-1", "part-1-2"]
        assert [f.name for f in loaded.files] == ["part-0.jsonl", "part-1.jsonl"]
    assert {p.source for p in load(folder / "*.jsonl", id=None).problems} == {"sums"}


def test_of_a_folder_with_splits_the_one_that_is_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shards(folder, "train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00001.parquet")
    assert len(load(folder, id=None).problems) == 4
    assert [f.name for f in load(folder, split="test", id=None).files] == ["test-00000-of-00001.parquet"]
    assert (
        refusal(folder, split="dev", id=None)
        == f"data.source.split: {folder} holds files of test, train, and none of dev"
    )


def test_folders_that_are_no_data_set_are_named(tmp_path: Path) -> None:
    assert "holds files of several kinds (.jsonl, .parquet)" in (
        shards(tmp_path / "a", "x.jsonl", "y.parquet") or refusal(tmp_path / "a")
    )
    assert "was written by save_to_disk of datasets" in (
        shards(tmp_path / "b", "data-00000.arrow", "state.json") or refusal(tmp_path / "b")
    )
    (tmp_path / "c" / "main").mkdir(parents=True)
    assert refusal(tmp_path / "c").endswith(f"in the folder {tmp_path / 'c'}: name one of its folders (main)")
    assert refusal(tmp_path / "c" / "*.csv") == f"data.source.path: no file matches {tmp_path / 'c' / '*.csv'}"
    (tmp_path / "c" / "x.txt").write_text("")
    assert "x.txt, which is not a .jsonl," in refusal(tmp_path / "c" / "x*")
    assert "cannot be read (File name too long)" in refusal(f"/{'x' * 300}.jsonl")
    assert "there is no file /a" in refusal("/a\0b.jsonl")


# --- Open-Reasoner-Zero: a row is a conversation, and the gold is in it


def test_lists_of_turns_with_a_ground_truth(tmp_path: Path) -> None:
    rows = [
        [{"from": "human", "value": f"{i}+1?"}, {"from": "assistant", "ground_truth": {"value": str(i + 1)}}]
        for i in range(2)
    ]
    (tmp_path / "orz.json").write_text(json.dumps(rows))
    (tmp_path / "orz.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    for name in ("orz.json", "orz.jsonl"):
        problems = load(tmp_path / name, id=None).problems
        assert [(p.prompt, p.messages, p.answers) for p in problems] == [("0+1?", (), ("1",)), ("1+1?", (), ("2",))]
    (tmp_path / "orz.jsonl").write_text(json.dumps(rows[0][:1]) + "\n")
    assert "a JSON object is needed, not list" in refusal(tmp_path / "orz.jsonl", id=None)


# --- whatever a file holds: problems or one sentence


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from([10**400, "9" * 5000, "\ud800", "[" * 3000, '["' + "[" * 2000 + '"]', "{" * 300, '{"role": ', "(" * 99 + "'", "5/0", "1e999999999", "Level 99999999", "x" * 250, "\\boxed{" * 50, "####", "0", "\x00"]),
)  # fmt: skip
CELLS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["role", "content", "from", "value", "type", "text", "ground_truth", "x" * 250]), inner, max_size=4),
    ),
    max_leaves=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def sentence_or_problems(path: Path, **columns: Any) -> None:
    try:
        loaded = load(path, 1, **columns)
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 4000
        return
    for p in loaded.problems:
        assert p.prompt.encode() and p.answers and all(a.strip() for a in p.answers)
        assert p.difficulty is None or 0 <= p.difficulty <= 1


@settings(max_examples=150, deadline=None)
@given(problem=CELLS, answer=CELLS, difficulty=CELLS, identity=SCALARS)
def test_no_cell_is_a_stack_trace(folder: Path, problem: Any, answer: Any, difficulty: Any, identity: Any) -> None:
    path = folder / "cells.jsonl"
    for row in (
        {"id": identity, "problem": "p", "answer": answer, "d": difficulty},
        {"id": "a", "problem": problem, "answer": "1", "d": 1},
    ):
        text = json.dumps(row)  # surrogates as escapes, NaN and Infinity as Python writes them
        path.write_text(f"{text}\n")
        sentence_or_problems(path, difficulty="d")
        sentence_or_problems(
            path, difficulty="d.x", difficulty_is="pass_rate", answers_mean="all", answer="answer.value"
        )


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=60) | st.text(max_size=60).map(lambda s: s.encode("utf-8", "surrogatepass")),
    st.sampled_from([*CONTENTS, ".jsonl.gz", ".csv.zst"]),
)
@example(b"[" * 100_000, ".json")
@example(b'[{"problem": ' + b"9" * 5000 + b"}]", ".json")
@example(b'[{"problem": 1e400, "answer": -Infinity}]', ".json")
@example(b"a," * 5000, ".csv")
@example(b"problem,answer\n" + b"x" * 200_000 + b",1\n", ".csv")
@example(b"\x00" * 600, ".jsonl")
@example(b"PAR1" + b"\x00" * 100 + b"PAR1", ".parquet")
@example(gz(b"\xff\xfe"), ".jsonl.gz")
def test_no_bytes_are_a_stack_trace(folder: Path, content: bytes, ending: str) -> None:
    path = folder / f"bytes{ending}"
    path.write_bytes(content)
    sentence_or_problems(path)


def test_a_date_beyond_the_calendar_is_one_sentence(tmp_path: Path) -> None:
    columns = {"problem": pa.array(["1+1?"]), "answer": pa.array([1836388031], pa.int32()).cast(pa.date32())}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert "a.parquet: not a readable parquet file (" in refusal(tmp_path / "a.parquet")
