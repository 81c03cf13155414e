"""run.json: read, or said to be damaged; never the end of the arm."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from eprli_lab.training.run_id import read_run_id, write_run_id

OWNER = {"fingerprint": "abc", "study": "levels", "arm": "l2"}


def test_what_was_written_is_read_and_of_an_older_version_too(tmp_path: Path) -> None:
    assert read_run_id(tmp_path, OWNER) is None
    for run_id in ("0123", None):
        write_run_id(tmp_path, run_id, OWNER)
        assert read_run_id(tmp_path, OWNER) == run_id
    (tmp_path / "run.json").write_text('{"run_id": "old"}')
    assert read_run_id(tmp_path, OWNER) == "old"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"{", "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b"[]", "is damaged"),
        (b"{}", "is damaged"),
        (b'{"run_id": 3}', "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (None, "cannot be read"),
        ("flipped", "is damaged"),
        ("another", "belongs to another run"),
    ],
)
def test_anything_else_is_said_and_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture, content, said: str) -> None:
    file = tmp_path / "run.json"
    write_run_id(tmp_path, "0123", OWNER | ({"arm": "l1"} if content == "another" else {}))
    if content is None:
        file.unlink()
        file.mkdir()
    elif content == "flipped":
        file.write_text(file.read_text().replace("0123", "0122"))
    elif content != "another":
        file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert read_run_id(tmp_path, OWNER) is None
    assert f"{file} {said}" in caplog.text and "it is written anew" in caplog.text
    write_run_id(tmp_path, "0123", OWNER)
    assert read_run_id(tmp_path, OWNER) == "0123"
