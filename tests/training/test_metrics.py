"""The catalogue and the pure functions from records to metrics, by hand."""

from __future__ import annotations

import pytest
from conftest import REPO
from helpers import group, response

from eprli_lab.algorithm.buffer import Buffer
from eprli_lab.config.curriculum import AdmissionSpec
from eprli_lab.records import Grade, Problem
from eprli_lab.training.evaluate import majority_correct, outcome, scores
from eprli_lab.training.measures import buffer_metrics, quantile, sampling_metrics
from eprli_lab.training.metrics import catalogue_markdown, in_catalogue


def test_docs_show_the_catalogue():
    assert (REPO / "docs" / "metrics.md").read_text() == catalogue_markdown()


def test_names_outside_the_catalogue_are_told():
    assert in_catalogue("train/l1/all/accuracy") and in_catalogue("eval/aime24/pass_at_k") and in_catalogue("score")
    assert not in_catalogue("train/l1/accuracy") and not in_catalogue("eval/a/b/avg_at_k")


def test_sampling_metrics_by_hand():
    groups = [
        group([True, True, True, True], "too_easy"),
        group([True, False, False, False]),
        group([False] * 4, "too_hard", tokens=9),
        group([True, False, True, False], "errored"),
    ]
    out = sampling_metrics("l1", groups)
    assert out["train/l1/all/accuracy"] == pytest.approx(5 / 12)  # the errored group is not known
    assert out["train/l1/admitted/accuracy"] == 0.25
    assert (
        out["train/l1/all/solved_none"],
        out["train/l1/all/solved_some"],
        out["train/l1/all/solved_all"],
    ) == pytest.approx((1 / 3,) * 3)
    assert out["train/l1/all/response_tokens/mean"] == 6.0
    assert out["train/l1/all/response_tokens/max"] == 9.0
    assert out["train/l1/admitted/reward/std"] == pytest.approx((0.25 * 0.75) ** 0.5)
    assert all(in_catalogue(name) for name in out)


def test_buffer_metrics_by_hand():
    buffer = Buffer(AdmissionSpec(), 1)
    groups = [
        group([True, False]),
        group([True, False]),
        group([False, False], "too_hard"),
        group([True, True], "errored"),
    ]
    buffer.add_round(groups)
    buffer.take()
    out = buffer_metrics("l1", buffer.pop_tally(), groups, waiting=2, size=1, ages=[0, 3])
    assert out["buffer/l1/groups/generated"] == 4.0 and out["buffer/l1/groups/surplus"] == 1.0
    assert out["buffer/l1/admission_rate"] == 0.5 and out["buffer/l1/fill_fraction"] == 1.0
    assert out["buffer/l1/tokens_per_admitted_group"] == 40 / 2
    assert out["buffer/l1/staleness"] == 1.5
    assert out["buffer/l1/reward_variance/within"] == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert out["buffer/l1/reward_variance/between"] == pytest.approx(1 / 12)  # of .5 .5 0
    assert all(in_catalogue(name) for name in out)


def test_quantile_is_nearest_rank():
    assert quantile(list(range(1, 11)), 0.9) == 9 and quantile([7], 0.9) == 7


def grades(*answers: str | None, right: str = "7") -> list[Grade]:
    return [Grade(a == right, "exact" if a == right else "wrong", a) for a in answers]


def test_majority():
    assert majority_correct(grades("7", "8", "7"))
    assert not majority_correct(grades("8", "8", "7"))
    assert majority_correct(grades("7", "8"))  # a tie goes to the answer that came first
    assert not majority_correct(grades("8", "7"))
    assert majority_correct(grades(None, None, "7"))  # no answer is no vote
    assert not majority_correct(grades(None, None))


def test_scores_are_means_over_problems_and_suites():
    p = Problem("p", "", ("7",))
    r = [response("", 4), response("", 6, truncated=True)]
    rows = [
        outcome("a", p, r, grades("7", "8")),
        outcome("a", p, r, grades("8", "8")),
        outcome("b", p, r, grades("7", "7")),
    ]
    out = scores(rows)
    assert out["eval/a/avg_at_k"] == 0.25 and out["eval/b/avg_at_k"] == 1.0 and out["score"] == 0.625
    assert out["response_tokens"] == (out["eval/a/response_tokens"] + out["eval/b/response_tokens"]) / 2 > 0
    assert out["eval/a/pass_at_k"] == 0.5 and out["eval/a/maj_at_k"] == 0.5
    assert out["eval/a/response_tokens"] == 5.0 and out["eval/a/truncation_rate"] == 0.5
