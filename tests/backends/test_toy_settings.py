"""A toy's settings on a real model are named; a real model's own are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eprli_lab.backends.toy_settings import toy_settings
from eprli_lab.config.compose import compose_spec
from eprli_lab.config.spec import RunSpec

pytestmark = pytest.mark.slow  # one of many

TOY = ["curriculum=l2", "evaluation=heldout", "optim.learning_rate=5e-4", "budget.amount=60000"]


def spec_of(tmp_path: Path, hidden: int, *overrides: str) -> RunSpec:
    """A Qwen2-shaped model of two layers, by its config file alone: 2 (2 h 2h + 3 h 4h) + 32,000 h weights."""
    config = {
        "model_type": "qwen2", "hidden_size": hidden, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 4, "intermediate_size": 4 * hidden, "vocab_size": 32_000, "tie_word_embeddings": True,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    return compose_spec(["model=path", f"model.path={tmp_path}", *overrides])


def test_every_toy_setting_is_named_once(tmp_path):
    said = toy_settings(spec_of(tmp_path, 512, *TOY))
    assert [s.split(" ")[0] for s in said] == [
        "optim.learning_rate", "curriculum.levels.l1.max_response_tokens", "budget.amount",
    ]  # fmt: skip
    assert "0.0005 will ruin a model of 25 M parameters: 1e-6 to 1e-5" in said[0]
    assert "l1.max_response_tokens 44, curriculum.levels.l2.max_response_tokens 76, evaluation." in said[1]
    assert said[2] == "budget.amount 60000 tokens: a model of 25 M parameters shows nothing before about 1e+06"


def test_model_path_brings_no_toy_setting_of_its_own(tmp_path):
    spec = spec_of(tmp_path, 512)
    assert toy_settings(spec) == []
    assert spec.optim.learning_rate == 1e-6 and spec.budget.amount == 1e7
    assert [lv.max_response_tokens for lv in spec.curriculum.levels.values()] == [1024, 2048]
    assert spec.evaluation.max_response_tokens == 2048
    named = spec_of(tmp_path, 512, "curriculum=l3", "budget.amount=5000000", "evaluation=paper", "preset=default")
    assert list(named.curriculum.levels) == ["l1", "l2", "l3"] and named.budget.amount == 5e6
    assert named.evaluation.max_response_tokens == 16_384, "what the command line names is what it is"


def test_adapters_may_learn_faster(tmp_path):
    adapters = ["model.lora={rank:8}", "optim.learning_rate=5e-4"]
    assert toy_settings(spec_of(tmp_path, 512, *adapters)) == []
    assert (
        "1e-5 to 1e-4 with adapters" in toy_settings(spec_of(tmp_path, 512, *adapters, "optim.learning_rate=2e-3"))[0]
    )


def test_below_ten_million_parameters_nothing_is_said(tmp_path):
    assert toy_settings(spec_of(tmp_path, 240, *TOY)) == []  # 9.5 M
    assert toy_settings(compose_spec([])) == []


@pytest.mark.parametrize(
    ("unit", "amount", "named"), [("updates", 19, True), ("updates", 20, False), ("seconds", 599, True)]
)
def test_budgets_in_other_units(tmp_path, unit, amount, named):
    said = toy_settings(spec_of(tmp_path, 512, f"budget.unit={unit}", f"budget.amount={amount}"))
    assert (len(said) == 1) == named


@pytest.mark.parametrize(
    "experiment", ["one_gpu", "one_gpu_24gb", "one_gpu_lora", "eprli_1p5b", "eprli_4b", "eprli_7b", "eprli_mimo_7b"]
)
def test_no_experiment_has_one(experiment):
    assert toy_settings(compose_spec([f"experiment={experiment}"])) == []
