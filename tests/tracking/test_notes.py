"""Descriptions in MLflow: an experiment's says question and answer of its studies, and never grows without bound."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.tracking.description import OPENED, StudyDescription
from eprli_lab.tracking.notes import ANSWER, LONGEST, NOTE, experiment_note, noted
from eprli_lab.tracking.parent import open_parent, parent_summary
from eprli_lab.tracking.store import mlflow_client, open_store
from eprli_lab.tracking.uri import resolve_uri


def parent(study: str, question: str = "Why?", answer: str = "") -> SimpleNamespace:
    tags = {"study": study, **StudyDescription(question=question).to_tags()} | ({ANSWER: answer} if answer else {})
    return SimpleNamespace(data=SimpleNamespace(tags=tags), info=SimpleNamespace(run_id=f"id-{study}"))


def test_the_first_line_is_the_latest_studys_question_and_links_follow_the_answer() -> None:
    text = experiment_note("3", [parent("new", "Does it help?", "By +.1 [0, .2]."), parent("old"), parent("new", "No")])
    assert text.splitlines()[0] == "new: Does it help?"
    assert "**Answer.** By +.1 [0, .2]." in text and "\nold: Why?\n" in text and text.count("new: ") == 1
    assert "(#/experiments/3/runs?workflowType=machine_learning&viewStateShareKey=eprli-new)" in text
    assert "(#/experiments/3/runs/id-new?workflowType=machine_learning)" in text
    assert "none yet" in text.split("\nold: ")[1]


def test_many_studies_and_long_texts_stay_within_bounds() -> None:
    for count, length in ((1, 9000), (12, 400), (300, 20)):
        runs = [parent(f"s{i}", "why " * length, "so " * length) for i in range(count)]
        text = experiment_note("1", runs)
        assert len(text) <= LONGEST and text.startswith("s0: why")
        shown = text.count("**Answer.**")
        assert shown == count or f"and {count - shown} earlier" in text


def test_a_damaged_description_costs_its_question_only() -> None:
    run = parent("s", answer="yes")
    run.data.tags["eprli.study"] = "{broken"
    assert experiment_note("1", [run]).startswith("s\n")


def test_what_a_person_wrote_is_not_replaced() -> None:
    ours = noted("first", {})
    assert noted("second", ours)[NOTE] == "second"
    assert noted("second", ours | {NOTE: "a person's"}) == {}
    assert noted("second", {NOTE: "an older version's"})[NOTE] == "second"


@pytest.mark.slow
def test_a_store_shows_the_answer_as_soon_as_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    where = TrackingSpec()
    first = open_parent(where, "first", StudyDescription(question="First?", arms=("a",)))
    open_parent(where, "second", StudyDescription(question="Second?", arms=("a",)), ["score", "buffer/l1/rounds"])
    client, experiment = open_store(where)

    def tags() -> dict[str, str]:
        return dict(client.get_experiment(experiment).tags)

    assert tags()[NOTE].splitlines()[0] == "second: Second?", "opened last"
    parent_summary(where, first, {}, answer="Yes, by a lot.")
    assert "**Answer.** Yes, by a lot." in tags()[NOTE]
    assert mlflow_client(resolve_uri(where.uri)).get_run(first).data.tags[OPENED]
    client.set_experiment_tag(experiment, NOTE, "Mine.")
    parent_summary(where, first, {}, answer="No.")
    assert tags()[NOTE] == "Mine."
