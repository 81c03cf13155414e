"""A table holds the runs that its study planned, in a real store; others of the same name are named beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from stores import describe, spec_of

from eprli_lab.config.spec import RunSpec, TrackingSpec
from eprli_lab.reporting.load import StudyData, load_study
from eprli_lab.reporting.membership import UNCHECKED
from eprli_lab.reporting.tables.rows import ablation_table
from eprli_lab.tracking import names
from eprli_lab.tracking.description import TAG, StudyDescription
from eprli_lab.tracking.parent import open_parent
from eprli_lab.tracking.read import read_runs
from eprli_lab.tracking.run import RunTracker

pytestmark = pytest.mark.slow  # real stores and figures

URI = "sqlite:///mlflow.db"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def log(spec: RunSpec, score: float, **more: float) -> str:
    """One finished run; its id."""
    place = Path(f"runs/{len(list(Path('runs').glob('*'))) if Path('runs').is_dir() else 0}")
    tracker = RunTracker(spec, parent_run_id=None, run_id=None, run_dir=place)
    tracker.log({"score": 0.1, names.TOKENS: 0.0, names.TOTAL_SECONDS: 0.0}, 0)
    tracker.log({"score": score, names.TOKENS: 9.0, names.TOTAL_SECONDS: 1.0 + len(str(place))} | more, 5)
    tracker.finish("FINISHED", None)
    return str(tracker.run_id)


def planned(study: str, arms: list[str], seeds: list[int], **more: object) -> StudyDescription:
    return StudyDescription.from_tag(json.dumps({**describe(arms, seeds), **more}))


def load(study: str) -> StudyData:
    return load_study(URI, "eprli_lab", study)


def scores(study: str) -> dict[tuple[str, int], float]:
    return {(r.arm, r.seed): r.last("score") for r in load(study).runs}


def other(study: str, arm: str, seed: int) -> RunSpec:
    """The same arm and seed under another configuration: another user's, or of an earlier try."""
    spec = spec_of(study, arm, seed)
    return spec.model_copy(update={"optim": spec.optim.model_copy(update={"learning_rate": 0.25})})


def test_runs_of_another_configuration_arm_or_seed_are_named_and_never_averaged_in() -> None:
    where = TrackingSpec()
    open_parent(where, "s", planned("s", ["l1", "l2"], [0, 1]))
    for arm in ("l1", "l2"):
        for seed in (0, 1):
            log(spec_of("s", arm, seed), 0.5)
    foreign = log(other("s", "l1", 0), 0.9)  # later: it would be the one that counts
    outside = log(spec_of("s", "l2", 7), 0.9)
    unknown = log(spec_of("s", "l1", 0).model_copy(update={"arm": "l9"}), 0.9)
    assert scores("s") == {(arm, seed): 0.5 for arm in ("l1", "l2") for seed in (0, 1)}
    data = load("s")
    assert data.notes == [
        f"l1: 1 run ({foreign}) of this name (seed 0) are not in the table: their configuration is not the planned one",
        f"l2: 1 run ({outside}) of this name (seed 7) are not in the table: the study does not plan these seeds",
        f"l9: 1 run ({unknown}) of this name (seed 0) are not in the table: the study plans no such arm",
    ]
    assert data.arms == ["l1", "l2"] and data.unfinished == []
    assert foreign in ablation_table(data).text(), "beside the table"


def test_of_the_planned_runs_the_last_one_counts() -> None:
    open_parent(TrackingSpec(), "s", planned("s", ["l1"], [0]))
    for score in (0.4, 0.6):
        log(spec_of("s", "l1", 0), score)
    log(other("s", "l1", 0), 0.9)
    assert scores("s") == {("l1", 0): 0.6}
    assert "l1 seed 0 finished more than once: the last one counts" in load("s").notes[1]


def test_a_study_of_an_earlier_version_loads_and_says_that_nothing_was_checked() -> None:
    old = {k: v for k, v in describe(["l1"], [0]).items() if k not in ("planned", "configurations")}
    open_parent(TrackingSpec(), "s", StudyDescription.from_tag(json.dumps(old)))
    log(spec_of("s", "l1", 0), 0.5)
    assert scores("s") == {("l1", 0): 0.5} and load("s").notes == [UNCHECKED]
    log(spec_of("orphan", "l1", 0), 0.5)
    assert load("orphan").notes == [UNCHECKED]


def test_a_run_that_takes_values_from_another_is_known_by_what_was_planned() -> None:
    after = {"l2": {"budget.amount": "l1 progress/updates"}}
    plan = planned("s", ["l1", "l2"], [0], after=after)
    plan = plan.model_copy(update={"planned": {**plan.planned, "l2": {"0": "ffffffffffff"}}})
    open_parent(TrackingSpec(), "s", plan)
    log(spec_of("s", "l1", 0), 0.5)
    log(spec_of("s", "l2", 0).model_copy(update={"planned": "ffffffffffff"}), 0.6)
    assert scores("s") == {("l1", 0): 0.5, ("l2", 0): 0.6} and load("s").notes == []
    log(spec_of("s", "l2", 0).model_copy(update={"planned": "aaaaaaaaaaaa"}), 0.9)
    assert scores("s")["l2", 0] == 0.6
    log(spec_of("s", "l2", 0), 0.7)  # as an earlier version logged it
    assert scores("s")["l2", 0] == 0.7 and "logged no plan" in " ".join(load("s").notes)


def test_two_plans_of_one_name_have_a_parent_each_and_a_plan_grows() -> None:
    where = TrackingSpec()
    first = open_parent(where, "s", planned("s", ["l1"], [0]))
    assert open_parent(where, "s", planned("s", ["l2"], [1])) == first, "more arms and seeds of the same plan"
    both = StudyDescription.from_tags(next(r.tags for r in read_runs(where, "s") if r.run_id == first))
    assert both.arms == ("l2", "l1") and both.planned == {
        arm: {str(seed): spec_of("s", arm, seed).fingerprint()} for arm, seed in (("l1", 0), ("l2", 1))
    }
    assert {(u.arm, u.seed) for u in load("s").unfinished} == {("l1", 0), ("l2", 1)}, "no seed that nobody planned"
    changed = planned("s", ["l1"], [5])  # other seeds do not make it the same plan
    changed = changed.model_copy(update={"configurations": {"l1": other("s", "l1", 0).fingerprint()}})
    second = open_parent(where, "s", changed)
    assert second != first and load("s").parent_run_id == second
    assert open_parent(where, "s", planned("s", ["l1"], [0])) == first and load("s").parent_run_id == first
    assert load_study(URI, "eprli_lab", "s", parent_run_id=second).parent_run_id == second


def test_400_arms_of_ten_seeds_are_checked(tmp_path: Path) -> None:
    """Their fingerprints take 90,000 characters; a tag of MLflow holds 8,000."""
    arms = [f"an_arm_with_a_long_name_{i}" for i in range(400)]
    fingerprints = {arm: {str(s): f"{i * 10 + s:012x}" for s in range(10)} for i, arm in enumerate(arms)}
    plan = StudyDescription(
        arms=tuple(arms), seeds=tuple(range(10)), planned=fingerprints, configurations=dict.fromkeys(arms, "0" * 12)
    )
    where = TrackingSpec()
    parent = open_parent(where, "s", plan)
    tags = next(r.tags for r in read_runs(where, "s") if r.run_id == parent)
    assert StudyDescription.from_tags(tags) == plan and len(plan.to_tag()) > 80_000
    assert max(len(v) for v in tags.values()) <= 8000 and f"{TAG}.10" in tags
    log(spec_of("s", "l1", 0).model_copy(update={"arm": arms[399]}), 0.9)
    data = load("s")
    assert len(data.unfinished) == 4000 and data.runs == [] and "not the planned one" in data.notes[0]
    few = plan.model_copy(update={"arms": ("x",), "planned": {}, "configurations": {}, "seeds": (0,)})
    assert StudyDescription.from_tags({**tags, **few.to_tags(tags)}) == few, "nothing is left of a longer one"


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (lambda tag: tag, 2),
        (lambda tag: "b" * 12 + tag[12:], 1),  # of another search
        (lambda tag: tag[:12] + ".other", 1),  # another point under the same name of a trial: the last one counts
    ],
)
def test_trials_of_a_search_are_of_its_space_and_of_one_point(change: Callable[[str], str], kept: int) -> None:
    plan = StudyDescription(kind="search", seeds=(0, 1), searched="a" * 12, confirmed_in="s", trials=3)
    open_parent(TrackingSpec(), "s-search", plan)
    tag = f"{'a' * 12}.point"
    for seed in (0, 1):
        spec = spec_of("s-search", "l1", seed)
        log(spec.model_copy(update={"arm": "t0000", "planned": change(tag) if seed == 0 else tag}), 0.5)
    data = load("s-search")
    assert len(data.runs) == kept and len(data.notes) == (kept < 2)


def test_equal_scores_of_unequal_runs_are_found_in_what_the_table_does_not_read() -> None:
    open_parent(TrackingSpec(), "s", planned("s", ["l1", "l2", "l3"], [0, 1, 2]))
    for seed in (0, 1, 2):
        for arm, entropy in (("l1", 0.5), ("l2", 0.5), ("l3", 0.4)):
            log(spec_of("s", arm, seed), 0.6, **{names.policy("l1", "entropy"): entropy})
    rows = {r.arm: r for r in ablation_table(load_study(URI, "eprli_lab", "s", lambda m: False)).rows}
    assert rows["l2"].is_identical and not rows["l3"].is_identical
