"""`eprli-lab calibrate`: what it refuses before anything starts, and one small control to its certificate and citation."""

from __future__ import annotations

import json

import pytest

from eprli_lab.cli.calibrate import command as calibrate
from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.reporting.controls import TAG, records_of
from eprli_lab.sweeping.calibrate import CONTROLS
from eprli_lab.sweeping.catalogue import planner
from eprli_lab.sweeping.lifecycle import check_study
from eprli_lab.tracking.description import Contrast
from eprli_lab.tracking.read import read_runs


@pytest.mark.slow
def test_every_control_says_what_it_must_find_and_of_which_arms():
    for name in CONTROLS:
        with planner() as plan_of:
            description = plan_of(name, []).description
        assert description.expected and description.seeds == (0, 1, 2, 3)
        for expectation in description.expected:
            arms = Contrast.of(expectation.contrast) if expectation.contrast else (expectation.arm,)
            assert set(arms) <= set(description.arms)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["only=ladder"], "only=ladder: there is no such control"),
        (["sweep=levels"], "sweep=levels: there is no study here"),
        (["study.name=x"], "study.name=x: there is no study here"),
        (["preset=smok"], "there is no such preset (did you mean 'smoke'?)"),
        (["budget"], "'budget' is not key=value"),
        (["budget.amont=3"], "budget.amont"),
    ],
)
def test_mistakes_get_one_sentence_before_anything_starts(words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert calibrate.run(words) == 2
    said = capsys.readouterr().err.strip()
    assert sentence in said and "\n" not in said and not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_control_to_its_certificate_and_its_record(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["only=aa", "preset=smoke", "budget.amount=1500", "evaluation.samples=1", "evaluation.curve_points=0"]
    assert calibrate.run(words) == 0
    out = capsys.readouterr().out
    assert "Certificate of this instrument: 0 of 1 controls passed" in out and "too few seeds: aa-smoke" in out
    assert "b - a: nothing: the interval holds zero" in out
    for name in ("certificate.html", "certificate.md"):
        assert "aa-smoke" in (tmp_path / "reports" / "certificate-smoke" / name).read_text()
    where = TrackingSpec()
    (record,) = records_of(where)
    assert (record.study, record.verdict, record.seeds) == ("aa-smoke", "too few seeds", 2)
    (parent,) = [run for run in read_runs(where) if TAG in run.tags]
    assert json.loads(parent.tags[TAG])["task"][0] == "mod10"
    assert calibrate.run(words) == 0  # nothing is run again
    assert "4 of them done before" in capsys.readouterr().out


@pytest.mark.slow
def test_an_expected_metric_that_no_run_logs_is_refused_before_the_start():
    with planner() as plan_of:
        plan = plan_of("control_limits", ["preset=smoke"])
        wrong = plan_of("control_limits", ["preset=smoke", "evaluation.continue_truncated=null"])
        typo = [{"contrast": "b - a", "metric": "eval/rungs_12/avg_at_k", "above": 0.1}]
        misspelt = plan_of("aa", ["preset=smoke", f"study.expected={json.dumps(typo).replace(chr(34), '')}"])
    check_study(plan)
    for broken, metric in ((wrong, "valid_truncation_rate"), (misspelt, "eval/rungs_12/avg_at_k")):
        with pytest.raises(UserError, match=f"study.expected: .*{metric}"):
            check_study(broken)
