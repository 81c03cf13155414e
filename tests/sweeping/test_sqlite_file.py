"""A study's SQLite file: whose it is, whether it is whole, and what a kill in its first second leaves."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sweeping_work import arms, make_plan, one_run_done

from eprli_lab.errors import UserError
from eprli_lab.sweeping.study import Study

pytestmark = pytest.mark.slow  # one of many

FILE = Path("studies/all.db")
URI = f"sqlite:///{FILE}"


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def plan(uri: str = URI) -> Any:
    return make_plan({"arms": arms("a"), "seeds": [0, 1], "storage": uri})


def refused(uri: str = URI) -> str:
    with pytest.raises(UserError) as caught:
        Study(plan(uri))
    assert "\n" not in str(caught.value) and str(caught.value).startswith("study.storage: ")
    return str(caught.value)


def test_nothing_is_made_beside_a_file_that_is_not_ours() -> None:
    before = sorted(os.listdir("/etc"))
    assert "/etc/passwd is no SQLite database" in refused("sqlite:////etc/passwd")
    assert sorted(os.listdir("/etc")) == before
    assert all("needs a file" in refused(f"sqlite:///{name}") for name in ("", ":memory:"))
    assert "/dev/null is no file" in refused("sqlite:////dev/null")
    Path("other").mkdir()
    assert "other is no file" in refused("sqlite:///other")
    os.mkfifo("other/pipe")
    assert "other/pipe is no file" in refused("sqlite:///other/pipe")
    with sqlite3.connect("other/mail.db") as connection:
        connection.execute("CREATE TABLE letters (text TEXT)")
    connection.close()
    assert "other/mail.db is another application's database (tables letters" in refused("sqlite:///other/mail.db")
    assert sorted(os.listdir("other")) == ["mail.db", "pipe"] and not Path("studies").exists()
    assert "cannot be used" in refused("sqlite:///other/mail.db/x.db")


def test_a_changed_value_a_cut_and_an_older_copy_are_seen() -> None:
    one_run_done(plan())
    older = FILE.read_bytes()
    study = Study(plan())
    study.heartbeat({})
    study.close()
    whole = FILE.read_bytes()
    place = whole.index(b'"score": 0.25')
    FILE.write_bytes(whole[:place] + b'"score": 0.75' + whole[place + 13 :])
    assert "is damaged (not what was written)" in refused()
    FILE.write_bytes(whole[: len(whole) // 2])
    assert "is damaged" in refused()
    FILE.write_bytes(older)
    assert "older than when it was last used" in refused()
    FILE.write_bytes(b"")
    assert "gone or empty" in refused()
    FILE.write_bytes(whole)
    study = Study(plan())
    assert study.complete()["a", 0]["objective"] == 0.25
    study.close()


def test_another_programs_write_and_a_kill_in_mid_step_are_no_damage() -> None:
    one_run_done(plan())
    with sqlite3.connect(FILE) as connection:
        connection.execute("UPDATE study_user_attributes SET value_json = '1' WHERE key = 'epoch'")
    connection.close()
    study = Study(plan())
    with study.storage.exclusive():
        study.study.set_user_attr("x", 1)  # not within a step: its process dies before the witness hears of it
    again = Study(plan())
    assert again.study.user_attrs["x"] == 1 and len(again.complete()) == 1


class Killed(BaseException):
    pass


def test_tables_that_a_kill_left_half_made_are_completed() -> None:
    """Killed before the k-th statement of the first start, for every few k."""
    import sqlalchemy
    from sqlalchemy import event

    k = 0
    while True:
        shutil.rmtree("studies", ignore_errors=True)
        count = [0]

        def kill(*_: Any, count: list[int] = count, k: int = k) -> None:
            count[0] += 1
            if count[0] > k:
                raise Killed

        event.listen(sqlalchemy.engine.Engine, "before_cursor_execute", kill)
        try:
            Study(plan()).close()
            break
        except Killed:
            pass
        finally:
            event.remove(sqlalchemy.engine.Engine, "before_cursor_execute", kill)
        study = Study(plan())
        task = study.claim()
        assert task is not None and task.run.key == ("a", 0), k
        study.close()
        k += 17
    assert k > 50


@pytest.mark.parametrize(("revision", "word"), [("v2.6.0.a_", "storage upgrade"), ("v99.0.0.a", "use that version")])
def test_another_versions_schema_is_a_sentence(revision: str, word: str) -> None:
    one_run_done(plan())
    with sqlite3.connect(FILE) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.execute("UPDATE version_info SET library_version = '2.0.0'")
    connection.close()
    assert "studies/all.db was made by another version of Optuna (set up by optuna 2.0.0)" in refused()
    assert word in refused()


def test_who_holds_the_database_for_too_long_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    one_run_done(plan())
    monkeypatch.setattr("eprli_lab.sweeping.storage.LOCK_PATIENCE", 0.1)
    with open(f"{FILE}.witness") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"studies/all\.db\.witness has been held by another process for 0 s"):
            Study(plan())
