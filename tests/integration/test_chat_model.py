"""A ChatML-tuned model through the product: plain-text problems reach it in its template, in training and evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chat_model import make_chat_model, overrides, question, write_sums

from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.cli.difficulty import run as difficulty
from eprli_lab.cli.single import run_single
from eprli_lab.config.compose import compose_spec, hydra_session
from eprli_lab.training.execute import execute
from eprli_lab.training.preflight import preflight

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]  # it trains a chat model first
HEAD = "<|im_start|>user\n"
TAIL = "<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chat_model(tmp_path_factory.mktemp("chat-model"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Prompts of the real engine, in the order in which it was asked, as the tokens that it trained on."""
    seen: list[list[int]] = []
    sample = LocalBackend.sample

    def noting(self: LocalBackend, problems: Any, sampling: Any, *, seed: int) -> Any:
        groups = sample(self, problems, sampling, seed=seed)
        seen.extend(list(g[0].prompt_tokens) for g in groups)
        return groups

    monkeypatch.setattr(LocalBackend, "sample", noting)
    return seen


def start_score(directory: Path) -> float:
    rows = [json.loads(line) for line in (directory / "outcomes.jsonl").read_text().splitlines()]
    start = [r["correct"] / r["samples"] for r in rows if r["stage"] == "start"]
    assert len(start) == 100
    return sum(start) / len(start)


def run(model: Path, where: Path, *more: str) -> tuple[Path, dict[str, Any]]:
    spec = compose_spec(
        [*overrides(model, write_sums(where / "sums.jsonl")), f"tracking.uri=sqlite:///{where}/ml.db", *more]
    )
    preflight(spec)
    (where / "run").mkdir()
    execute(spec.model_dump_json(), str(where / "run"), None)
    return where / "run", json.loads((where / "run" / "prompts.json").read_text())


def test_it_scores_with_its_template_in_training_and_evaluation(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[list[int]]
) -> None:
    monkeypatch.chdir(tmp_path)
    directory, prompts = run(model, tmp_path)
    assert start_score(directory) > 0.9
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    texts = [tokenizer.decode(ids) for ids in asked]
    assert len(texts) >= 2 * 100 + 8, "two evaluations and at least one round of training"
    assert all(t.startswith(HEAD + "What is ") and t.endswith("?" + TAIL) for t in texts)
    assert prompts["template"] and [p["where"] for p in prompts["prompts"]] == ["level l1", "suite sums"]
    for p in prompts["prompts"]:
        assert p["text"] == HEAD + question(0, 0) + TAIL and p["ids"] in asked and p["tokens"] == len(p["ids"])
    assert len(list(tmp_path.rglob("mlartifacts/**/prompts.json"))) == 1
    ledger = [json.loads(line) for line in (directory / "ledger.jsonl").read_text().splitlines()]
    assert sum(r["accuracy"] for r in ledger) / len(ledger) > 0.9, "training's own answers"


def test_without_its_template_it_scores_near_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[list[int]]
) -> None:
    monkeypatch.chdir(tmp_path)
    directory, prompts = run(model, tmp_path, "prompts.template=none")
    assert start_score(directory) < 0.05
    assert not prompts["template"] and prompts["prompts"][0]["text"] == question(0, 0)
    assert all(1 not in ids for ids in asked), "no special token anywhere"


def test_a_level_asks_in_its_own_way_and_suites_in_the_runs(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[list[int]]
) -> None:
    monkeypatch.chdir(tmp_path)
    _, prompts = run(model, tmp_path, "curriculum.levels.l1.prompts.suffix=' Box it.'", "budget.amount=200")
    level, suite = prompts["prompts"]
    assert level["text"] == HEAD + question(0, 0) + " Box it." + TAIL and suite["text"] == HEAD + question(0, 0) + TAIL
    (warning,) = prompts["warnings"]
    assert warning.startswith(
        "prompts: level l1 and suite sums differ in the text after the problem: ' Box it.' against none"
    )
    trained = asked[100:-100]
    assert trained and all(ids[-len(level["ids"][-8:]) :] == level["ids"][-8:] for ids in trained)
    assert asked[0] == suite["ids"]


def test_the_command_line_shows_the_first_prompts(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hydra import compose

    monkeypatch.chdir(tmp_path)
    given = [*overrides(model, write_sums(tmp_path / "sums.jsonl")), "budget.amount=100"]
    with hydra_session():
        config = compose("config", overrides=given)
    assert run_single(config) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = lines.index("first prompts (the model's chat template)")
    assert lines[shown + 1].startswith("  level l1") and lines[shown + 1].endswith(
        r"16 tokens  <|im_start|>user\nWhat is 0 plus 0?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert not [x for x in lines if x.startswith("warning: prompts")]


def test_measured_difficulty_asks_as_training_does(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[list[int]]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = write_sums(tmp_path / "sums.jsonl")
    given = ["data=jsonl", f"data.source.path={data}", "model=path", f"model.path={model}", "curriculum=l1"]
    given += ["curriculum.levels.l1.max_response_tokens=12", "k=2", "limit=40"]
    rows = [json.loads(line) for line in difficulty([*given, "out=with.jsonl"]).read_text().splitlines()]
    assert sum(r["pass_rate"] for r in rows) / 40 > 0.9 and all(ids[0] == 1 for ids in asked)
    rows = [
        json.loads(x) for x in difficulty([*given, "out=none.jsonl", "prompts.template=none"]).read_text().splitlines()
    ]
    assert sum(r["pass_rate"] for r in rows) / 40 < 0.05
    assert json.loads(Path("none.meta.json").read_text())["prompts"]["template"] == "none"
    assert "prompts" not in json.loads(Path("with.meta.json").read_text()), "files that were measured before go on"
