"""A registered policy opens with mlflow.transformers and is the checkpoint's: same logits, same greedy answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import small_spec

from eprli_lab.errors import UserError
from eprli_lab.tracking.store import prepare
from eprli_lab.training.execute import execute
from eprli_lab.training.registering import register_policy
from eprli_lab.training.single import policy_of

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]  # a run, and transformers' pipeline


def test_a_registered_policy_answers_as_its_checkpoint_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.chdir(tmp_path)
    spec = small_spec("budget.amount=3000", "tracking.register=tiny")
    prepare(spec.tracking)
    execute(spec.model_dump_json(), str(tmp_path / "run"), None)
    mlflow.set_tracking_uri(spec.tracking.uri)
    pipeline = mlflow.transformers.load_model("models:/tiny/1", device="cpu")
    checkpoint = policy_of(tmp_path / "run")
    ours = AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    question = tokenizer("3a+4b?", return_tensors="pt")
    assert pipeline.tokenizer("3a+4b?")["input_ids"] == question["input_ids"][0].tolist()
    with torch.no_grad():
        assert torch.equal(pipeline.model(**question).logits, ours(**question).logits)
    greedy = ours.generate(**question, max_new_tokens=8, do_sample=False)
    said = pipeline("3a+4b?", max_new_tokens=8, do_sample=False)[0]["generated_text"]
    assert said == tokenizer.decode(greedy[0], skip_special_tokens=True)
    stored = [f.name for f in (tmp_path / "mlartifacts").rglob("model/**/*") if f.is_file()]
    assert "model.safetensors" in stored and not any(n.endswith((".bin", ".pkl", ".pt")) for n in stored)


def test_a_checkpoint_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    with pytest.raises(UserError, match="there is no model to register"):
        register_policy(small_spec("tracking.register=tiny"), tmp_path, tmp_path, None)  # type: ignore[arg-type]
