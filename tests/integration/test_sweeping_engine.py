"""The engine with real worker processes: killed, failing, interrupted, changed, doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from conftest import REPO
from executors import score_of
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from plans import plan_of

from eprli_lab.errors import UserError
from eprli_lab.sweeping.controller import run_study
from eprli_lab.sweeping.study import Study

WORK = "executors:work"


pytestmark = pytest.mark.slow  # real processes


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{REPO}:{REPO / 'tests'}")
    monkeypatch.syspath_prepend(str(REPO / "tests"))
    return tmp_path


def run(*arguments: str, trouble: dict | None = None):
    Path("plan.json").write_text(json.dumps(trouble or {}))
    plan = plan_of("sweep=levels", "study.seeds=[0,1]", *arguments)
    study = Study(plan)
    try:
        return plan, run_study(plan, study, executor=WORK, parent_run_id=None)
    finally:
        study.close()


def completed(name: str = "levels") -> Counter:
    storage = JournalStorage(JournalFileBackend(f"studies/{name}.journal"))
    study = optuna.load_study(study_name=name, storage=storage)
    return Counter((t.user_attrs["arm"], t.user_attrs["seed"]) for t in study.trials if t.state.name == "COMPLETE")


def test_every_arm_and_seed_once_and_a_waiting_arm_gets_its_value(here):
    plan, result = run("study.workers=2")
    assert not result.failed and not result.interrupted
    assert completed() == {r.key: 1 for r in plan.runs}
    for r in plan.runs:
        assert result.complete[r.key]["objective"] == pytest.approx(score_of(r.spec.model_dump()))
    # l1_matched's budget is the last progress/updates of l4 at the same seed: 5 + seed
    assert [result.complete["l1_matched", s]["metrics"]["amount"] for s in (0, 1)] == [5.0, 6.0]
    started = time.monotonic()
    run("study.workers=2")  # again: nothing is left to do
    assert completed() == {r.key: 1 for r in plan.runs}
    assert time.monotonic() - started < 5
    assert {p.read_text() for p in Path("outputs").rglob("starts")} == {"x"}


def test_a_failed_run_is_retried_once_and_the_others_go_on(here, capsys):
    trouble = {"l2/0": "fail", "l3/1": "fail once", "l1/1": "kill once", "l4/0": "crash"}
    plan, result = run("study.workers=2", trouble=trouble)
    assert result.failed["l2", 0] == "this arm cannot work"
    assert result.failed["l4", 0].startswith("RuntimeError: a bug (see outputs")
    assert result.failed["l1_matched", 0] == "waits for l4 seed 0, which failed"
    assert set(completed()) == {r.key for r in plan.runs} - set(result.failed)
    assert set(completed().values()) == {1}
    starts = {
        k: Path(f"outputs/levels/{k}/starts").read_text() for k in ("l2/seed0", "l3/seed1", "l1/seed1", "l2/seed1")
    }
    assert starts == {"l2/seed0": "xx", "l3/seed1": "xx", "l1/seed1": "xx", "l2/seed1": "x"}
    out = capsys.readouterr().out
    assert "l1 seed 1: the worker died with signal 9; it goes on from its last checkpoint" in out
    assert "l2 seed 0: failed: this arm cannot work" in out
    assert "Traceback" in Path("outputs/levels/l4/seed0/log.txt").read_text()
    assert not run("study.workers=2")[1].failed  # what failed is taken up again by the next command
    assert set(completed().values()) == {1}


def test_a_changed_config_is_refused_with_the_difference(here):
    run("study.only=[l2]")
    with pytest.raises(UserError) as error:
        run("study.only=[l2]", "curriculum.levels.l2.clip.high=0.2718")
    assert "curriculum.levels.l2.clip.high: 0.28 -> 0.2718" in str(error.value)
    assert "study.name=" in str(error.value)
    plan, _ = run("study.only=[l2,l3]", "study.seeds=[0,1,2]")  # more arms and seeds of the same study are fine
    assert completed() == {r.key: 1 for r in plan.runs}
    assert len(plan.runs) == 9


def controller_code(*arguments: str) -> list[str]:
    code = (
        "import sys; from plans import plan_of; from eprli_lab.sweeping.study import Study;"
        "from eprli_lab.sweeping.controller import run_study;"
        f"plan = plan_of('sweep=levels', 'study.seeds=[0,1]', *{list(arguments)!r});"
        f"r = run_study(plan, Study(plan), executor={WORK!r}, parent_run_id=None);"
        "sys.exit(130 if r.interrupted else 0)"
    )
    return [sys.executable, "-c", f"if __name__ == '__main__':\n    {code}"]


def wait_for(path: Path, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_or_interrupted_controller_goes_on_where_it_was(here, how):
    Path("plan.json").write_text(json.dumps({"l2/0": "slow", "l3/0": "slow"}))
    first = subprocess.Popen(controller_code("study.workers=2"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for(Path("outputs/levels/l2/seed0/position"))
    os.kill(first.pid, how)
    first.communicate(timeout=60)
    assert first.returncode == (130 if how == signal.SIGINT else -9)
    done = completed()
    assert 0 < len(done) < 10
    deadline = time.monotonic() + 30  # workers of a killed controller save and leave
    while any(str(here) in line for line in workers_alive()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(str(here) in line for line in workers_alive())
    position = int(Path("outputs/levels/l2/seed0/position").read_text())
    plan, _ = run("study.workers=2")
    assert completed() == {r.key: 1 for r in plan.runs}
    assert 0 < position < 10  # it was taken up from there
    assert Path("outputs/levels/l2/seed0/starts").read_text() == "xx"


def workers_alive() -> list[str]:
    """Working directories of this user's multiprocessing workers."""
    out = []
    for p in Path("/proc").glob("[0-9]*"):
        try:
            if b"spawn_main" in (p / "cmdline").read_bytes():
                out.append(os.readlink(p / "cwd"))
        except OSError:
            continue
    return out
