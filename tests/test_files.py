"""Whole files and sealed lines: the old content, the new one, or a sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.errors import UserError
from eprli_lab.files import read_json, seal, unseal, write_whole

LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
ENTRIES = st.dictionaries(
    st.text().filter(lambda k: k != "sum"), st.recursive(LEAF, lambda x: st.lists(x, max_size=3), max_leaves=5)
)


@given(ENTRIES)
def test_a_sealed_line_gives_its_entry_back(entry):
    line = seal(entry)
    assert line.endswith("\n") and "\n" not in line[:-1]
    assert unseal(line) == entry


@given(ENTRIES, st.data())
def test_a_flipped_byte_never_gives_another_entry(entry, data):
    raw = bytearray(seal(entry).encode()[:-1])
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        assert unseal(raw.decode()) == entry  # \\U and \\u, 1E5 and 1e5: another spelling of the same
    except (ValueError, KeyError):
        pass


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch):
    file = tmp_path / "run.json"
    write_whole(file, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, "new")
    assert file.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_a_missing_empty_or_broken_json_is_one_sentence(tmp_path: Path):
    file = tmp_path / "run.json"
    for content, said in ((None, "cannot be read (No such file"), (b"", "is empty"), (b"\xff{", "is damaged (not JSON)"),
                          (b"[" * 100_000, "is damaged (not JSON)")):  # fmt: skip
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(UserError) as caught:
            read_json(file, "remove it")
        assert said in str(caught.value) and str(caught.value).endswith(": remove it")
