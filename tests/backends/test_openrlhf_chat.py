"""A ChatML-tuned model on OpenRLHF: plain-text problems reach the rollout engines in its template (as local does it)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openrlhf", reason="OpenRLHF is not installed in this environment")
from chat_model import make_chat_model, overrides, write_sums

from eprli_lab.backends.openrlhf.engine import OpenRLHFBackend
from eprli_lab.config.compose import compose_spec
from eprli_lab.training.execute import execute
from eprli_lab.training.preflight import preflight

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chat_model(tmp_path_factory.mktemp("chat-model"))


@pytest.mark.exhaustive
@pytest.mark.parametrize("template", ["auto", "none"])
def test_it_scores_with_its_template_and_not_without(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[list[int]] = []
    sample = OpenRLHFBackend.sample

    def noting(self: OpenRLHFBackend, problems: Any, sampling: Any, *, seed: int) -> Any:
        for group in sample(self, problems, sampling, seed=seed):
            asked.append(list(group[0].prompt_tokens))
            yield group

    monkeypatch.setattr(OpenRLHFBackend, "sample", noting)
    given = [
        *overrides(model, write_sums(tmp_path / "sums.jsonl")),
        "backend=openrlhf_cpu",
        f"prompts.template={template}",
    ]
    spec = compose_spec([*given, f"tracking.uri=sqlite:///{tmp_path}/ml.db"])
    preflight(spec)
    execute(spec.model_dump_json(), str(tmp_path / "run"), None)
    rows = [json.loads(line) for line in (tmp_path / "run" / "outcomes.jsonl").read_text().splitlines()]
    start = [r["correct"] / r["samples"] for r in rows if r["stage"] == "start"]
    assert len(start) == 100 and len(asked) > 200, "two evaluations and at least one round of training"
    prompts = json.loads((tmp_path / "run" / "prompts.json").read_text())
    assert [p["ids"] in asked for p in prompts["prompts"]] == [True, True]
    if template == "auto":
        assert sum(start) / 100 > 0.9
        assert all(ids[0] == 1 and ids.count(2) == 1 for ids in asked), "<|im_start|> first, one finished turn"
    else:
        assert sum(start) / 100 < 0.05
        assert all(1 not in ids and 2 not in ids for ids in asked)
