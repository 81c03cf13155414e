"""Controls: expectations by hand at their boundaries, the certificate, and what another study's report cites."""

from __future__ import annotations

import math

import pytest
from planted import put
from pydantic import ValidationError

from eprli_lab.reporting.certificate import certificate_page, certificate_text
from eprli_lab.reporting.controls import TASK, ControlRecord, built_task, check_control, task_of
from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.reporting.report.instrument import citation, instrument_section
from eprli_lab.reporting.tables.rows import ablation_table
from eprli_lab.tracking.description import Contrast, Expectation, StudyDescription


def of_scores(expected: list[dict[str, object]], model: str = "m", **arms: list[float]) -> StudyData:
    """A study with these last scores, one a seed."""
    runs = []
    for arm, values in arms.items():
        for seed, value in enumerate(values):
            params = {"data.name": '"d"', "model.name": f'"{model}"'}
            run = RunData(f"{arm}-{seed}", arm, seed, params, {})
            put(run, "score", 0, 0.1)
            put(run, "score", 1, value)
            runs.append(run)
    seeds = tuple(range(max(map(len, arms.values()))))
    description = StudyDescription(
        question="Is it found?", arms=tuple(arms), baseline=next(iter(arms)), seeds=seeds, expected=tuple(expected)
    )
    return StudyData("control", description, None, runs, [])


def verdict_of(expected: dict[str, object], **arms: list[float]) -> str:
    record = check_control(of_scores([expected], **arms))
    assert record is not None
    return record.checks[0].verdict


def test_above_needs_the_size_and_an_interval_above_zero():
    # differences .2, .3, .4: mean .3, half width 4.303 * .1 / sqrt 3 = .248
    arms = {"a": [0.1, 0.1, 0.1], "b": [0.3, 0.4, 0.5]}
    assert verdict_of({"contrast": "b - a", "above": 0.29}, **arms) == "passed"
    assert verdict_of({"contrast": "b - a", "above": 0.31}, **arms) == "failed"
    wide = {"a": [0.1, 0.1, 0.1], "b": [0.2, 0.4, 0.6]}  # half width .497: the interval holds zero
    assert verdict_of({"contrast": "b - a", "above": 0.1}, **wide) == "failed"
    assert verdict_of({"contrast": "a - b", "below": -0.29}, **arms) == "passed"
    assert verdict_of({"contrast": "a - b", "below": -0.31}, **arms) == "failed"
    assert verdict_of({"contrast": "a - b", "above": 0.1}, **arms) == "failed", "the wrong way round"


def test_nothing_is_an_interval_that_holds_zero_around_a_small_mean():
    arms = {"a": [0.1, 0.1, 0.1], "b": [0.05, 0.1, 0.18]}  # mean .01
    assert verdict_of({"contrast": "b - a", "within": 0.1}, **arms) == "passed"
    assert verdict_of({"contrast": "b - a", "within": 0.005}, **arms) == "failed"
    small_but_sure = {"a": [0.1, 0.1, 0.1], "b": [0.119, 0.12, 0.121]}
    assert verdict_of({"contrast": "b - a", "within": 0.1}, **small_but_sure) == "failed"


def test_two_seeds_judge_nothing():
    two = {"a": [0.1, 0.1], "b": [0.9, 0.91]}
    for rule in ({"above": 0.1}, {"below": 0.1}, {"within": 0.1}):
        assert verdict_of({"contrast": "b - a", **rule}, **two) == "too few seeds"
    assert verdict_of({"arm": "a", "near": 0.1, "within": 0.01}, **two) == "too few seeds"
    without_spread = {"a": [0.1, 0.1, 0.1], "b": [0.4, 0.4, 0.4]}
    assert verdict_of({"contrast": "b - a", "above": 0.1}, **without_spread) == "too few seeds"
    assert verdict_of({"contrast": "b - a", "above": 0.1}, a=[0.1], c=[0.2]) == "too few seeds", "an arm without runs"


def test_the_mean_of_an_arm():
    arms = {"a": [0.11, 0.12, 0.13]}
    assert verdict_of({"arm": "a", "near": 0.125, "within": 0.0051}, **arms) == "passed"
    assert verdict_of({"arm": "a", "near": 0.13, "within": 0.009}, **arms) == "failed"


def test_one_failure_fails_a_control_and_its_table_says_so():
    arms = {"a": [0.1, 0.1, 0.1], "b": [0.3, 0.4, 0.5]}
    good, bad = {"contrast": "b - a", "above": 0.2}, {"contrast": "b - a", "within": 0.5}
    passed, failed = (check_control(of_scores(e, **arms)) for e in ([good], [good, bad]))
    assert passed is not None and passed.verdict == "passed" and passed.seeds == 3
    assert failed is not None and failed.verdict == "failed"
    text = ablation_table(of_scores([good, bad], **arms)).text()
    assert "Control: failed." in text
    assert "passed: b - a: at least +.200, the interval above zero (found: +.300 [+.052, +.548], 3 seeds)" in text
    assert "Control:" not in ablation_table(of_scores([], **arms)).text()


def test_the_smallest_effect_is_that_of_the_first_contrast():
    record = check_control(of_scores([{"contrast": "b - a", "above": 0.1}], a=[0.1, 0.1, 0.1], b=[0.3, 0.4, 0.5]))
    # sd .1, 3 seeds, power .8: noncentral t, 3.26 standard errors of .0577 at least
    assert record is not None and record.detectable is not None
    assert 0.15 < record.detectable < 0.35 and record.contrast == "b - a"
    assert "sees four times out of five" in citation(record)


@pytest.mark.parametrize(
    "wrong",
    [
        {"contrast": "b - a"},
        {"contrast": "b - a", "above": 0.1, "within": 0.1},
        {"contrast": "b-a", "above": 0.1},
        {"contrast": "a - a", "above": 0.1},
        {"arm": "a", "near": 0.1},
        {"arm": "a", "contrast": "b - a", "above": 0.1},
        {"above": 0.1},
        {"contrast": "b - a", "above": math.nan},
    ],
)
def test_an_expectation_says_one_thing(wrong):
    with pytest.raises(ValidationError):
        Expectation.model_validate(wrong)


def test_a_contrast_is_two_arms():
    assert Contrast.of(" l2  -  l1_matched ") == ("l2", "l1_matched")
    assert str(Contrast.of("l2 - l1")) == "l2 - l1"


def test_the_task_of_a_study_and_what_is_said_of_one_that_was_built():
    study = of_scores([], model="qwen3-0.1m-ladder", a=[0.1])
    assert task_of(study)[0] == "d" and task_of(study)[TASK.index("model.name")] == "qwen3-0.1m-ladder"
    assert built_task(study).startswith("built so that a curriculum must win")
    assert "Task: built so that a curriculum must win" in ablation_table(study).text()
    assert built_task(of_scores([], a=[0.1])) == "" and task_of(of_scores([], a=[])) == ()


def test_a_report_cites_the_controls_of_its_task_and_no_others():
    arms = {"a": [0.1, 0.1, 0.1], "b": [0.3, 0.4, 0.5]}
    control = check_control(of_scores([{"contrast": "b - a", "above": 0.2}], **arms))
    assert control is not None
    asking = of_scores([], **arms)
    asking = StudyData("levels", asking.description, None, asking.runs, [])
    section = instrument_section(asking, None, [control])
    assert [item[0] for item in section.items] == ["control, passed:"] and not section.text
    other = control.model_copy(update={"task": ("x",) * len(TASK), "study": "elsewhere"})
    section = instrument_section(asking, None, [other])
    assert not section.items and "No control of this task" in section.text[0] and "elsewhere passed" in section.text[0]
    own = instrument_section(of_scores([], **arms), control, [control])
    assert own.tables and "It passed." in own.text[0] and not own.items


def test_a_record_comes_back_from_its_tag():
    record = check_control(of_scores([{"contrast": "b - a", "above": 0.2}], a=[0.1] * 3, b=[0.3, 0.4, 0.5]))
    assert record is not None and ControlRecord.model_validate_json(record.model_dump_json()) == record


def test_the_certificate_names_every_check():
    arms = {"a": [0.1, 0.1, 0.1], "b": [0.3, 0.4, 0.5]}
    passed = check_control(of_scores([{"contrast": "b - a", "above": 0.2}], **arms))
    failed = check_control(of_scores([{"contrast": "b - a", "within": 0.2}], **arms))
    assert passed is not None and failed is not None
    failed = failed.model_copy(update={"study": "broken"})
    text = certificate_text([passed, failed], "default")
    assert text.startswith("Certificate of this instrument: 1 of 2 controls passed")
    assert "passed: control; failed: broken." in text and "nothing: the interval holds zero" in text
    page = certificate_page([passed, failed], "default")
    assert "broken" in page.html() and "1 of 2 controls passed" in page.markdown()
