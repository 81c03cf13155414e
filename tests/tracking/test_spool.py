"""The spool: what a kill, a full disk and a damage make of it. It gives the numbers that were logged, or a sentence."""

from __future__ import annotations

import json
import multiprocessing as mp
import os
import random
import resource
import signal
from collections import Counter
from pathlib import Path

import pytest
from damage import REFUSED, SILENT, TRACEBACK, UNDISTURBED, classify, damage, seeds
from helpers import small_spec

from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError
from eprli_lab.tracking.run import RunTracker
from eprli_lab.tracking.spool import NAME, Spool, SpoolWriter


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> RunSpec:
    """A run whose store is never there, so that everything is in its spool."""
    spec = small_spec("tracking.flush_seconds=1000")
    where = f"sqlite:///{tmp_path_factory.mktemp('away')}/missing/mlflow.db"
    return spec.model_copy(
        update={"tracking": spec.tracking.model_copy(update={"uri": where}), "arm": "a", "study": "s"}
    )


@pytest.fixture(scope="module")
def finished(nowhere: RunSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run of 30 steps."""
    directory = tmp_path_factory.mktemp("run")
    tracker = RunTracker(nowhere, parent_run_id=None, run_id=None, run_dir=directory)
    (directory / "note.txt").write_text("x")
    for step in range(30):
        tracker.log({"score": step / 7, "policy/l1/loss": -step / 3}, step)
    tracker.artifact(directory / "note.txt", "")
    tracker.finish("FINISHED", None)
    return directory


def content(path: Path) -> str:
    spool = Spool.read(path)
    return repr((spool.header, spool.run_id, sorted(spool.points.items()), list(spool.artifacts), spool.end))


def prefixes(path: Path) -> set[str]:
    """What a run that was killed at some moment leaves: the first lines, whole."""
    lines = path.read_bytes().splitlines(keepends=True)
    other = path.with_name("prefix.jsonl")
    out = set()
    for count in range(len(lines) + 1):
        other.write_bytes(b"".join(lines[:count]))
        out.add(content(other))
    return out


def test_what_was_logged_is_what_is_read_and_written_again(finished: Path, tmp_path: Path) -> None:
    spool = Spool.read(finished / NAME)
    assert spool.points["score", 29][0] == 29 / 7 and len(spool.points) == 60
    assert spool.end == ("FINISHED", None)
    assert list(spool.artifacts) == [(str(finished / "note.txt"), "")]
    before = content(finished / NAME)
    copy = Spool.read(finished / NAME)
    copy.path = finished / "copy.jsonl"
    copy.rewrite()
    assert content(copy.path) == before


@pytest.mark.slow
def test_500_random_damages_change_no_number_unseen(finished: Path, tmp_path: Path) -> None:
    whole = (finished / NAME).read_bytes()
    good = prefixes(finished / NAME)
    target = tmp_path / NAME
    (tmp_path / "note.txt").write_text("x")
    outcomes: Counter[str] = Counter()
    for seed in seeds(500):
        target.write_bytes(whole)
        only = lambda p: p.name == NAME
        _, kind = damage(tmp_path, random.Random(seed), only=only)
        accept = lambda text: text.replace(str(tmp_path), str(finished)) in good
        outcome, words = classify(lambda: content(target), accept)
        outcomes[outcome] += 1
        assert outcome in (UNDISTURBED, REFUSED), (seed, kind, outcome, words)
        if outcome == REFUSED:
            assert f"{target}:" in words and "is damaged" in words
        if target.is_dir():
            target.rmdir()
    assert outcomes[REFUSED] > 200 and outcomes[UNDISTURBED] > 50, outcomes
    assert not outcomes[TRACEBACK] + outcomes[SILENT]


def test_a_changed_a_lost_and_a_doubled_line_are_named(finished: Path, tmp_path: Path) -> None:
    lines = (finished / NAME).read_bytes().splitlines(keepends=True)
    target = tmp_path / NAME
    for number, damaged in (
        (12, [*lines[:11], lines[11].replace(b'"step": 9', b'"step": 8'), *lines[12:]]),
        (8, [*lines[:7], *lines[8:]]),
        (6, [*lines[:5], lines[4], *lines[5:]]),
        (3, [*lines[:2], b'{"metrics": {"score": 9.0}, "step": 1, "at": 5}\n', *lines[2:]]),  # without its checksum
    ):
        target.write_bytes(b"".join(damaged))
        with pytest.raises(UserError, match=f"{NAME}:{number}: the line is damaged, so that its numbers are not used"):
            Spool.read(target)


def test_a_damaged_spool_is_refused_by_the_run_that_goes_on(nowhere: RunSpec, finished: Path, tmp_path: Path) -> None:
    whole = bytearray((finished / NAME).read_bytes())
    whole[len(whole) // 2] ^= 1
    (tmp_path / NAME).write_bytes(whole)
    with pytest.raises(
        UserError, match=f"the line is damaged.*remove {tmp_path}, and the same command makes the run again"
    ):
        RunTracker(nowhere, parent_run_id=None, run_id=None, run_dir=tmp_path, resume_step=20)
    assert (tmp_path / NAME).read_bytes() == whole, "it is there to be looked at"


def test_lines_of_an_earlier_version_are_read_and_sealed_when_the_run_goes_on(nowhere: RunSpec, tmp_path: Path) -> None:
    header = {"token": "t", "name": "n", "tags": {}, "params": {}, "tracking": nowhere.tracking.model_dump()}
    old = [{"run": header}, {"id": None}, *({"metrics": {"score": s / 2}, "step": s, "at": s} for s in range(5))]
    (tmp_path / NAME).write_text("".join(json.dumps(line) + "\n" for line in old) + '{"metrics": {"sc')
    assert {step: value for (_, step), (value, _) in Spool.read(tmp_path / NAME).points.items()} == {
        s: s / 2 for s in range(5)
    }
    tracker = RunTracker(nowhere, parent_run_id=None, run_id=None, run_dir=tmp_path, resume_step=3)
    tracker.finish("FINISHED", None)
    text = (tmp_path / NAME).read_text()
    assert all('"sum": "' in line and '"n": ' in line for line in text.splitlines())
    assert sorted(Spool.read(tmp_path / NAME).points) == [("score", s) for s in range(4)]


def test_a_line_that_a_full_disk_did_not_take_whole_is_taken_back(nowhere: RunSpec, tmp_path: Path) -> None:
    """In a process whose files may not grow beyond a size: the write is refused, and the spool stays readable."""

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        tracker = RunTracker(nowhere, parent_run_id=None, run_id=None, run_dir=tmp_path)
        size = (tmp_path / NAME).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1000, resource.RLIM_INFINITY))
        try:
            for step in range(100):
                tracker.log({"score": step / 7}, step)
        except UserError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            tracker.log({"later": 1.0}, 100)  # space was freed
            os._exit(7 if "free some space there; the same command goes on" in str(error) else 1)
        os._exit(2)

    child = mp.get_context("fork").Process(target=limited)
    child.start()
    child.join(60)
    assert child.exitcode == 7
    spool = Spool.read(tmp_path / NAME)
    kept = [step for key, step in spool.points if key == "score"]
    assert kept == list(range(len(kept))) and kept and ("later", 100) in spool.points


def test_a_folder_that_was_moved_takes_its_files_along(finished: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in (NAME, "note.txt"):
        (moved / name).write_bytes((finished / name).read_bytes())
    assert list(Spool.read(moved / NAME).artifacts) == [(str(moved / "note.txt"), "")]
    writer = SpoolWriter(moved / NAME)
    writer.write({"artifact": str(finished / "note.txt"), "folder": "old"})  # as earlier versions wrote them
    writer.close()
    assert (str(moved / "note.txt"), "old") in Spool.read(moved / NAME).artifacts
