"""The saved view: what answers is open and first, everything else is there and folded, and it fits into a tag."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from eprli_lab.tracking import names
from eprli_lab.tracking.charts import WHOLE_RUN, charts
from eprli_lab.tracking.views import LONGEST, save_view


def logged(levels: int = 2) -> list[str]:
    out = ["score", "response_tokens", "own", names.UPDATES, names.TOKENS, "time/step"]
    out += [names.accuracy("easy"), names.accuracy("hard"), names.evaluation("easy", "pass_at_k")]
    for level in (f"l{i + 1}" for i in range(levels)):
        out += [names.buffer(level, "admission_rate"), names.buffer(level, "rounds"), names.generated(level)]
        out += [names.policy(level, "entropy"), names.clip_fraction(level, "low")]
        out += [names.sampled(level, which, "reward/mean") for which in ("all", "admitted")]
    return out


def test_score_accuracy_admission_and_entropy_come_first() -> None:
    cards, sections = charts(logged())
    by_section = {s["name"]: [c["metricKey"] for c in cards if c["metricSectionId"] == s["uuid"]] for s in sections}
    opened = [s["name"] for s in sections if s["display"]]
    accuracies = ["eval/easy/avg_at_k", "eval/hard/avg_at_k"]
    assert [by_section[name] for name in opened] == [
        ["score", "score"],
        accuracies,
        ["buffer/l1/admission_rate", "buffer/l2/admission_rate"],
        ["policy/l1/entropy", "policy/l2/entropy"],
        ["progress/updates", "response_tokens"],
    ]
    assert by_section["Held-out accuracy over generated tokens"] == accuracies, "folded"
    assert [c["type"] for c in cards[:5]] == ["BAR", "LINE", "BAR", "BAR", "LINE"]


def test_whatever_mlflow_adds_itself_finds_a_folded_section() -> None:
    cards, sections = charts(logged())
    placed = {c["metricKey"] for c in cards}
    folded = {s["name"] for s in sections if not s["display"]} - {"Held-out accuracy over generated tokens"}
    left = [m for m in logged() if m not in placed]
    assert {m.rpartition("/")[0] or WHOLE_RUN for m in left} == folded
    assert len({c["uuid"] for c in cards}) == len(cards), "MLflow takes the last of two cards of one id"
    assert charts([]) == ([], [])


class Experiment:
    """Keeps the tag that is set on it."""

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}

    def set_experiment_tag(self, experiment: str, key: str, value: str) -> None:
        self.tags[key] = value

    def state(self) -> dict[str, Any]:
        (text,) = self.tags.values()
        packed = json.loads(text)["state"].removeprefix("deflate;")
        return json.loads(zlib.decompress(base64.b64decode(packed)))


def test_a_view_of_many_levels_still_fits_into_a_tag() -> None:
    for levels in (0, 4, 40):
        experiment = Experiment()
        save_view(experiment, "1", "s", logged(levels))
        ((key, text),) = experiment.tags.items()
        assert key == "mlflow.sharedViewState.eprli-s" and len(text) <= LONGEST
        state = experiment.state()
        assert state["selectedColumns"][0] == state["columnOrder"][0] == "metrics.`score`"
        if levels <= 4:
            assert {s["name"] for s in state["compareRunSections"]} == {s["name"] for s in charts(logged(levels))[1]}
