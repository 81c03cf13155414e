"""`train`: the run of the command line, in this process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import REPO
from helpers import SMALL

import eprli_lab
from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import Interrupted, UserError
from eprli_lab.tracking.read import read_histories
from eprli_lab.tracking.store import mlflow_client
from eprli_lab.tracking.uri import resolve_uri
from eprli_lab.training.single import has_checkpoint

pytestmark = pytest.mark.slow  # real stores and figures

OVERRIDES = [*SMALL, "budget.amount=3000", "checkpoint.every_updates=1"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A working directory with one trained run in it."""
    directory = tmp_path_factory.mktemp("runs")
    before = Path.cwd()
    os.chdir(directory)
    heard = []
    result = eprli_lab.train(eprli_lab.compose(OVERRIDES), on_progress=heard.append)
    yield directory, result, heard
    os.chdir(before)


def test_a_run_ends_with_its_numbers(workspace) -> None:
    directory, result, heard = workspace
    spec = eprli_lab.compose(OVERRIDES)
    assert result.directory == directory / "outputs" / f"run-{spec.fingerprint()}" and result.spec == spec
    assert result.checkpoint.parent.parent == result.directory and any(result.checkpoint.iterdir())
    assert list(result.suites) == ["heldout_easy", "heldout_medium", "heldout_hard"]
    assert result.score == pytest.approx(sum(s.final for s in result.suites.values()) / 3)
    spent = result.metrics["progress/tokens"]  # it ends where no further round of problems can be paid for
    assert spent > 2700 and result.metrics["progress/updates"] > 0
    fractions = [h["fraction"] for h in heard if "fraction" in h]
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(min(1.0, spent / 3000))
    assert [h["value"] for h in heard if "point" in h][-1] == result.score
    assert str(result).splitlines()[0] == f"run {result.directory.name}: score {result.score:.3f}"
    assert str(result).splitlines()[1] in result._repr_html_().replace("&gt;", ">")


def test_its_frames_are_its_files(workspace) -> None:
    _, result, _ = workspace
    for name, frame in (("outcomes", result.outcomes), ("ledger", result.ledger)):
        lines = (result.directory / f"{name}.jsonl").read_text().splitlines()
        assert len(frame) == len(lines) > 0 and frame.columns.tolist() == list(json.loads(lines[0]))
    final = result.outcomes[result.outcomes.stage == "final"]
    means = (final.correct / final.samples).groupby(final.suite).mean()
    assert {suite: pair.final for suite, pair in result.suites.items()} == pytest.approx(means.to_dict())
    assert result.accuracies.set_index("suite").final.to_dict() == pytest.approx(means.to_dict())
    assert result.outcomes is result.outcomes


def test_it_is_logged_as_it_says(workspace) -> None:
    _, result, _ = workspace
    run = mlflow_client(resolve_uri(TrackingSpec().uri)).get_run(result.run_id)
    assert run.info.status == "FINISHED" and run.data.params["seed"] == "0"
    logged = {metric: values[-1] for _, metric, _, values in read_histories(TrackingSpec(), [result.run_id])}
    assert {k: logged[k] for k in ("score", "progress/tokens", "progress/updates")} == {
        k: result.metrics[k] for k in ("score", "progress/tokens", "progress/updates")
    }


def test_again_it_takes_a_number_and_has_the_same_numbers(workspace) -> None:
    """Interrupted on its way, also: what Ctrl-C saved is taken up by the same call."""
    _, result, _ = workspace
    spec = eprli_lab.compose(OVERRIDES)
    before = signal.getsignal(signal.SIGINT)

    def interrupt(state: dict[str, float]) -> None:
        if state.get("fraction", 0.0) > 0.3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match=r"state saved in .*-2; train\(spec, directory='.*-2'\) resumes"):
        eprli_lab.train(spec, on_progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    second = result.directory.with_name(f"{result.directory.name}-2")
    assert has_checkpoint(second)
    with pytest.raises(UserError, match="holds a run under way: resume it, give another one, or remove it"):
        eprli_lab.train(spec, directory=second, resume=False)
    again = eprli_lab.train(spec)
    assert again.directory == second and again.score == result.score and again.suites == result.suites
    assert again.ledger.equals(result.ledger) and again.outcomes.equals(result.outcomes)


def test_a_second_interrupt_does_not_wait(workspace) -> None:
    def interrupt(_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        eprli_lab.train(eprli_lab.compose([*OVERRIDES, "seed=3"]), on_progress=interrupt)


@pytest.mark.slow
def test_an_empty_run_json_and_a_damaged_checkpoint_change_nothing(workspace, capfd, caplog) -> None:
    spec = eprli_lab.compose([*OVERRIDES, "seed=4", "curriculum.weights=separate"])
    whole = eprli_lab.train(spec, directory="undisturbed")
    place = Path("damaged")

    def interrupt(state: dict[str, float]) -> None:
        if state.get("fraction", 0.0) > 0.3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        eprli_lab.train(spec, directory=place, on_progress=interrupt)
    known = json.loads((place / "run.json").read_text())["run_id"]
    older, newest = sorted(place.glob("checkpoint-*"))
    (place / "run.json").write_bytes(b"")
    for weights in (newest / "policy" / "model.safetensors", place / "policies" / "initial" / "optimizer.safetensors"):
        weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    result = eprli_lab.train(spec, directory=place)
    assert "run.json is empty: it is written anew, with the run's id from spool.jsonl" in caplog.text
    assert (
        f"{newest.name}/policy/model.safetensors is not what was written: the run goes on from the older" in caplog.text
    )
    assert (
        older.name in caplog.text
        and "initial/optimizer.safetensors is not what was written: it was made again" in caplog.text
    )
    for table in ("ledger", "outcomes", "samples"):
        assert (place / f"{table}.jsonl").read_bytes() == (Path("undisturbed") / f"{table}.jsonl").read_bytes()
    assert result.run_id == known and result.score == whole.score
    assert json.loads((place / "run.json").read_text())["run_id"] == known


def test_in_a_thread_and_in_a_directory_of_ones_choice(workspace) -> None:
    directory, result, _ = workspace
    results = []
    thread = threading.Thread(
        target=lambda: results.append(eprli_lab.train(eprli_lab.compose(OVERRIDES), directory="chosen"))
    )
    thread.start()
    thread.join()
    assert results[0].directory == directory / "chosen" and results[0].score == result.score
    with pytest.raises(UserError, match="the directory chosen holds a finished run: give another one, or remove it"):
        eprli_lab.train(eprli_lab.compose(OVERRIDES), directory="chosen")


def test_a_mistake_is_one_sentence(workspace, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train: give a spec, as compose\(\[\.\.\.\]\) returns it, not list"):
        eprli_lab.train(OVERRIDES)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="objective: no run logs 'scor' .did you mean 'score'"):
        eprli_lab.train(eprli_lab.compose([*OVERRIDES, "objective=scor"]))
    with pytest.raises(UserError, match="backend.dry_run=true trains nothing"):
        eprli_lab.train(eprli_lab.compose(["experiment=eprli_1p5b", "backend.dry_run=true"]))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made"):
        eprli_lab.train(eprli_lab.compose(OVERRIDES), directory=tmp_path / "file" / "run")


@pytest.mark.exhaustive
def test_the_command_line_makes_the_same_run(workspace, tmp_path: Path) -> None:
    _, result, _ = workspace
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [sys.executable, "-m", "eprli_lab.run", *OVERRIDES], cwd=tmp_path, env=environment, capture_output=True, text=True
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = tmp_path / "outputs" / result.directory.name  # the same fingerprint
    for name in ("ledger.jsonl", "outcomes.jsonl"):
        assert (made / name).read_bytes() == (result.directory / name).read_bytes()
    assert f"score {result.score:.3f} after {result.metrics['progress/tokens']:.0f} tokens" in done.stdout
    for suite, pair in result.suites.items():
        assert re.search(rf"^{suite} +{pair.start:.3f} +{pair.final:.3f}$", done.stdout, re.MULTILINE)


def test_a_grader_started_from_a_script_without_a_guard_does_not_run_it_again(tmp_path: Path) -> None:
    script = tmp_path / "plain.py"
    script.write_text(
        "print('started', flush=True)\n"
        "from eprli_lab.config.spec import VerifySpec\nfrom eprli_lab.grading.grader import Grader\n"
        "grader = Grader(VerifySpec())\n"
        "print(grader.grade([(r'\\boxed{\\sin(\\pi/6)}', ('1/2',))])[0].status, __file__ is not None)\n"
        "grader.close()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["started", "symbolic True"], done.stderr
