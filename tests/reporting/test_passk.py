"""pass@k, avg@k, maj@k, intervals over problems, the reference file: by hand."""

from __future__ import annotations

import itertools
import json
import math
import statistics

import pytest
from scipy import stats

from eprli_lab.errors import UserError
from eprli_lab.reporting.report.reference import load_references
from eprli_lab.reporting.stats.passk import avg_at_k, evaluation_interval, maj_at_k, mean_pass_at_k, published
from eprli_lab.training.measures import pass_at_k


def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample():
    for n, c, k in [(4, 0, 2), (4, 1, 2), (5, 2, 3), (5, 5, 1), (6, 1, 6), (3, 2, 2)]:
        subsets = list(itertools.combinations(range(n), k))
        assert pass_at_k(n, c, k) == pytest.approx(sum(min(s) < c for s in subsets) / len(subsets))
    assert pass_at_k(4, 1, 1) == 0.25 and pass_at_k(4, 0, 4) == 0.0 and pass_at_k(4, 1, 4) == 1.0
    for bad in [(4, 5, 1), (4, -1, 1), (4, 2, 5), (4, 2, 0)]:
        with pytest.raises(ValueError, match="0 <= c <= n"):
            pass_at_k(*bad)


def test_means_over_problems():
    counts = [(4, 1), (4, 4), (4, 0)]
    assert avg_at_k(counts) == pytest.approx(5 / 12)
    assert mean_pass_at_k(counts, 2) == pytest.approx((0.5 + 1 + 0) / 3)  # 1 - C(3,2)/C(4,2) = 1/2
    assert mean_pass_at_k(counts, 4) == pytest.approx(2 / 3)
    assert math.isnan(avg_at_k([]))


def test_majority_by_hand():
    votes = [({"7": 3, "8": 1}, {"7"}), ({"7": 2, "8": 2}, {"8"}), ({"1": 1, "2": 3}, {"1"}), ({}, {"1"})]
    assert maj_at_k(votes) == (1 + 0.5 + 0 + 0) / 4
    assert math.isnan(maj_at_k([]))


def test_one_sample_a_problem_has_wilsons_interval():
    e = evaluation_interval([(1, 1)] * 15 + [(1, 0)] * 15)
    known = stats.binomtest(15, 30).proportion_ci(method="wilson")
    assert e.method == "wilson" and (e.low, e.high) == (pytest.approx(known.low), pytest.approx(known.high))
    assert str(e) == "50.0 [33.2, 66.8] (30 problems)"


def test_several_samples_are_clustered():
    counts = [(4, 0), (4, 2), (4, 4), (4, 2)]  # shares 0 .5 1 .5: mean .5, sd sqrt(1/6), error sd / 2
    e = evaluation_interval(counts)
    half = stats.t.ppf(0.975, 3) * math.sqrt(1 / 6) / 2
    assert e.method == "clustered t" and e.problems == 4
    assert (e.low, e.high) == (pytest.approx(max(0, 0.5 - half)), pytest.approx(min(1, 0.5 + half)))
    assert 0 <= evaluation_interval([(2, 1), (2, 0)]).low


def test_scores_without_spread_still_have_an_interval():
    assert evaluation_interval([(4, 4)] * 30).low == pytest.approx(30 / (30 + stats.norm.ppf(0.975) ** 2))
    assert evaluation_interval([(4, 2)]).method == "wilson"
    with pytest.raises(ValueError, match="without problems"):
        evaluation_interval([])
    with pytest.raises(ValueError, match="at least one problem"):
        published(50.0, 30)


def test_the_papers_table():
    references = load_references()
    eprli = references.results[0]
    assert all(r.source for r in references.results)
    for r in references.results:  # printed averages are of all five, rounded
        if r.average is not None:
            assert abs(statistics.fmean(r.scores.values()) - r.average) < 0.1, r.name
    assert eprli.source == "arXiv 2508.01604"
    assert list(eprli.scores.values()) == [50.0, 89.2, 77.1, 35.3, 51.9]
    assert round(statistics.fmean(eprli.scores.values()), 1) == eprli.average == 60.7
    assert [s.problems for s in references.suites.values()] == [30, 500, 40, 272, 675]
    assert str(references.interval(eprli, "aime24")) == "50.0 [33.2, 66.8] (30 problems)"
    widths = {s: (lambda e: e.high - e.low)(references.interval(eprli, s)) for s in eprli.scores}
    assert max(widths, key=widths.get) == "aime24" and widths["math500"] < 0.06


@pytest.mark.parametrize("text", ["{", "[]", '{"suites": {}}', '{"suites": {"a": {"title": 1}}, "results": []}'])
def test_a_broken_reference_file_gives_one_sentence(tmp_path, text):
    file = tmp_path / "reference.json"
    file.write_text(text)
    with pytest.raises(UserError, match="is no reference file"):
        load_references(file)


def test_reference_files_must_describe_their_suites(tmp_path):
    file = tmp_path / "reference.json"
    result = {"name": "x", "source": "y", "unit": "percent", "scores": {"aime25": 1}, "average": 1}
    file.write_text(json.dumps({"suites": {}, "results": [result]}))
    with pytest.raises(UserError, match="does not describe: aime25"):
        load_references(file)
    with pytest.raises(UserError, match="cannot be read"):
        load_references(tmp_path / "none.json")
