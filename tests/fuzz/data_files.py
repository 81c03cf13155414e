"""Data files as no library writes them: cells, rows, bytes, compression, folders, each damaged at random."""

from __future__ import annotations

import gzip
import io
import json
import os
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hostile import cell
from hypothesis import strategies as st

ROWS: list[dict[str, Any]] = [
    {"id": "a", "problem": "What is 1+1?", "answer": "2", "difficulty": 0.2, "solution": "1+1\n= 2\n#### 2"},
    {"id": "b", "problem": "What is 2+2?", "answer": "\\boxed{4}", "difficulty": 0.6, "solution": "It is 4."},
    {"id": "c", "problem": "What is 3+3?", "answer": ["6", "six"], "difficulty": 0.9, "solution": ""},
]
CHAT = [{"role": "user", "content": "What is 1+1?"}, {"role": "assistant", "content": "#### 2"}]
TURNS = ["{}", "[]", '[{"role":"user"}]', '[{"role":"user","content":null}]', '[{"role":1,"content":"x"}]', '[{"role":"user","content":[{"type":"text","text":"x"}]}]',
         '[{"role":"user","content":[{"type":"image"}]}]', '[{"role":"user","content":[[]]}]', '[{"from":"human","value":"x"}]', '[{"from":"human","value":{"a":1}}]', '[{"from":[],"value":"x"}]',
         '[{"role":{},"content":"x"}]', '[{"role":"system","content":"x"}]', '[{"role":"assistant","content":"x"}]', '[{"role":"user","content":"x"},{"role":"assistant","content":7}]',
         '[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"text","text":7}]}]', '{"role":["user"],"content":["x"]}', '{"role":["user"],"content":[]}', '{"role":"user","content":"x"}',
         '{"role":7,"content":"x"}', '{"role":[["user"]],"content":["x"]}', "[[]]", "[null]", '["user"]', '[{"role":"user","content":"x","tool_calls":[{}]}]', '[{"role":"user","content":"x"},{"ground_truth":{"value":"2"}}]',
         '[{"ground_truth":[]}]', '[{"role":null,"content":null,"from":"human","value":"x"}]', '[{"role":"tool","content":"x"}]', '[{"from":"human","ground_truth":{}}]']  # fmt: skip
FRAGMENTS = ["null", "true", "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-999", "1" + "0" * 400, "7" * 5000, "-0", "-0.0", "0.1e1", "01", "+1", "0x1", ".5", "1.", "'a'", "undefined", "{}", "[]",
             '""', '" "', r'"\u0000"', r'"\ud800"', r'"\udc00\ud800"', r'"\u202e"', r'"\x"', '"\t"', '"\x00"', '"' + "a" * 300 + '"', '"' + "a" * 100_000 + '"', "[" * 500 + "]" * 500, "[" * 100_000 + "]" * 100_000, "[" * 100_000,
             '{"a":' * 100_000, '{"a":' * 400 + "1" + "}" * 400, '{"a":1,"a":2}', '{"":1}', '[["2"]]', '["2",null]', '[null]', '["",""]', '"[\\"2\\"]"', "\"['2']\"", "\"{'a'}\"", '"array([1])"', '"None"', '"N/A"', '"nan"', '"[\\"' + '["' * 2000 + '"',
             '"' + "(" * 30000 + '"', '"[' + "[" * 4000 + '"', '"' + "\\\\frac{" * 3000 + '"', '"\\\\boxed{' + "{" * 30000 + '}"', '"####"', '"#### "', '"\\\\boxed{}"', '"\\\\boxed"', '"50%"', '"5/8"', '"5/0"', '"Level 3"', '"Level ' + "9" * 5000 + '"', '"' + "9" * 5000 + '%"',
             '"1e400"', '"' + "9" * 5000 + '/7"', '"-1%"', '"Level ' + "1" * 6 + '"', "0.5", "1.0000001", "-1e-320", "101", "5e-324", '"{\\"role\\":\\"user\\"}"', '"[{\\"role\\": \\"user\\", \\"content\\": "', '"{\\"' + 'a\\":{\\"' * 3000 + '"', '"\\u0660"', '"\\u0665%"', '"{\\"x\\":1}"']  # fmt: skip
COLUMNS = ("id", "problem", "answer", "difficulty", "solution")
PYTHON: list[Any] = [None, True, 2**62, -1, 0.5, float("nan"), float("inf"), "x", b"\xff\xfe", Decimal("0.5"), Decimal("1e30"), Decimal("NaN"), date(2000, 1, 1), datetime(2000, 1, 1), time(1), timedelta(1),
                     [], [1], ["2", None], [[1]], {"a": 1}, {"a": None}, {"role": "user", "content": "x"}, CHAT, [{"role": "user", "content": None}], [{"from": "human", "value": "x"}], [{}], b"", "\x00", datetime(1, 1, 1)]  # fmt: skip
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"columns": {"difficulty": "difficulty"}},
    {"columns": {"difficulty": "difficulty", "id": None, "solution": "solution"}},
    {"columns": {"difficulty": "difficulty", "difficulty_scale": 100.0, "answers_mean": "all"}},
    {"columns": {"difficulty": "difficulty", "difficulty_is": "pass_rate"}, "limit": 2},
    {"columns": {"prompt": "messages", "id": "extra.id", "answer": "extra.answer"}},
    {"columns": {"prompt": "answer", "answer": "problem", "difficulty": "id"}},
    {"columns": {"difficulty": "extra"}, "prompt_template": "Q: {prompt} {prompt}", "format": "hash"},
    {"split": "test", "columns": {"difficulty": "solution"}},
)


@st.composite
def json_rows(draw: st.DrawFn) -> list[str]:
    """Objects as JSON texts, some cells of which are no such."""
    out = []
    for row in draw(st.lists(st.sampled_from(ROWS), min_size=1, max_size=4)):
        cells = {name: json.dumps(value) for name, value in row.items()}
        cells |= {"messages": json.dumps(CHAT), "extra": '{"id": "x", "answer": "2"}'} if draw(st.booleans()) else {}
        for _ in range(draw(st.integers(0, 2))):
            name = draw(st.sampled_from((*COLUMNS, "messages", "extra", "image", "new")))
            action = draw(st.sampled_from(("set", "set", "set", "turn", "drop", "value", "text")))
            if action == "drop":
                cells.pop(name, None)
            elif action == "value":
                cells[name] = json.dumps(draw(cell()))
            elif action == "text":
                cells[name] = json.dumps(draw(st.sampled_from((*TURNS, *FRAGMENTS))))
            else:
                cells[name] = draw(st.sampled_from(TURNS if action == "turn" else FRAGMENTS))
        body = ", ".join(f'"{name}": {text}' for name, text in cells.items())
        out.append(
            draw(
                st.sampled_from(
                    ("{%s}",) * 40
                    + ("[%s]", "%s", "{%s", "{%s}}", "{%s},", "[{%s}]", "{%s} {}", "\ufeff{%s}", '{"id": 1, %s}')
                )
            )
            % body
        )
        if draw(st.integers(0, 15)) == 0:
            out.append(draw(st.sampled_from((*FRAGMENTS, *TURNS, "", " ", "{}", "\x00", "null", json.dumps(CHAT)))))
    return out


@st.composite
def text_file(draw: st.DrawFn) -> tuple[str, bytes]:
    """(suffix, bytes) of a text format."""
    kind = draw(st.sampled_from((".jsonl", ".jsonl", ".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".csv")))
    end = draw(st.sampled_from(("\n", "\n", "\n", "\r\n", "\r", "\n\r", "\n\n", "\u2028", "\x0b", "")))
    if kind in (".csv", ".tsv"):
        sign = (
            draw(st.sampled_from((",", "\t", ";"))) if draw(st.integers(0, 5)) == 0 else "," if kind == ".csv" else "\t"
        )
        cells = st.sampled_from(
            (
                '"',
                '""',
                '"a',
                'a"b',
                '"a""b"',
                '"a\nb"',
                "",
                " ",
                "0.5",
                "50%",
                "x" * 200_000,
                "\x00",
                "=1+1",
                "2",
                "#### 2",
                *TURNS,
                *(f for f in FRAGMENTS if len(f) < 6000),
            )
        )
        names = (
            list(draw(st.permutations(COLUMNS)))[: draw(st.integers(1, 5))] if draw(st.booleans()) else list(COLUMNS)
        )
        names += [draw(st.sampled_from(("", "id", "é", '"', "problem"))) for _ in range(draw(st.integers(0, 4)) == 0)]
        rows = [
            [json.dumps(str(ROWS[i % 3].get(n, ""))).replace('\\"', '""').replace("\\n", "\n") for n in names]
            for i in range(draw(st.integers(0, 3)))
        ]
        for row in rows:
            for _ in range(draw(st.integers(0, 2))):
                row[draw(st.integers(0, len(row) - 1))] = draw(cells)
            if draw(st.integers(0, 8)) == 0:
                row.append("more")
        return kind, end.join(sign.join(r) for r in [names, *rows]).encode("utf-8", "surrogatepass")
    rows_of_json = draw(json_rows())
    text = end.join(rows_of_json) + end if kind != ".json" else "[" + f",{end}".join(rows_of_json) + "]"
    if kind == ".json" and draw(st.integers(0, 6)) == 0:
        text = draw(
            st.sampled_from(
                (
                    "",
                    "[]",
                    "{}",
                    "[" * 100_000,
                    "null",
                    '{"data": ' + text + "}",
                    text + text,
                    text[:-1],
                    "[[[]]]",
                    "[1]",
                    "\x00",
                )
            )
        )
    return kind, text.encode("utf-8", "surrogatepass")


@st.composite
def parquet_file(draw: st.DrawFn) -> tuple[str, bytes]:
    """A parquet file with columns of odd types."""
    count = draw(st.integers(0, 3))
    columns: dict[str, pa.Array] = {}
    for name in (*COLUMNS, "messages", "extra"):
        base: list[Any] = [str(ROWS[i].get(name, "x")) if name != "difficulty" else ROWS[i][name] for i in range(count)]
        if name in ("messages", "extra") or draw(st.integers(0, 5)) == 0:
            if draw(st.integers(0, 3)) == 0:
                continue
            value = draw(st.sampled_from(PYTHON))
            base = [value if draw(st.integers(0, 3)) else None for _ in range(count)]
        try:
            array = pa.array(base)
        except (pa.ArrowException, OverflowError, ValueError):
            continue
        odd = draw(
            st.sampled_from(
                (None,) * 40
                + (
                    pa.large_string(),
                    pa.binary(),
                    pa.float16(),
                    pa.decimal128(38, 4),
                    pa.timestamp("ns", "UTC"),
                    pa.date64(),
                    pa.duration("ns"),
                    pa.string_view(),
                    pa.uint64(),
                    pa.null(),
                    pa.map_(pa.string(), pa.int32()),
                    pa.large_list(pa.string()),
                    pa.bool_(),
                )
            )
        )
        try:
            array = (
                array.dictionary_encode() if draw(st.integers(0, 9)) == 0 else array if odd is None else array.cast(odd)
            )
        except (pa.ArrowException, NotImplementedError):
            pass
        columns[name] = array
    if draw(st.integers(0, 10)) == 0 and count:
        columns["a_map"] = pa.array([[("k", 1)]] * count, pa.map_(pa.string(), pa.int32()))
    out = io.BytesIO()
    try:
        table = pa.table(columns)
        if draw(st.integers(0, 9)) == 0 and columns:
            table = pa.Table.from_arrays(
                [*columns.values(), next(iter(columns.values()))], names=[*columns, next(iter(columns))]
            )
        pq.write_table(table, out, compression=draw(st.sampled_from(("snappy", "zstd", "gzip", "none", "brotli"))))
    except (pa.ArrowException, NotImplementedError):
        return ".parquet", b"PAR1PAR1"
    return ".parquet", out.getvalue()


@st.composite
def damaged(draw: st.DrawFn, files: st.SearchStrategy[tuple[str, bytes]]) -> tuple[str, bytes]:
    """The same with some of its bytes changed."""
    suffix, content = draw(files)
    for _ in range(draw(st.sampled_from((0, 0, 0, 0, 0, 1, 1, 2)))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        action = draw(
            st.sampled_from(("flip", "cut", "insert", "double", "bom", "utf16", "zeros", "footer", "magic", "empty"))
        )
        match action:
            case "flip":
                content = content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1 :]
            case "cut":
                content = content[:at]
            case "insert":
                content = (
                    content[:at]
                    + draw(
                        st.sampled_from(
                            (
                                b"\x00",
                                b"\xff",
                                b"\xed\xa0\x80",
                                b"\n",
                                b"\r",
                                b'"',
                                b"\xef\xbb\xbf",
                                b"\x1f\x8b",
                                b"\xe2\x80\xa8",
                                b"{",
                                b"\\",
                            )
                        )
                    )
                    + content[at:]
                )
            case "double":
                content = content + content[at:]
            case "bom":
                content = b"\xef\xbb\xbf" + content
            case "utf16":
                content = content.decode("utf-8", "replace").encode(
                    draw(st.sampled_from(("utf-16", "utf-16-le", "utf-32", "cp1252"))), "replace"
                )
            case "zeros":
                content = content[:at] + b"\x00" * draw(st.integers(1, 600))
            case "footer":
                content = content[:-8] + draw(st.binary(min_size=8, max_size=8))
            case "magic":
                content = (
                    draw(
                        st.sampled_from(
                            (b"PAR1", b"PARE", b"PK\x03\x04", b"\x1f\x8b", b"<html>", b"version https://git-lfs")
                        )
                    )
                    + content[4:]
                )
            case "empty":
                content = b""
    return suffix, content


@st.composite
def packed(draw: st.DrawFn, files: st.SearchStrategy[tuple[str, bytes]]) -> tuple[str, bytes]:
    """The same, sometimes compressed, sometimes damaged then, or under another name."""
    suffix, content = draw(files)
    how = draw(st.sampled_from((None,) * 12 + (".gz", ".zst", ".gz", ".zst", "lie", "name", "both")))
    if how in (".gz", ".zst", "both"):
        last = ".gz" if how != ".zst" else ".zst"
        content = gzip.compress(content, mtime=0) if last == ".gz" else pa.compress(content, "zstd", asbytes=True)
        if how == "both":
            content, last = gzip.compress(content, mtime=0), ".gz.gz" if draw(st.booleans()) else ".gz"
        return draw(damaged(st.just((suffix + last, content))))
    if how == "lie":
        suffix += draw(st.sampled_from((".gz", ".zst")))
    if how == "name":
        suffix = draw(
            st.sampled_from(
                (
                    ".JSONL",
                    ".parquet",
                    ".csv",
                    ".json",
                    ".tsv",
                    ".txt",
                    "",
                    ".jsonl.bz2",
                    ".arrow",
                    ".difficulty.jsonl",
                    ".zst",
                )
            )
        )
    return suffix, content


def one_file() -> st.SearchStrategy[tuple[str, bytes]]:
    """(suffix, bytes) of a file of any format."""
    return packed(damaged(st.one_of(text_file(), text_file(), parquet_file())))


@st.composite
def source(draw: st.DrawFn) -> tuple[list[tuple[str, bytes]], str, dict[str, Any]]:
    """(files as name and bytes, the path that names them, settings of the source)."""
    settings = draw(st.sampled_from(SETTINGS))
    suffix, content = draw(one_file())
    how = draw(st.sampled_from(("file",) * 8 + ("folder", "pattern", "shards")))
    if how == "file":
        return [("rows" + suffix, content)], "rows" + suffix, settings
    names = draw(
        st.lists(
            st.sampled_from(
                (
                    "train-0",
                    "test-1",
                    "a",
                    "b",
                    "validation",
                    ".hidden",
                    "_x",
                    "é",
                    "a" * 200,
                    "dataset_dict",
                    "dataset_info",
                    "x.difficulty",
                    "a\nb",
                    "\udc80",
                    "[a]",
                    "*",
                )
            ),
            min_size=1,
            max_size=3,
            unique=True,
        )
    )
    files = [(f"d/{name}{suffix}", content) for name in names]
    if how == "shards":
        files = [(f"d/{name}{s}", c) for name in names for s, c in [draw(one_file())]]
    if draw(st.integers(0, 5)) == 0:
        files.append(
            (draw(st.sampled_from(("d/x.arrow", "d/sub/a.jsonl", "d/readme.md", "d/data.zip", "d/state.json"))), b"x")
        )
    return (
        files,
        draw(st.sampled_from(("d", "d/", "d/*", "d/[a]*", "d/**", "./d/../d", "d/*.jsonl", "*/*")))
        if how != "folder"
        else "d",
        settings,
    )


def write(directory: Path, files: list[tuple[str, bytes]]) -> None:
    """Write files of a case below a directory."""
    for name, content in files:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.fsencode(path), "wb") as file:
            file.write(content)
