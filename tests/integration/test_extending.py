"""docs/extending.md as written: its files, its sweep, its commands; and what becomes of a change in them."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO

PAGE = REPO / "docs" / "extending.md"
BLOCK = re.compile(r"```(python|yaml|sh)\n(.*?)```", re.DOTALL)
pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(PAGE.read_text()) if kind == language]


def lab(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(REPO), "EPRLI_LAB_CACHE": str(cwd / "cache")}
    words = [sys.executable if w == "python" else w for w in shlex.split(command)]
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("extending")
    for source in blocks("python"):
        name = source.splitlines()[0].removeprefix("# ")
        (directory / name).write_text(source)
    (directory / "sweeps").mkdir()
    (directory / "sweeps" / "mine.yaml").write_text(blocks("yaml")[0])
    return directory


@pytest.fixture(scope="module")
def swept(folder: Path) -> Path:
    done = lab(blocks("sh")[0], folder)
    assert done.returncode == 0, done.stderr
    return folder


def ledger(folder: Path, arm: str) -> list[dict]:
    lines = (folder / "outputs" / "mine-smoke" / arm / "seed0" / "ledger.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_every_function_of_the_page_acts(swept):
    with open(swept / "reports" / "mine-smoke" / "table.csv") as file:
        arms = [row["arm"] for row in csv.DictReader(file)]
    assert len(arms) == 10 and arms[0] == "plain"
    plain = ledger(swept, "plain")
    for arm in arms[1:]:
        assert ledger(swept, arm) != plain, f"{arm} trained as plain did: its function never acted"
    first = [row for row in ledger(swept, "quadratic") if row["level"] == "l1"]
    assert first[0] == plain[0], "a length term of the second level leaves the first as it was"


def test_their_own_metrics_are_logged(swept):
    import sqlite3

    connection = sqlite3.connect(swept / "mlflow.db")
    keys = {k for (k,) in connection.execute("SELECT DISTINCT key FROM latest_metrics WHERE key LIKE 'sampler/%'")}
    connection.close()
    assert keys == {"sampler/l1/waiting", "sampler/l2/waiting"}


def test_a_changed_function_is_refused_under_the_same_name(swept):
    path = swept / "my_terms.py"
    source = path.read_text()
    path.write_text(source.replace("** 2", "** 3"))  # one character
    done = lab(blocks("sh")[0], swept)
    path.write_text(source)
    assert done.returncode == 2 and "my_terms.py: " in done.stderr and "study.name=" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    path.write_text(source.replace("def quadratic", "def quadratic("))
    broken = lab(f"{blocks('sh')[0]} study.name=other", swept)
    path.write_text(source)
    assert broken.returncode == 2 and "my_terms cannot be imported (SyntaxError" in broken.stderr
    assert len(broken.stderr.strip().splitlines()) == 1


@pytest.mark.exhaustive  # a warm start is made first
def test_a_family_of_the_users_is_warm_started_and_trained(folder):
    done = lab(blocks("sh")[1], folder)
    assert done.returncode == 0, done.stderr
    assert "heldout_hard" in done.stdout and "checkpoint: " in done.stdout
    rows = [json.loads(line) for line in next(folder.glob("outputs/run-*/ledger.jsonl")).read_text().splitlines()]
    assert rows[0]["problem"].startswith("sums-")
