"""The journal of a study: sealed lines, a witness, and Optuna's own readers."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import optuna
import pytest
from sweeping_work import arms, make_plan, one_run_done

from eprli_lab.errors import UserError
from eprli_lab.sweeping import journal as journal_module
from eprli_lab.sweeping.journal import Journal
from eprli_lab.sweeping.status import status
from eprli_lab.sweeping.study import Study

pytestmark = pytest.mark.slow  # one of many

JOURNAL = Path("studies/study.journal")
WITNESS = Path("studies/study.journal.witness")


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def plan() -> Any:
    return make_plan({"arms": arms("a", "b"), "seeds": [0]})


def refused() -> str:
    with pytest.raises(UserError) as caught:
        Study(plan())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def plain() -> Any:
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(JOURNAL)))


def test_every_line_is_sealed_and_optuna_reads_and_writes_the_same_file() -> None:
    one_run_done(plan())
    assert all({"sum", "before"} <= json.loads(line).keys() for line in JOURNAL.read_text().splitlines())
    loaded = optuna.load_study(study_name="study", storage=plain())
    assert loaded.best_value == 0.25 and loaded.best_trial.user_attrs["arm"] == "a"
    loaded.set_user_attr("note", "of another program, e.g. optuna-dashboard")
    study = Study(plan())
    assert study.study.user_attrs["note"].startswith("of another") and len(study.complete()) == 1
    study.close()
    assert "1 of 2 runs complete" in status("study", None)


def test_a_journal_of_an_earlier_version_goes_on() -> None:
    one_run_done(plan())
    lines = [json.loads(line) for line in JOURNAL.read_text().splitlines()]
    for entry in lines:
        del entry["sum"], entry["before"]
    JOURNAL.write_text("".join(f"{json.dumps(entry, separators=(',', ':'))}\n" for entry in lines))
    WITNESS.unlink()
    study = Study(plan())
    assert study.complete()["a", 0]["objective"] == 0.25
    study.close()
    JOURNAL.write_text(JOURNAL.read_text().replace("0.25", "0.75"))  # a line without a checksum: the witness knows it
    assert f"studies/study.journal:{len(lines) + 1}: a line before this one was changed" in refused()


def test_the_damaged_line_is_named_with_the_way_out() -> None:
    one_run_done(plan())
    lines = JOURNAL.read_text().splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if "0.25" in line)
    JOURNAL.write_text("".join([*lines[:place], lines[place].replace("0.25", "0.75"), *lines[place + 1 :]]))
    sentence = refused()
    assert f"studies/study.journal:{place + 1}: the line is damaged" in sentence and "outputs/" in sentence
    JOURNAL.write_text("".join([*lines[:place], *lines[place + 1 :]]))
    assert "studies/study.journal" in refused()
    JOURNAL.write_text("".join([*lines, lines[place]]))
    assert f"studies/study.journal:{len(lines) + 1}: a line before this one was changed, doubled or lost" in refused()


def test_a_cut_at_a_lines_end_is_not_forgotten_and_the_way_out_works() -> None:
    one_run_done(plan())
    lines = JOURNAL.read_text().splitlines(keepends=True)
    JOURNAL.write_text("".join(lines[:-2]))
    sentence = refused()
    assert "studies/study.journal was cut: it held" in sentence and f"remove {WITNESS}" in sentence
    JOURNAL.write_bytes(JOURNAL.read_bytes() + bytes(300))
    assert "was cut" in refused(), "a tail of zeros"
    JOURNAL.unlink()
    assert "studies/study.journal is gone" in refused()
    JOURNAL.write_text("".join(lines[:-2]))
    WITNESS.unlink()
    Study(plan()).close()


def test_a_kill_between_the_line_and_its_witness_loses_nothing() -> None:
    one_run_done(plan())
    before = WITNESS.read_bytes()
    study = Study(plan())
    study.study.set_user_attr("last", 1)
    WITNESS.write_bytes(before)  # the process dies here
    again = Study(plan())
    assert again.study.user_attrs["last"] == 1
    again.close()
    assert WITNESS.read_bytes() != before


def test_a_full_disk_in_the_middle_of_a_line_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    JOURNAL.parent.mkdir()
    journal = Journal(JOURNAL)
    journal.append_logs([{"op_code": 2, "worker_id": "w", "study_id": 0, "user_attr": {"x": 1}}])
    before = JOURNAL.read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(journal_module.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            journal.append_logs([{"op_code": 2, "worker_id": "w", "study_id": 0, "user_attr": {"x": 2}}])
    assert JOURNAL.read_bytes() == before
    journal.append_logs([{"op_code": 2, "worker_id": "w", "study_id": 0, "user_attr": {"x": 3}}])
    assert [e["user_attr"]["x"] for e in Journal(JOURNAL).read_logs(0)] == [1, 3]


def test_a_full_disk_is_waited_for_and_then_named(monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(plan())
    waits: list[float] = []
    fsync = os.fsync
    broken = [True]

    def full(handle: int) -> None:
        if broken[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        broken[0] = len(waits) < 3

    monkeypatch.setattr(journal_module.os, "fsync", full)
    monkeypatch.setattr(study.storage.clock, "sleep", sleep)
    task = study.claim()
    assert task is not None and len(waits) == 3 and len(study.points()) == 1
    broken[0] = True
    monkeypatch.setattr("eprli_lab.sweeping.storage.PATIENCE", 0.0)
    with pytest.raises(
        UserError, match=r"studies/study\.journal cannot be used \(No space left on device\): make room"
    ):
        study.succeed(task, {"score": 0.5}, 1.0)
    assert study.storage.is_lost


@pytest.mark.parametrize("name", ["study.journal", "study.lock", "study.journal.witness"])
def test_something_else_under_a_files_name_is_a_sentence(name: str) -> None:
    (Path("studies") / name).mkdir(parents=True)
    assert f"studies/{name}" in refused()


def test_a_pipe_under_the_journals_name_is_not_waited_for() -> None:
    Path("studies").mkdir()
    os.mkfifo(JOURNAL)
    assert "studies/study.journal is no file" in refused()


def test_a_journal_that_is_taken_away_under_a_running_study() -> None:
    study = Study(plan())
    copy = JOURNAL.with_suffix(".copy")
    copy.write_bytes(JOURNAL.read_bytes())
    JOURNAL.unlink()
    with pytest.raises(UserError, match=r"studies/study\.journal was removed while the study was at work"):
        study.claim()
    copy.rename(JOURNAL)
    with pytest.raises(UserError, match="was replaced"):
        study.claim()


def test_the_working_directory_is_deleted_under_a_running_study(tmp_path: Path) -> None:
    import shutil

    study = Study(plan())
    shutil.rmtree(tmp_path)
    with pytest.raises(UserError, match=r"studies/study\.lock cannot be written \(No such file"):
        study.claim()
    os.chdir("/")


def test_status_of_a_damaged_study_is_the_same_sentence() -> None:
    one_run_done(plan())
    JOURNAL.write_bytes(JOURNAL.read_bytes()[:-1] + b"}\n")
    with pytest.raises(UserError, match=r"study\.journal:\d+: the line is damaged|study\.journal: a line"):
        status("study", None)
