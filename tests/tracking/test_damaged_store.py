"""Damages to mlflow.db: the numbers that were logged, one sentence with the way out, or a difference that is found."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from damage import REFUSED, SILENT, TRACEBACK, UNDISTURBED, classify, damage, seeds
from helpers import small_spec

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.tracking.birth import StoreError, check_store
from eprli_lab.tracking.compare import compare, same_run
from eprli_lab.tracking.read import read_histories, read_runs
from eprli_lab.tracking.run import RunTracker
from eprli_lab.tracking.spool import NAME, Spool
from eprli_lab.tracking.store import prepare

pytestmark = pytest.mark.slow  # stores are made, which takes a second each
FOUND = "found"  # the comparison with the spool sees that the store is not what was logged, and sends the run again


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three finished runs with their spools, no log beside it."""
    directory = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        assert prepare(TrackingSpec())
        base = small_spec()
        for arm in ("a", "b", "c"):
            spec = base.model_copy(update={"study": "s", "arm": arm})
            tracker = RunTracker(spec, parent_run_id=None, run_id=None, run_dir=directory / arm)
            for step in range(1, 200):
                tracker.log({f"metric/{i}": step / 7 + i for i in range(8)} | {"score": step / 3}, step)
            tracker.finish("FINISHED", None)
        with sqlite3.connect("mlflow.db") as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        shutil.copy("mlflow.db", "whole.db")
    return directory


def look(directory: Path, spools: dict[str, Spool]) -> str:
    """What a start and a table see of the store: FOUND, or the points that a table would be made of."""
    where = TrackingSpec(uri=f"sqlite:///{directory}/mlflow.db")
    check_store(directory / "mlflow.db")
    runs = read_runs(where, "s")
    chosen = {arm: same_run(runs, spool) for arm, spool in spools.items()}
    if any(run is None or compare(where, run, spools[arm]) != "same" for arm, run in chosen.items()):
        return FOUND
    ids = [run.run_id for run in chosen.values() if run is not None]
    return repr([(key, list(steps), list(values)) for _, key, steps, values in read_histories(where, ids)])


def test_200_random_damages_change_no_number_unseen(study: Path, tmp_path: Path) -> None:
    spools = {arm: Spool.read(study / arm / NAME) for arm in ("a", "b", "c")}
    shutil.copy(study / "whole.db", tmp_path / "mlflow.db")
    good = look(tmp_path, spools)
    assert good != FOUND
    outcomes: Counter[str] = Counter()
    for seed in seeds(200):
        for name in ("mlflow.db-wal", "mlflow.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        shutil.copy(study / "whole.db", tmp_path / "mlflow.db")
        _, kind = damage(tmp_path, random.Random(seed), only=lambda path: path.name == "mlflow.db")
        outcome, words = classify(lambda: look(tmp_path, spools), lambda seen: seen in (good, FOUND))
        outcomes[outcome] += 1
        assert outcome in (UNDISTURBED, REFUSED), (seed, kind, outcome, words)
        if (tmp_path / "mlflow.db").is_dir():
            (tmp_path / "mlflow.db").rmdir()
    assert outcomes[REFUSED] > 80 and outcomes[UNDISTURBED] > 20, outcomes
    assert not outcomes[TRACEBACK] + outcomes[SILENT]


@pytest.mark.parametrize("kind", ["not a database", "cut", "a page"])
def test_a_damaged_store_is_one_sentence_with_the_way_out_before_anything_runs(
    study: Path, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "mlflow.db"
    data = bytearray((study / "whole.db").read_bytes())
    if kind == "not a database":
        data[:100] = b"x" * 100
    elif kind == "cut":
        data = data[: len(data) // 2]
    else:
        data[4096 * 20 : 4096 * 21] = b"\xff" * 4096
    file.write_bytes(data)
    with pytest.raises(StoreError, match=r"is damaged \(.*\): move it away \(mv mlflow.db mlflow.db.damaged") as error:
        prepare(TrackingSpec(uri=f"sqlite:///{file}"))
    assert "the next start restores the runs from outputs/" in str(error.value) and "\n" not in str(error.value)
    assert file.read_bytes() == data


def test_a_column_of_another_type_is_no_traceback(study: Path, tmp_path: Path) -> None:
    shutil.copy(study / "whole.db", tmp_path / "mlflow.db")
    with sqlite3.connect(tmp_path / "mlflow.db") as db:
        db.execute("UPDATE runs SET start_time = NULL")
    db.close()
    with pytest.raises(UserError, match="is damaged"):
        read_runs(TrackingSpec(uri=f"sqlite:///{tmp_path}/mlflow.db"), "s")
