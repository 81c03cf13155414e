"""How `run_sweep` ends: refused, failed, interrupted, or run once by a script without a guard."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO
from helpers import SMALL
from plans import own_sweep

import eprli_lab
from eprli_lab.errors import Interrupted, UserError
from eprli_lab.sweeping import command
from eprli_lab.sweeping.command import SweepOutcome

OVERRIDES = [*SMALL, "budget.amount=3000"]
ARMS = "    a: {overrides: [curriculum=l1]}\n    b: {overrides: [curriculum=l2]}\n"


def test_how_a_sweep_may_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own_sweep(tmp_path, ARMS)
    outcomes = iter(
        [SweepOutcome(interrupted="interrupted with 1 of 4 runs complete"), SweepOutcome({("b", 1): "bad"})]
    )
    monkeypatch.setattr(command, "run_plan", lambda plan: next(outcomes))
    call = ("mine", *OVERRIDES, "study.seeds=[0,1]")
    with pytest.raises(Interrupted, match="with 1 of 4 runs complete: the same call of run_sweep resumes"):
        eprli_lab.run_sweep(*call)
    sentence = r"1 of 4 runs of mine failed for good \(b seed 1: bad\): load_study\('mine'\) has the others"
    with pytest.raises(UserError, match=sentence):
        eprli_lab.run_sweep(*call)
    monkeypatch.setattr(command, "run_plan", lambda plan: plan)
    for arguments, more, sentence in (
        (["mien"], {}, "sweep=mien: there is no such sweep .did you mean 'mine'"),
        (["mine", "seed=3", "study.seeds=[1]"], {}, "seed=3: the seeds are given twice"),
        (["mine", "hydra/launcher=joblib"], {}, "hydra/launcher=joblib: run_sweep starts its own worker processes"),
        (["mine"], {"workers": 0}, "workers=0: give one or more"),
        (["mine"], {"preset": "smok"}, "preset=smok: there is no such preset .did you mean 'smoke'"),
        (["mine", "backend=openrlhf", "backend.dry_run=true"], {}, "backend.dry_run=true trains nothing"),
    ):
        with pytest.raises(UserError, match=sentence):
            eprli_lab.run_sweep(*arguments, **more)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_script_without_a_guard_runs_a_sweep_once(tmp_path: Path) -> None:
    own_sweep(tmp_path, ARMS)
    script = tmp_path / "plain.py"
    script.write_text(
        "import eprli_lab\nprint('started', flush=True)\n"
        f"study = eprli_lab.run_sweep('mine', *{OVERRIDES!r}, 'study.seeds=[0]', workers=2)\n"
        "print(study, __file__ is not None)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.count("started") == 1 and lines[-1] == "study mine: a, b; 2 of 2 runs finished True"


@pytest.mark.slow
@pytest.mark.exhaustive
def test_an_interrupted_sweep_says_how_to_go_on(tmp_path: Path) -> None:
    """Ctrl-C while runs are under way: they save, and the same call takes them up."""
    own_sweep(tmp_path, ARMS)
    script = tmp_path / "plain.py"
    script.write_text(
        "import os, signal, sys, threading, time\nfrom pathlib import Path\nimport eprli_lab\n"
        "from eprli_lab.errors import Interrupted\n"
        "def interrupt():\n"
        "    while not list(Path('outputs').glob('mine/*/*/ledger.jsonl')):\n        time.sleep(0.05)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "before = signal.getsignal(signal.SIGINT)\n"
        "threading.Thread(target=interrupt, daemon=True).start()\n"
        "try:\n"
        f"    eprli_lab.run_sweep('mine', *{SMALL!r}, 'budget.amount=100000', 'study.seeds=[0]', workers=1)\n"
        "except Interrupted as error:\n"
        "    print(error, signal.getsignal(signal.SIGINT) is before)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    sentence = "interrupted with 0 of 2 runs complete: the same call of run_sweep resumes True"
    assert done.stdout.splitlines()[-1] == sentence
    assert len({p.parents[1] for p in tmp_path.glob("outputs/mine/*/*/checkpoint-*/state.json")}) == 1
