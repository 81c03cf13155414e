"""Checkpoints that know themselves: kills at every step of a save, the older one, older versions, full disks."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import ScriptedBackend
from loops import Killed, run, tables, trainer
from saved_runs import older_version, scripted, separate_levels

from eprli_lab.backends import manifest
from eprli_lab.errors import UserError
from eprli_lab.training.checkpoint import RunStore

CHANGES = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")


class Killer:
    """Kills at the n-th change to the files below a directory, and refuses all that comes after: nobody tidies up."""

    def __init__(self) -> None:
        self.root: str | None = None
        self.at: int | None = None
        self.count = 0
        sys.addaudithook(self._hear)  # for good: without a root it hears nothing

    def _hear(self, event: str, arguments: tuple) -> None:
        if self.root is None or event not in CHANGES or not str(arguments[0]).startswith(self.root):
            return
        if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            return
        self.count += 1
        if self.at is not None and self.count >= self.at:
            raise Killed


KILLER = Killer()


@pytest.fixture
def killer() -> Iterator[Killer]:
    yield KILLER
    KILLER.root = None


def torn(where: Path, kind: str) -> None:
    """What a power cut makes of the file that was written last, outside of a whole checkpoint."""
    files = [p for p in where.rglob("*") if p.is_file() and "checkpoint-" not in str(p.relative_to(where).parent)]
    files = [p for p in files if not (p.parent / manifest.NAME).exists() and p.suffix == ".jsonl"]
    if files and kind != "whole":
        last = max(files, key=lambda p: p.stat().st_mtime_ns)
        data = last.read_bytes()
        last.write_bytes(data[:-7] if kind == "cut" else data + bytes(64))


@pytest.mark.exhaustive
@pytest.mark.slow
def test_killed_at_any_change_of_any_file_the_run_goes_on_to_the_same_numbers(tmp_path: Path, killer: Killer) -> None:
    run(separate_levels(), tmp_path / "whole", scripted())
    whole = tables(tmp_path / "whole")
    killer.root, killer.at, killer.count = str(tmp_path / "counted"), None, 0
    run(separate_levels(), tmp_path / "counted", scripted())
    killer.root, changes = None, killer.count
    assert changes > 150
    _kill_at(range(1, changes + 1, 7), tmp_path, killer, whole)


@pytest.mark.slow
def test_killed_while_it_saves_at_a_boundary_the_run_goes_on_to_the_same_numbers(
    tmp_path: Path, killer: Killer
) -> None:
    """The change of levels keeps a network, saves, and removes the oldest checkpoint."""
    run(separate_levels(), tmp_path / "whole", scripted())
    whole = tables(tmp_path / "whole")
    made = trainer(separate_levels(), tmp_path / "counted", scripted())
    marks: list[int] = []
    made.log = lambda values, step: marks.append(killer.count)
    killer.root, killer.at, killer.count = str(tmp_path / "counted"), None, 0
    made.run()
    killer.root = None
    steps = [b - a for a, b in zip(marks, marks[1:], strict=False)]
    longest = steps.index(max(steps))  # between two logs: the most changes are made at the boundary
    _kill_at(range(marks[longest] + 1, marks[longest + 1] + 1, 15), tmp_path, killer, whole)


def test_killed_at_every_change_of_a_save_and_of_the_start_after_it(tmp_path: Path, killer: Killer) -> None:
    """Also where the same step's checkpoint is there already, from the run that was resumed."""
    for again in (3, 2):
        n = 0
        while True:
            n += 1
            where = tmp_path / f"{again}-{n}"
            store = RunStore(where, "f")
            states = {}
            for step in (0, 1, 2):
                store.append("ledger", [{"step": step}])
                store.save(ScriptedBackend(), {"at": step}, step)
                states[step] = (store.rows("ledger"), {"at": step})
            store.append("ledger", [{"step": 3}])
            states[3] = (store.rows("ledger"), {"at": 3})
            killer.root, killer.at, killer.count = str(where), n, 0
            try:
                store.save(ScriptedBackend(), {"at": 3}, again)
                ended = True
            except Killed:
                ended = False
            for m in (1 + n % 5, None):  # and the first start after it is killed as well
                killer.root, killer.at, killer.count = str(where), m, 0
                try:
                    store = RunStore(where, "f")
                    state = store.restore(ScriptedBackend())
                except Killed:
                    continue
            killer.root = None
            assert state == {"at": 3} or (state == {"at": 2} and not ended)
            assert (store.rows("ledger"), state) in states.values()
            assert all(p.name.startswith(("checkpoint-", "ledger")) for p in where.iterdir())
            if ended:
                break
        assert n > 8


def _kill_at(places: range, tmp_path: Path, killer: Killer, whole: dict[str, bytes]) -> None:
    for number, at in enumerate(places):
        where = tmp_path / "killed"
        shutil.rmtree(where, ignore_errors=True)
        killer.root, killer.at, killer.count = str(where), at, 0
        with pytest.raises(Killed):
            run(separate_levels(), where, scripted())
        killer.root = None
        torn(where, ("whole", "cut", "zeros")[number % 3])
        run(separate_levels(), where, scripted())
        assert tables(where) == whole, f"killed at change {at}"
        left = {p.name.split("-")[0] for p in where.iterdir()}
        assert left == {"checkpoint", "policies", "ledger.jsonl", "outcomes.jsonl", "samples.jsonl"}, left
        assert len(RunStore(where, "").checkpoints()) == 2


def saved(where: Path, steps: int = 3, keep: int = 2) -> RunStore:
    """Checkpoints of steps 1 to `steps`, and a row of the ledger before each."""
    store = RunStore(where, "f", keep)
    for step in range(1, steps + 1):
        store.append("ledger", [{"step": step, "text": "x" * 50}])
        store.save(ScriptedBackend(), {"at": step}, step)
    return store


@pytest.mark.parametrize("keep", [1, 2, 3, 6])
def test_the_newest_checkpoints_are_kept(tmp_path: Path, keep: int) -> None:
    store = saved(tmp_path, 4, keep)
    assert [p.name[-1] for p in store.checkpoints()] == ["1", "2", "3", "4"][-keep:]


def test_the_older_one_is_taken_where_the_newest_is_damaged_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved(tmp_path)
    (tmp_path / "checkpoint-00000003" / "scripted.json").write_text('{"updates": 7}')
    store = RunStore(tmp_path, "f")
    with caplog.at_level(logging.WARNING):
        assert store.restore(ScriptedBackend()) == {"at": 2}
    assert [r.getMessage() for r in caplog.records] == [
        f"{tmp_path}/checkpoint-00000003/scripted.json has 14 bytes, 14 were written: the run goes on from the older "
        f"{tmp_path}/checkpoint-00000002".replace("has 14 bytes, 14 were written", "is not what was written")
    ]
    assert [row["step"] for row in store.rows("ledger")] == [1, 2]
    assert {p.name for p in tmp_path.iterdir()} >= {"damaged-00000003", "checkpoint-00000002"}
    store.append("ledger", [{"step": 3}])
    store.save(ScriptedBackend(), {"at": 3}, 3)
    assert [p.name for p in store.checkpoints()] == ["checkpoint-00000002", "checkpoint-00000003"]
    assert not (tmp_path / "damaged-00000003").exists()


@pytest.mark.parametrize("what", ["state.json", "manifest.json", "scripted.json"])
def test_where_none_is_good_the_run_is_refused_by_name(tmp_path: Path, what: str) -> None:
    saved(tmp_path)
    for checkpoint in tmp_path.glob("checkpoint-*"):
        (checkpoint / what).unlink()
    with pytest.raises(UserError, match=rf"checkpoint-00000003/{what} is missing, so the run cannot go on, and no other "
                                        rf"checkpoint is good: remove {tmp_path} to begin it anew"):  # fmt: skip
        RunStore(tmp_path, "f").restore(ScriptedBackend())


def test_a_row_that_differs_is_refused_and_rows_after_the_checkpoint_are_made_again(tmp_path: Path) -> None:
    saved(tmp_path)
    ledger = tmp_path / "ledger.jsonl"
    whole = ledger.read_bytes()
    ledger.write_bytes(whole + b'{"step": 4, "te\0\0\0')
    assert RunStore(tmp_path, "f").restore(ScriptedBackend()) == {"at": 3} and ledger.read_bytes() == whole
    ledger.write_bytes(whole.replace(b'"step": 1', b'"step": 7'))
    with pytest.raises(UserError, match=r"ledger\.jsonl is not what was written, so the run cannot go on"):
        RunStore(tmp_path, "f").restore(ScriptedBackend())
    ledger.write_bytes(whole.replace(b'"step": 3', b'"step": 7'))
    assert RunStore(tmp_path, "f").restore(ScriptedBackend()) == {"at": 2}, "its row was good"
    store = saved(tmp_path / "changed")
    (tmp_path / "changed" / "ledger.jsonl").write_bytes(whole.replace(b'"step": 1', b'"step": 7'))
    with pytest.raises(UserError, match=r"ledger\.jsonl was changed while the run was under way: the same command"):
        store.tables.check()  # before it becomes an artifact


def test_a_checkpoint_of_an_older_version_is_taken_when_it_is_whole(tmp_path: Path) -> None:
    for fault in ("", "cut", "empty", "list", "other", "size", "table"):
        where = tmp_path / (fault or "good")
        saved(where, keep=1)
        state = older_version(where) / "state.json"
        content = json.loads(state.read_text())
        if fault == "cut":
            state.write_text(state.read_text()[:-9])
        elif fault == "empty":
            state.write_text("")
        elif fault in ("list", "other", "size"):
            changed = {"list": [1], "other": content | {"state": "x"}, "size": content | {"tables": {"ledger": -1}}}
            state.write_text(json.dumps(changed[fault]))
        elif fault == "table":
            os.truncate(where / "ledger.jsonl", 100)
        if fault:
            with pytest.raises(UserError, match="so the run cannot go on, and no other checkpoint is good"):
                RunStore(where, "f").restore(ScriptedBackend())
        else:
            store = RunStore(where, "f")
            assert store.restore(ScriptedBackend()) == {"at": 3}
            store.save(ScriptedBackend(), {"at": 4}, 4)
            assert store.find() is not None


def test_a_save_reads_no_table_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = saved(tmp_path)
    read = []
    monkeypatch.setattr(type(store.tables), "_read", lambda self, table, size: read.append(table))
    store.append("ledger", [{"step": 9}])
    store.save(ScriptedBackend(), {"at": 9}, 9)
    assert read == []
    monkeypatch.undo()
    assert RunStore(tmp_path, "f").restore(ScriptedBackend()) == {"at": 9}


def test_a_kept_network_is_verified_and_the_initial_one_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = tmp_path / "whole"
    made = trainer(separate_levels(), whole, scripted())
    made.run()
    for name, damage in (("level-l1", '{"updates": 99}'), ("initial", '{"updates": 3}')):
        where = tmp_path / name
        shutil.copytree(whole, where)
        (where / "policies" / name / "scripted.json").write_text(damage)
        store = RunStore(where, separate_levels().fingerprint())
        with pytest.raises(UserError, match=rf"policies/{name}/scripted\.json (has|is not what)"):
            store.find()
        again = trainer(separate_levels(), where, scripted())
        again.store.remake = {"initial": again.begin}
        with caplog.at_level(logging.WARNING), contextlib.suppress(UserError):
            again.run()
            assert tables(where) == tables(whole) and name == "initial"
    assert "policies/initial/scripted.json is not what was written: it was made again" in caplog.text


def test_tables_of_an_ended_run_are_compared_before_they_are_read(tmp_path: Path) -> None:
    store = saved(tmp_path)
    store.seal()
    rows = RunStore(tmp_path, "").rows("ledger")
    assert [row["step"] for row in rows] == [1, 2, 3] and RunStore(tmp_path, "").rows("outcomes") == []
    ledger = tmp_path / "ledger.jsonl"
    whole = ledger.read_bytes()
    ledger.write_bytes(whole.replace(b'"step": 1', b'"step": 7'))
    with pytest.raises(UserError, match=r"ledger\.jsonl is not what was written: eprli-lab verify .* says more"):
        RunStore(tmp_path, "").rows("ledger")
    (tmp_path / manifest.NAME).unlink()  # of an older version: at least every line is one
    ledger.write_bytes(whole[:-5])
    with pytest.raises(UserError, match=r"ledger\.jsonl:3: the line is damaged"):
        RunStore(tmp_path, "").rows("ledger")
    ledger.write_bytes(whole)
    assert RunStore(tmp_path, "f").restore(ScriptedBackend()) == {"at": 3}
