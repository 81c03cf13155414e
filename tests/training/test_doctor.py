"""`eprli-lab doctor`: every row on the local engine, and a red one for each planted breakage."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.backends.openrlhf.compiled import check_compiled
from eprli_lab.backends.openrlhf.versions import installed
from eprli_lab.cli.main import group
from eprli_lab.config.compose import compose_spec
from eprli_lab.errors import UserError
from eprli_lab.records import Response
from eprli_lab.training import doctor_run
from eprli_lab.training.doctor import SMALL, doctor_words, examine
from eprli_lab.training.doctor_engine import distance, engine_checks
from eprli_lab.training.doctor_machine import machine_checks
from eprli_lab.training.problems import read_problems

WORDS = doctor_words(["backend=local"])
SPEC = compose_spec(WORDS)


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def verdicts(tmp_path: Path) -> dict[str, tuple[str, str]]:
    """check -> (verdict, advice) of the engine's checks."""
    return {f.check: (f.verdict, f.advice) for f in engine_checks(SPEC, tmp_path)}


def test_a_sound_engine_has_no_fault(tmp_path):
    found = verdicts(tmp_path)
    assert list(found) == [
        "engine starts",
        "whole groups",
        "mismatch",
        "weights arrive",
        "save and load",
        "sleep and wake",
    ]
    assert [v for v, _ in found.values()] == ["ok"] * 5 + ["-"]


SAMPLE, UPDATE = LocalBackend.sample, LocalBackend.update


def short(self, problems, sampling, *, seed):
    return [g[:-1] if i == 3 else g for i, g in enumerate(SAMPLE(self, problems, sampling, seed=seed))]


def alike(self, problems, sampling, *, seed):
    return [(g[0],) * len(g) for g in SAMPLE(self, problems, sampling, seed=seed)]


def hotter(self, problems, sampling, *, seed):
    return [
        tuple(replace(r, logprobs=tuple(0.9 * x for x in r.logprobs)) for r in g)
        for g in SAMPLE(self, problems, sampling, seed=seed)
    ]


def forgetful(self, batch, settings):
    directory = Path("before")
    directory.mkdir()
    self.save(directory)
    terms = UPDATE(self, batch, settings)
    self.load(directory)
    return terms


@pytest.mark.parametrize(
    ("method", "planted", "red"),
    [
        ("sample", short, "whole groups"),
        ("sample", alike, "whole groups"),
        ("sample", hotter, "mismatch"),
        ("update", forgetful, "weights arrive"),
        ("load", lambda self, path: None, "save and load"),
    ],
    ids=["one-sample-lost", "seeds-do-nothing", "other-temperature", "update-lost", "load-does-nothing"],
)
def test_a_planted_breakage_is_a_red_row_that_says_what_to_do(tmp_path, monkeypatch, method, planted, red):
    monkeypatch.setattr(LocalBackend, method, planted)
    found = verdicts(tmp_path)
    assert [name for name, (verdict, _) in found.items() if verdict == "FAULT"] == [red]
    assert found[red][1], "a fault without advice"


def test_distance_is_that_of_the_tokens_up_to_where_two_responses_part():
    one = Response("x", (1,), (5, 6, 7), (-1.0, -2.0, -3.0), False)
    other = Response("x", (1,), (5, 6, 8), (-1.5, -2.1, -9.0), False)
    assert distance([[one]], [[other]]) == pytest.approx((0.5 + 0.1) / 2)
    assert distance([[one]], [[replace(other, tokens=(4, 6, 7))]]) == float("inf")


def test_small_words_come_before_the_users_own_and_paths_are_absolute(tmp_path):
    (tmp_path / "policy").mkdir()
    words = doctor_words(["backend=local", "model.name=mine", "model.path=policy", "budget.amount=9"])
    assert words[: len(SMALL)] == list(SMALL)
    assert words[-2:] == [f"model.path={tmp_path / 'policy'}", "budget.amount=9"]
    assert compose_spec(doctor_words(["backend=local", "budget.amount=9"])).budget.amount == 9


def test_a_preset_is_examined_on_problems_that_need_no_file_and_any_group_is_admitted():
    spec = compose_spec(doctor_words(["experiment=one_gpu", "curriculum.levels.l2.admission.accuracy_max=0.9"]))
    assert spec.model.path == "Qwen/Qwen2.5-1.5B-Instruct" and spec.backend.gpus == 1
    assert spec.data.generated.family == "mod10" and next(iter(spec.evaluation.suites)) == "heldout_easy"
    assert (spec.budget.unit, spec.budget.amount) == ("updates", 4)
    bands = [(lv.admission.accuracy_min, lv.admission.accuracy_max) for lv in spec.curriculum.levels.values()]
    assert bands == [(0.0, 1.0), (0.0, 0.9)]
    assert {lv.length_term for lv in spec.curriculum.levels.values()} == {"group_relative"}
    named = doctor_words(["backend=local", "data=jsonl", "data.source.path=x.jsonl", "evaluation=benchmarks"])
    assert not any(w.startswith(("data.generated", "evaluation.suites")) for w in named)


@pytest.mark.parametrize("words", [["backend=openrlhf"], ["backend=openrlhf", "model=mod10"], ["backend=openrlhf_cpu"]])
def test_the_packages_own_policy_fits_its_context_on_every_engine(words):
    spec = compose_spec(doctor_words(words))
    read_problems(spec)  # raises for what does not fit
    assert spec.backend.prompt_tokens == 64
    assert compose_spec(doctor_words([*words, "backend.prompt_tokens=70"])).backend.prompt_tokens == 70


def test_a_model_of_the_users_keeps_its_window():
    assert compose_spec(doctor_words(["experiment=one_gpu"])).backend.prompt_tokens == 1024


def test_a_lock_of_a_killed_compilation_is_a_red_row_and_refused_at_every_start(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    lock = tmp_path / "py311_cpu" / "deepspeed_shm_comm" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    check_compiled()  # somebody may be compiling just now
    assert f"{lock}: another process compiles" in caplog.text
    os.utime(lock, (0, 0))
    with pytest.raises(UserError, match=f"{lock}: .* remove the file"):
        check_compiled()
    found = {f.check: f for f in machine_checks(compose_spec(["backend=openrlhf_cpu"]), tmp_path)}
    assert found["compiled operators"].verdict == "FAULT" and "remove the file" in found["compiled operators"].advice
    lock.unlink()
    assert machine_row(tmp_path) == "ok"


def machine_row(directory: Path) -> str:
    rows = {f.check: f.verdict for f in machine_checks(compose_spec(["backend=openrlhf_cpu"]), directory)}
    return rows["compiled operators"]


def test_out_that_is_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="give a directory that is not"):
        examine(["backend=local"], lambda f: None, str(tmp_path))


@pytest.mark.skipif(installed("openrlhf") is not None, reason="only where OpenRLHF is not")
def test_what_is_not_installed_is_a_red_row_and_nothing_is_started():
    done = CliRunner().invoke(group, ["doctor", "backend=openrlhf_cpu"])
    assert done.exit_code == 1
    lines = {line.split("  ")[0]: line for line in done.output.splitlines()}
    assert "FAULT" in lines["versions"] and "not started" in lines["engine"]
    assert "not installed: pip install -c constraints-openrlhf.txt" in done.output


@pytest.mark.slow
@pytest.mark.exhaustive
def test_every_row_on_the_local_engine(tmp_path):
    done = CliRunner().invoke(group, ["doctor", "backend=local", "out=kept"])
    assert done.exit_code == 0, done.output
    assert "equal those of the uninterrupted run byte for byte" in done.output
    assert "4 updates, levels l1, l2" in done.output
    whole, killed = (next((tmp_path / "kept" / name / "outputs").iterdir()) for name in ("run", "killed"))
    assert (whole / "ledger.jsonl").read_bytes() == (killed / "ledger.jsonl").read_bytes()

    row = json.loads((killed / "ledger.jsonl").read_text().splitlines()[-1])
    lines = (killed / "ledger.jsonl").read_text().splitlines()[:-1]
    (killed / "ledger.jsonl").write_text("\n".join([*lines, json.dumps(row | {"accuracy": 0.5})]) + "\n")
    compared = doctor_run._compared(SPEC, "kill and resume", "", whole, killed, 2)
    assert compared.verdict == "FAULT" and "ledger differ" in compared.measured


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_run_that_does_not_end_is_a_red_row(tmp_path):
    words = [
        *WORDS,
        "curriculum.levels.l2.admission.accuracy_max=0.2",
        "curriculum.levels.l2.admission.accuracy_min=0.19",
    ]
    found = list(itertools.islice(doctor_run.run_checks(compose_spec(words), words, tmp_path), 1))
    assert found[0].verdict == "FAULT" and "none in l2" in found[0].measured and "starved" in found[0].advice
    shutil.rmtree(tmp_path / "run")
