"""A disk that is full or read-only at each kind of write: one sentence, and the same run goes on to the same numbers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import ScriptedBackend, small_spec
from loops import TINY, run, small_levels, tables, trainer

from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError
from eprli_lab.training.checkpoint import RunStore
from eprli_lab.training.execute import disk_sentences
from eprli_lab.training.run_id import write_run_id


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """6 MB that a file system of its own has."""
    where = tmp_path / "disk"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(where)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (that takes root)")
    try:
        yield where
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(where)], capture_output=True, check=False)
        subprocess.run(["umount", "-l", str(where)], check=True)


def leave(disk: Path, room: int) -> None:
    """So many bytes of it stay free."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    state = os.statvfs(disk)
    with contextlib.suppress(OSError), open(filler, "wb") as file:
        file.write(bytes(max(0, state.f_bavail * state.f_frsize - room)))


def engine(spec: RunSpec) -> LocalBackend:
    return LocalBackend(spec.model, spec.optim, spec.backend, family="mod10", kl_reference=False, seed=0)


@pytest.mark.slow
def test_a_full_disk_at_each_kind_of_write_of_a_real_run(tmp_path: Path, small_disk: Path) -> None:
    spec = small_spec(*TINY, *small_levels(1), "budget.amount=2500", "evaluation.samples=1")
    run(spec, tmp_path / "whole", engine(spec))
    whole, where = tables(tmp_path / "whole"), small_disk / "run"
    said = []
    for room in (0, 100_000, 900_000):  # the folder, the policy, the optimizer
        made = trainer(spec, where, engine(spec))

        def fill(values: dict[str, float], step: int, room: int = room) -> None:
            if step > 0 and not (small_disk / "filler").exists():
                leave(small_disk, room)

        made.log = fill
        with pytest.raises(UserError) as caught, disk_sentences(made.store.last_good):
            made.run()
        said.append(str(caught.value))
        assert "cannot be written or read (No space left on device); the last good checkpoint is " in said[-1]
        assert said[-1].endswith(": free some space, and the same command resumes") and "\n" not in said[-1]
        assert not list(where.glob("saving-*")), "what was half written takes no room"
        (small_disk / "filler").unlink()
    run(spec, where, engine(spec))
    assert tables(where) == whole
    assert {p.name.split("-")[0] for p in where.iterdir()} == {
        p.name.split("-")[0] for p in (tmp_path / "whole").iterdir()
    }


@pytest.mark.slow
def test_a_disk_that_became_read_only_is_one_sentence(small_disk: Path) -> None:
    store = RunStore(small_disk, "f")
    store.append("ledger", [{"step": 1}])
    store.save(ScriptedBackend(), {"at": 1}, 1)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    calls = {
        "table": lambda: store.append("ledger", [{"step": 2}]),
        "checkpoint": lambda: store.save(ScriptedBackend(), {"at": 2}, 2),
        "run.json": lambda: write_run_id(small_disk, "0", {}),
        "manifest.json": store.seal,
    }
    for call in calls.values():
        with pytest.raises(UserError) as caught, disk_sentences(store.last_good):
            call()
        assert "cannot be written or read (Read-only file system); the last good checkpoint is " in str(caught.value)
        assert str(caught.value).endswith("checkpoint-00000001: mend that, and the same command resumes")


def test_a_file_that_may_grow_no_further_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    """RLIMIT_FSIZE in a process of its own: a limit cannot be taken back."""
    code = f"""
import json, resource, signal, sys
sys.path[:0] = {[str(Path(__file__).parents[1])]!r}
from pathlib import Path
from helpers import ScriptedBackend
from eprli_lab.cli.errors import exit_code
from eprli_lab.training.checkpoint import RunStore
from eprli_lab.training.execute import disk_sentences

store = RunStore(Path({str(tmp_path)!r}), "f")
store.append("ledger", [{{"step": 1, "text": "x" * 1000}}])
store.save(ScriptedBackend(), {{"at": 1}}, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

def work():
    with disk_sentences(store.last_good):
        {{"table": lambda: store.append("ledger", [{{"step": 2, "text": "y" * 5000}}]),
          "state": lambda: store.save(ScriptedBackend(), {{"at": "z" * 5000}}, 2)}}[sys.argv[1]]()

sys.exit(exit_code(work))
"""
    for what in ("table", "state"):
        done = subprocess.run([sys.executable, "-c", code, what], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert "cannot be written or read (File too large); the last good checkpoint is" in done.stderr
        assert RunStore(tmp_path, "f").restore(ScriptedBackend()) == {"at": 1}
        assert [row["step"] for row in RunStore(tmp_path, "f").rows("ledger")] == [1]
        shutil.rmtree(tmp_path)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_command_on_a_full_disk_ends_with_2_and_resumes(tmp_path: Path, small_disk: Path) -> None:
    """Spool, tables and checkpoints on the full disk; the store elsewhere."""
    words = ["preset=smoke", "budget.amount=3000", "checkpoint.every_updates=1", "verify.symbolic=false",
             f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"]  # fmt: skip

    def command() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "eprli_lab.run", *words], cwd=small_disk, capture_output=True, text=True, check=False
        )

    leave(small_disk, 2_300_000)
    first = command()
    assert first.returncode == 2 and "Traceback" not in first.stderr, first.stderr
    assert "No space left on device); the last good checkpoint is " in first.stderr.splitlines()[-1]
    (small_disk / "filler").unlink()
    second = command()
    assert second.returncode == 0, second.stderr
    whole = next(small_disk.glob("outputs/run-*"))
    assert json.loads((whole / "run.json").read_text())["run_id"]
