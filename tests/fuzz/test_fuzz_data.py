"""Random data files: each is read, or refused with one sentence; what unpacks to gigabytes is refused before it does."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO
from data_files import one_file, source, write
from hypothesis import given
from outcome import examples, outcome

from eprli_lab.cli.data import lines
from eprli_lab.config.compose import UNMEASURED, compose_data
from eprli_lab.config.data import SourceSpec
from eprli_lab.config.spec import RunSpec
from eprli_lab.data.load import with_measured
from eprli_lab.training.data_report import data_report

BOMBS = REPO / "tests" / "fuzz" / "unpacked.py"


@cache
def base() -> RunSpec:
    return compose_data(["data=jsonl", "data.source.path=rows.jsonl"])


def report(path: str, settings: dict[str, Any], bad: int) -> None:
    """Everything that `eprli-lab data` reads of a source."""
    spec = SourceSpec.model_validate({"path": path, **settings})
    measured = None if spec.columns.difficulty else UNMEASURED
    data = base().data.model_copy(update={"source": spec, "difficulty_file": measured, "max_bad_rows": bad})
    lines(data_report(base().model_copy(update={"data": data}), with_model=False))


def in_a_directory(files: list[tuple[str, bytes]], work: Any) -> str:
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as directory:
        write(Path(directory), files)
        os.chdir(directory)
        try:
            return outcome(work)
        finally:
            os.chdir(here)


@examples(120)
@given(source())
def test_a_source(case: tuple[list[tuple[str, bytes]], str, dict[str, Any]]) -> None:
    files, path, settings = case
    in_a_directory(files, lambda: report(path, settings, len(files[0][1]) % 3))


@examples(40)
@given(one_file())
def test_a_difficulty_file(case: tuple[str, bytes]) -> None:
    suffix, content = case
    in_a_directory([("rates" + suffix, content)], lambda: with_measured([], Path("rates" + suffix)))


@pytest.mark.slow
def test_what_unpacks_to_gigabytes_is_refused_in_little_memory() -> None:
    run = subprocess.run(
        [sys.executable, str(BOMBS)],
        env={**os.environ, "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    *said, peak = run.stdout.splitlines()
    assert [line.partition(": ")[0] for line in said] == ["refused"] * 8, run.stdout
    assert int(peak) < 600_000  # kB


def test_a_pipe_is_no_data_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rates.jsonl")
    assert "is no regular file" in outcome(lambda: with_measured([], tmp_path / "rates.jsonl"))
    assert "is no regular file" in outcome(lambda: with_measured([], Path("/dev/zero")))
