"""Names of metrics, made and taken apart."""

from __future__ import annotations

import pytest

from eprli_lab.tracking import names
from eprli_lab.training.metrics import CATALOGUE

MADE = {
    "train/l1/all/reward/mean": names.sampled("l1", "all", "reward/mean"),
    "buffer/l1/fill_fraction": names.buffer("l1", "fill_fraction"),
    "buffer/l1/groups/too_hard": names.groups("l1", "too_hard"),
    "buffer/l1/groups/generated": names.generated("l1"),
    "buffer/l1/groups/admitted": names.admitted("l1"),
    "buffer/l1/reward_variance/within": names.reward_variance("l1", "within"),
    "policy/l1/entropy": names.policy("l1", "entropy"),
    "policy/l1/clip_fraction/low": names.clip_fraction("l1", "low"),
    "eval/aime24/pass_at_k": names.evaluation("aime24", "pass_at_k"),
    "eval/aime24/avg_at_k": names.accuracy("aime24"),
    "optim/lr": names.optim("lr"),
    "time/step": names.seconds("step"),
    "time/total": names.TOTAL_SECONDS,
    "time/engine/train": names.engine_seconds("train"),
    "perf/tokens_per_second": names.performance("tokens_per_second"),
    "progress/tokens": names.TOKENS,
    "progress/updates": names.UPDATES,
    "verify/timeout": names.verification("timeout"),
    "summary/l2/p_holm": names.summary("l2", "p_holm"),
    "search/runs": names.search("runs"),
    "score": names.SCORE,
    "response_tokens": names.RESPONSE_TOKENS,
}


def test_the_names_are_those_that_stores_hold():
    assert [name for name, made in MADE.items() if name != made] == []


@pytest.mark.parametrize(
    ("name", "level", "suite", "quantity"),
    [
        ("train/l1/all/reward/mean", "l1", None, "all/reward/mean"),
        ("buffer/l2/groups/admitted", "l2", None, "groups/admitted"),
        ("policy/l3/clip_fraction/high", "l3", None, "clip_fraction/high"),
        ("eval/aime24/avg_at_k", None, "aime24", "avg_at_k"),
        ("time/total", None, None, "time/total"),
        ("summary/l1/score", None, None, "summary/l1/score"),
        ("score", None, None, "score"),
        ("policy/x", None, None, "policy/x"),  # of no level: not one of ours
        ("eval/x", None, None, "eval/x"),
        ("", None, None, ""),
    ],
)
def test_names_are_taken_apart(name, level, suite, quantity):
    assert (names.level_of(name), names.suite_of(name), names.quantity_of(name)) == (level, suite, quantity)
    assert names.is_evaluation(name) == (suite is not None)


def test_every_name_of_the_catalogue_knows_what_it_is_of():
    for metric in (m.name for m in CATALOGUE):
        assert (names.level_of(metric) is not None) == ("{l}" in metric), metric
        assert (names.suite_of(metric) is not None) == ("{suite}" in metric), metric
        assert names.is_summary(metric) == (names.family(metric) == ""), metric


def test_kinds_of_names():
    assert names.is_generated("buffer/l1/groups/generated") and not names.is_generated("buffer/l1/groups/admitted")
    assert names.is_buffer("buffer/l1/rounds") and not names.is_buffer("buffer/l1/rounds", ("staleness",))
    assert names.is_sampled("train/l1/all/accuracy") and not names.is_sampled("train/l1/all/accuracy", ("all/reward",))
    assert not names.is_sampled("buffer/l1/rounds") and not names.is_sampled("train/l1")
    assert names.is_policy("policy/l1/entropy", ("entropy",)) and not names.is_policy("policy/entropy")
    assert names.measure_of("eval/aime24/truncation_rate") == "truncation_rate" and names.measure_of("score") == "score"
