"""The machine's own faults, with real processes: full and read-only disks, folders and names that are missing."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO

pytestmark = pytest.mark.exhaustive

RUN = [sys.executable, "-m", "eprli_lab.run", "preset=smoke", "budget.amount=1500", "evaluation.samples=1"] + [
    f"evaluation.suites.heldout_{s}.generated.problems=8" for s in ("easy", "medium", "hard")
]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
SCORE = 0.2916666666666667
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


def may_unshare() -> bool:
    """May this user make mount namespaces of its own?"""
    if os.getuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


namespaces = pytest.mark.skipif(not may_unshare(), reason="root and unshare(1) are needed to mount a disk of its own")


def run(directory: Path, *before: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, *RUN], cwd=directory, env=ENVIRONMENT | environment, capture_output=True, text=True, timeout=120
    )


def ledger(directory: Path) -> str:
    (path,) = directory.glob("outputs/*/ledger.jsonl")
    return path.read_text()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The ledger of the undisturbed run."""
    directory = tmp_path_factory.mktemp("plain")
    done = run(directory)
    assert done.returncode == 0, done.stderr
    return ledger(directory)


@pytest.mark.parametrize("missing", [{"HOME": "/nonexistent", "TMPDIR": "/nonexistent"}, ASCII], ids=["home", "locale"])
def test_no_home_no_temporary_folder_and_no_letters_make_no_difference(plain, tmp_path, missing):
    done = run(tmp_path, **missing)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert ledger(tmp_path) == plain


@namespaces
@pytest.mark.parametrize(
    "before",
    [
        ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o ro none /dev/shm && exec "$0" "$@"'),
        ("unshare", "--map-user=54321", "env", "-u", "HOME", "-u", "USER", "-u", "LOGNAME"),
    ],
    ids=["shared memory", "user"],
)
def test_no_shared_memory_and_a_user_without_a_name_make_no_difference(plain, tmp_path, before):
    done = run(tmp_path, *before)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert ledger(tmp_path) == plain


@namespaces
def test_a_read_only_folder_is_one_sentence(tmp_path):
    done = run(tmp_path, "unshare", "-m", "sh", "-c", 'mount -t tmpfs -o ro none "$PWD" && cd "$PWD" && exec "$0" "$@"')
    assert done.returncode == 2
    (sentence,) = done.stderr.strip().splitlines()
    assert "cannot be written to (Read-only file system)" in sentence


FULL = """mount -t tmpfs -o size=$SIZE none "$PWD" && cd "$PWD" || exit 99
"$0" "$@"; echo $? > "$RESULT/first"
mount -o remount,size=500m "$PWD" && cd "$PWD"
"$0" "$@"; echo $? > "$RESULT/second"
cp -r outputs mlflow.db* "$RESULT"
"""


@namespaces
@pytest.mark.parametrize("size", ["60k", "500k", "1300k"])
def test_a_disk_that_is_full_costs_a_sentence_and_nothing_else(plain, tmp_path, size):
    """Whatever was being written when it was full: after space was made, the same command ends with the numbers."""
    result, disk = tmp_path / "result", tmp_path / "disk"
    result.mkdir()
    disk.mkdir()
    done = run(disk, "unshare", "-m", "sh", "-c", FULL, SIZE=size, RESULT=str(result))
    assert "Traceback" not in done.stderr, done.stderr
    first, second = (int((result / name).read_text()) for name in ("first", "second"))
    assert first in (0, 2) and second == 0, done.stderr
    if first == 2:
        assert "No space left" in done.stderr or "is full" in done.stderr
    ledgers = {path.read_text() for path in result.glob("outputs/*/ledger.jsonl")}
    assert ledgers == {plain}
    with contextlib.closing(sqlite3.connect(result / "mlflow.db")) as store:
        runs = store.execute("SELECT status, value FROM runs JOIN latest_metrics USING (run_uuid) WHERE key = 'score'")
        assert set(runs) == {("FINISHED", SCORE)}
