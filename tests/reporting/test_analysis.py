"""Store, table, figures and report on a planted study; every number recomputed from the database by plain SQL."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import planted
import pytest
from conftest import rest_exhaustive
from scipy import stats
from stores import LEVELS, STEPS, SUITES, describe, open_parent, plant, spec_of

from eprli_lab.cli import options
from eprli_lab.cli.report import command as report
from eprli_lab.cli.table import command as table
from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.reporting.figures import buffer_rates, mean_curve
from eprli_lab.reporting.load import History, RunData, StudyData, load_study
from eprli_lab.reporting.report.write import write_report
from eprli_lab.reporting.tables.printers.text import WIDTH
from eprli_lab.reporting.tables.rows import ablation_table
from eprli_lab.reporting.tables.verdicts import verdict
from eprli_lab.sweeping.lifecycle import finish_study
from eprli_lab.tracking.description import StudyDescription
from eprli_lab.tracking.store import mlflow_client, prepare
from eprli_lab.tracking.uri import resolve_uri

pytestmark = pytest.mark.slow  # real stores and figures

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A working directory whose store holds several studies."""
    directory = tmp_path_factory.mktemp("analysis")
    before = Path.cwd()
    os.chdir(directory)
    where = TrackingSpec()
    assert prepare(where)
    parent = open_parent(where, "levels", describe(["l1", "l2", "l3"], [0, 1, 2]))
    for arm in LEVELS:
        for seed in range(3):
            plant(directory, parent, "levels", arm, seed, fail=(arm, seed) == ("l3", 2))
    one = open_parent(where, "one", describe(["l1", "l2", "l3"], [0]))
    plant(directory, one, "one", "l1", 0)
    plant(directory, one, "one", "l2", 0)
    open_parent(where, "empty", describe(["l1", "l2"], [0, 1]))
    bare = open_parent(where, "bare", describe(["l1", "l2"], [0, 1]))
    for seed in (0, 1):
        plant(directory, bare, "bare", "l1", seed)
        plant(directory, bare, "bare", "l2", seed, scored=False)
    orphan = directory / "orphans"
    plant(orphan, None, "orphans", "l2", 0)
    plant(orphan, None, "orphans", "l1", 0)
    yield directory
    os.chdir(before)


def load(name: str) -> StudyData:
    return load_study("sqlite:///mlflow.db", "eprli_lab", name)


def test_runs_without_the_objective_are_named(here):
    assert load("bare").notes == [
        f"l2 seed {seed} finished without a finite value of score, and is in no comparison" for seed in (0, 1)
    ]
    assert load("levels").notes == []  # every run is the planned one


class Sql:
    """The store without any of our code."""

    def __init__(self, directory: Path, study: str) -> None:
        self.db = sqlite3.connect(directory / "mlflow.db")
        query = "select r.run_uuid, t.key, t.value from runs r join tags t using (run_uuid) where r.status = 'FINISHED'"
        tags: dict[str, dict[str, str]] = {}
        for run, key, value in self.db.execute(query):
            tags.setdefault(run, {})[key] = value
        self.runs = {(t["arm"], int(t["seed"])): r for r, t in tags.items() if t.get("study") == study and "arm" in t}

    def values(self, arm: str, seed: int, metric: str) -> list[float]:
        query = "select value from metrics where run_uuid = ? and key = ? order by step, timestamp"
        return [v for (v,) in self.db.execute(query, (self.runs[arm, seed], metric))]


SEEDS = {"l1": (0, 1, 2), "l2": (0, 1, 2), "l3": (0, 1)}


def test_the_table_equals_the_store(here):
    sql, table = Sql(here, "levels"), ablation_table(load("levels"))
    assert [r.arm for r in table.rows] == ["l1", "l2", "l3"]
    for row in table.rows:
        seeds = SEEDS[row.arm]
        assert row.seeds == seeds

        def average(metric, pick, row=row, seeds=seeds):
            return statistics.fmean(pick(sql.values(row.arm, s, metric)) for s in seeds)

        for suite in SUITES:
            assert row.start[suite] == pytest.approx(average(f"eval/{suite}/avg_at_k", lambda v: v[0]), abs=1e-12)
            assert row.final[suite] == pytest.approx(average(f"eval/{suite}/avg_at_k", lambda v: v[-1]), abs=1e-12)
        assert row.score == pytest.approx(average("score", lambda v: v[-1]), abs=1e-12)
        assert row.updates == STEPS
        assert row.tokens == pytest.approx(1000 * STEPS + statistics.fmean(seeds))
        assert row.seconds == STEPS + 1
        lengths = [average(f"eval/{s}/response_tokens", lambda v: v[-1]) for s in SUITES]
        assert row.response_tokens == pytest.approx(statistics.fmean(lengths))
        assert list(row.admission_rate) == LEVELS[row.arm]
        for level in LEVELS[row.arm]:
            admitted = sum(sum(sql.values(row.arm, s, f"buffer/{level}/groups/admitted")) for s in seeds)
            generated = sum(sum(sql.values(row.arm, s, f"buffer/{level}/groups/generated")) for s in seeds)
            assert row.admission_rate[level] == pytest.approx(admitted / generated)
            clip = average(f"policy/{level}/clip_fraction/high", statistics.fmean)
            assert row.clip_fraction_high[level] == pytest.approx(clip)


def test_differences_are_paired_and_corrected(here):
    sql, table = Sql(here, "levels"), ablation_table(load("levels"))
    rows = {r.arm: r for r in table.rows}
    ps = {}
    for arm in ("l2", "l3"):
        mine = [sql.values(arm, s, "score")[-1] for s in SEEDS[arm]]
        base = [sql.values("l1", s, "score")[-1] for s in SEEDS[arm]]  # the common seeds
        test = stats.ttest_rel(mine, base)
        interval = test.confidence_interval(0.95)
        d = rows[arm].difference
        assert d.n == len(SEEDS[arm])
        assert (d.mean, d.p) == (
            pytest.approx(statistics.fmean(mine) - statistics.fmean(base)),
            pytest.approx(test.pvalue),
        )
        assert (d.low, d.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
        ps[arm] = test.pvalue
    assert rows["l2"].p_holm == pytest.approx(ps["l2"]), "l3 has two common seeds, and is not judged"
    assert rows["l2"].family == 1 and math.isnan(rows["l3"].p_holm)
    assert rows["l1"].difference is None
    assert "better" in verdict(rows["l2"], "l1", "score")
    assert "two seeds are shown, not judged" in verdict(rows["l3"], "l1", "score")
    other = ablation_table(load("levels"), "l2")
    assert {r.arm: r.difference.mean for r in other.rows if r.difference}["l1"] == pytest.approx(
        -rows["l2"].difference.mean
    )


def test_two_objectives_and_an_arm_with_its_own_baseline(here):
    data = load("levels")
    length = "eval/heldout_hard/response_tokens"
    objectives = [("score", "maximize"), (length, "minimize")]
    two = planted.described(data, objectives=objectives, arm_baselines={"l3": "l2"})
    table = ablation_table(two)
    rows = {r.arm: r for r in table.rows}
    assert [rows[a].baseline for a in ("l1", "l2", "l3")] == ["l1", "l1", "l2"]
    last = {a: {r.seed: r.last("score") for r in data.of(a)} for a in ("l1", "l2", "l3")}
    common = sorted(last["l2"].keys() & last["l3"].keys())
    own = statistics.fmean(last["l3"][s] - last["l2"][s] for s in common)
    assert rows["l3"].difference.mean == pytest.approx(own) and rows["l3"].difference.n == len(common)
    tokens = {a: {r.seed: r.last(length) for r in data.of(a)} for a in ("l1", "l2")}
    shorter = statistics.fmean(tokens["l2"][s] - tokens["l1"][s] for s in tokens["l1"])
    assert rows["l2"].secondary[length].mean == pytest.approx(shorter)
    text = table.text()
    assert " to l2" in text and "eval/heldout_hard/response_tokens" in text
    assert ablation_table(two, "l1").rows[2].baseline == "l1", "a given baseline goes before an arm's own"
    falling = planted.described(two, objectives=[("score", "minimize")])
    better, worse = ("better", "worse") if rows["l2"].difference.mean > 0 else ("worse", "better")
    assert better in verdict(rows["l2"], "l1", "score") and worse in verdict(rows["l2"], "l1", "score", "minimize")
    assert f"l2: {verdict(rows['l2'], 'l1', 'score', 'minimize')}" in " ".join(ablation_table(falling).text().split())


def test_the_table_at_the_end_of_a_sweep_keeps_the_baselines_that_arms_have_of_their_own(here, capsys):
    description = describe(["l1", "l2", "l3"], [0]) | {"arm_baselines": {"l3": "l2"}}
    parent = open_parent(TrackingSpec(), "own", description)
    for arm in LEVELS:
        plant(here, parent, "own", arm, 0)
    run = SimpleNamespace(spec=SimpleNamespace(tracking=TrackingSpec()))
    finish_study(SimpleNamespace(study="own", baseline="l1", runs=[run], spec=SimpleNamespace(figures=True)))
    ended = capsys.readouterr().out
    assert " to l2" in ended and ended.startswith(ablation_table(load("own")).text())


def test_a_forced_change_is_in_the_table(here):
    where = TrackingSpec()
    description = describe(["l1", "l2"], [0]) | {"forced": ["code train.py: aaa -> bbb"]}
    parent = open_parent(where, "forced", description)
    for arm in ("l1", "l2"):
        plant(here, parent, "forced", arm, 0)
    assert "a change was accepted with study.force: code train.py: aaa -> bbb" in ablation_table(load("forced")).text()
    assert "allow_overlap" not in ablation_table(load("forced")).text()


def test_suites_that_may_be_trained_on_are_in_the_table(here):
    more = ("data.allow_overlap=true",)
    description = describe(["l1", "l2"], [0])
    description["planned"]["l2"]["0"] = spec_of("s", "l2", 0, *more).fingerprint()
    parent = open_parent(TrackingSpec(), "shared", description)
    plant(here, parent, "shared", "l1", 0)
    plant(here, parent, "shared", "l2", 0, more=more)
    assert (
        "data.allow_overlap=true in l2: suites may hold problems that were trained on"
        in ablation_table(load("shared")).text()
    )


def test_a_search_is_no_comparison(here):
    data = load("levels")
    search = planted.described(data, kind="search", confirmed_in="levels")
    with pytest.raises(
        UserError, match="is a search: the values of its trials chose its winners and are no comparison"
    ):
        ablation_table(search)


def test_text_is_narrow_and_says_what_matters(here):
    text = ablation_table(load("levels")).text()
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    assert "levels: Q?" in text and "Claim: C." in text
    assert "l3 seed 2: failed (NonFiniteError: loss nan at step 12)" in text
    assert "two seeds are shown, not judged" in text
    flat = " ".join(text.split())
    assert "l2: level l2 added (quality_threshold=1.0, max_response_tokens=76, clip.high=0.2718)" in flat
    assert "curriculum.levels.l1.quality_threshold=0.5" in flat
    assert "seed=" not in flat.split("Differs from")[1]


def test_csv_keeps_every_digit(here):
    table = ablation_table(load("levels"))
    rows = {r["arm"]: r for r in csv.DictReader(io.StringIO(table.csv()))}
    assert float(rows["l2"]["score/end"]) == table.rows[1].score
    assert rows["l1"]["admission_rate/l3"] == ""
    seeds = list(csv.DictReader(io.StringIO(table.seeds_csv())))
    assert [(r["arm"], r["seed"]) for r in seeds] == [(a, str(s)) for a, ss in SEEDS.items() for s in ss]
    sql = Sql(here, "levels")
    assert all(float(r["score/end"]) == sql.values(r["arm"], int(r["seed"]), "score")[-1] for r in seeds)


def test_markdown_rows_have_as_many_cells_as_headers(here):
    for block in ablation_table(load("levels")).markdown().split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1


def test_one_seed_claims_nothing(here):
    table = ablation_table(load("one"))
    text = table.text()
    assert "one common seed: no interval, so nothing can be said" in text
    assert "[no interval, n=1]" in text
    assert "l3 seed 0: not run" in text
    assert "nan" not in text
    assert "nan" not in table.csv()


def test_runs_without_scores_are_shown_as_missing(here):
    table = ablation_table(load("bare"))
    row = table.rows[1]
    assert math.isnan(row.score) and row.difference.n == 0 and row.updates == STEPS
    assert "no seed in common with l1, so no comparison" in table.text()
    assert "nan" not in table.text()


def test_runs_without_a_parent_are_enough(here):
    table = ablation_table(load("orphans"))
    assert table.baseline == "l2"  # the first that was logged
    assert [r.arm for r in table.rows] == ["l2", "l1"]
    assert "level l2 left out" in table.text()


def test_the_last_of_several_finished_runs_counts_and_it_is_said(here):
    for _ in range(2):
        plant(here / f"again{_}", None, "twice", "l1", 0)
    study = load("twice")
    assert len(study.runs) == 1
    assert study.runs[0].run_id == Sql(here, "twice").runs["l1", 0]
    assert "finished more than once" in ablation_table(study).text()


def test_wide_tables_are_split(here):
    study = load("levels")
    many = {f"arm{i}": i for i in range(9)}
    runs = [RunData(f"r{i}", arm, 0, {}, dict(study.runs[-1].histories)) for arm, i in many.items()]
    for run in runs:
        for i in range(12):
            run.histories[f"eval/benchmark_number_{i}/avg_at_k"] = History.of([(0, 0.1), (1, 0.2)])
    text = ablation_table(StudyData("wide", StudyDescription(arms=tuple(many)), None, runs, [])).text()
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    assert "benchmark_number_11" in text


# --- the report --------------------------------------------------------------------------------------------------


def test_the_report_is_written_and_attached_to_the_parent(here, tmp_path):
    text = write_report("sqlite:///mlflow.db", "eprli_lab", "levels", tmp_path / "out")
    names = {"report.html", "report.md", "seeds.csv", "table.csv", "table.md", "table.tex", "table.txt"}
    names |= {f"{n}.png" for n in ("buffer", "learning_curves", "effects", "forgetting", "q_order", "pareto")}
    names |= {f"{n}.png" for n in ("learning_curves_updates", "learning_curves_seconds", "clipping_entropy_kl")}
    names |= {"effects_by_suite.png", "learning_curves_by_suite.png"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == names
    assert (tmp_path / "out" / "table.txt").read_text() == text + "\n"
    study, table = load("levels"), ablation_table(load("levels"))
    for figure in ("buffer.png", "learning_curves.png"):
        assert (tmp_path / "out" / figure).read_bytes()[:4] == b"\x89PNG"
    for name in ("table.csv", "report.html", "report.md", "effects.png"):
        found = list((here / "mlartifacts").rglob(f"{study.parent_run_id}/artifacts/report/{name}"))
        assert [f.read_bytes() for f in found] == [(tmp_path / "out" / name).read_bytes()]
    parent = mlflow_client(resolve_uri("sqlite:///mlflow.db")).get_run(study.parent_run_id)
    assert parent.info.status == "RUNNING", "the sweep ends the study, not its report"
    assert parent.data.metrics["summary/l2/score"] == table.rows[1].score
    assert parent.data.metrics["summary/l2/difference"] == table.rows[1].difference.mean
    note = parent.data.tags["mlflow.note.content"]
    figure = f"![the difference of each arm, with its interval](get-artifact?path=report%2Feffects.png&run_uuid={study.parent_run_id})\n\n"
    assert note.count(figure) == 1 and "<!--" not in note, "the ids of runs are in the file alone"
    assert table.markdown().startswith(note.replace(figure, "")), "the figure stands before the first table"
    assert (tmp_path / "out" / "table.md").read_text() == table.markdown()


@pytest.mark.exhaustive
def test_the_report_and_the_table_command_print_the_same_document(here, tmp_path, capsysbinary):
    write_report("sqlite:///mlflow.db", "eprli_lab", "levels", tmp_path)
    capsysbinary.readouterr()
    for form, ending in (("csv", "csv"), ("md", "md"), ("latex", "tex")):
        assert table.run(["study=levels", f"format={form}"]) == 0
        assert capsysbinary.readouterr().out == (tmp_path / f"table.{ending}").read_bytes(), form
    command = [sys.executable, "-m", "analysis.table", "study=levels", "format=text"]
    done = subprocess.run(command, cwd=here, capture_output=True, env=os.environ | {"PYTHONPATH": str(REPO)})
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "table.txt").read_bytes()


@pytest.mark.parametrize("study", rest_exhaustive(["bare", "one", "empty", "orphans"]))
def test_poor_studies_give_a_report_too(here, tmp_path, study):
    text = write_report("sqlite:///mlflow.db", "eprli_lab", study, tmp_path)
    assert "arm" in text and "nan" not in text
    assert ("empty" == study) == ("not run" in text and "l1 seed 0" in text)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["study=levls"], "no such study (did you mean 'levels'?)"),
        (["study=levels", "baseline=l22"], "no such arm (did you mean 'l2'?)"),
        (["sweep=levels", "preset=smoke"], "study=levels-smoke"),
        ([], "which study?"),
        (["levels"], "'levels' is not key=value"),
        (["sweeps=levels"], "did you mean 'sweep'?"),
        (["sweep=levels", "tracking.uri=nowhere"], "tracking.uri: 'nowhere' is no tracking URI"),
        (["sweep=levels", "tracking.uri=sqlite:///none.db"], "there is no "),
        (["sweep=levels", "tracking.uri=http://127.0.0.1:9"], "cannot be read"),
        (["sweep=levels", "tracking.experiment=other"], "has no experiment 'other'"),
        (["sweep=levels", "out=/proc/nowhere"], "cannot be written"),
        (["sweep=levels", "sweep=order"], "sweep: given twice (levels, order)"),
        (["sweep=levels", "formats=gif"], "formats=gif: there is png, svg, pdf"),
        (["sweep=levels", "margin=0"], "margin=0: give the smallest difference"),
        (["compare=levels"], "compare=levels: give two studies or more"),
        (["compare=levels,levls"], "no such study (did you mean 'levels'?)"),
        (["compare=levels,one", "baseline=l9"], "baseline=l9: none of levels, one has such an arm"),
    ],
)
def test_mistakes_get_one_sentence(here, arguments, sentence, capsys):
    assert report.run(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("eprli_lab: ") and len(error.splitlines()) == 1
    assert sentence in error


def test_names_of_studies():
    assert options.study_name({"sweep": "levels"}, "") == "levels"
    assert options.study_name({"sweep": "levels", "preset": "default"}, "") == "levels"
    assert options.study_name({"sweep": "levels", "preset": "smoke"}, "") == "levels-smoke"
    assert options.study_name({"study": "mine"}, "") == "mine"
    with pytest.raises(UserError, match="sweep=levels: study=mine is the whole name already"):
        options.study_name({"sweep": "levels", "study": "mine"}, "")


@pytest.mark.exhaustive
def test_the_command_works_from_any_directory(here, tmp_path):
    shutil.copy(here / "mlflow.db", tmp_path / "mlflow.db")
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    command = [sys.executable, "-m", "analysis.report", "sweep=levels"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and "/report.html   open it: eprli-lab open levels\n" in done.stdout
    assert (tmp_path / "reports" / "levels" / "table.md").is_file()


# --- figures -----------------------------------------------------------------------------------------------------


def test_buffer_rates_keep_every_group():
    steps = {1: (1000.0, 4), 2: (2500.0, 6), 3: (3000.0, 2)}  # tokens so far, admitted
    histories = {
        "progress/tokens": History.of((s, t) for s, (t, _) in steps.items()),
        "buffer/l1/groups/admitted": History.of((s, n) for s, (_, n) in steps.items()),
    }
    run = RunData("r", "a", 0, {}, histories)
    rates = buffer_rates([run, run], "l1", [0.0, 1.0, 2.0, 3.0])
    # by hand: 4; then two thirds of 6; then one third of 6 and 2
    assert rates["admitted"] == [pytest.approx(4), pytest.approx(4), pytest.approx(4)]
    assert rates["too_hard"] == [0, 0, 0]


def test_mean_curves():
    assert mean_curve([[(0, 0.0), (1, 1.0)], [(0, 1.0), (3, 2.0)]]) == [(0, 0.5), (2, 1.5)]
    between = mean_curve([[(0, 0.0), (2, 2.0)], [(0, 0.0), (1, 1.0), (2, 2.0)]])
    assert all(y == pytest.approx(x) for x, y in between)
    assert mean_curve([[], []]) == []


def test_unknown_studies_are_refused_with_those_that_exist(here):
    with pytest.raises(UserError, match=r"bare, empty, (forced, )?levels, one"):
        load("zzzzzz")


def test_the_description_is_what_the_parent_holds(here):
    study = load("levels")
    assert study.description == StudyDescription.from_tag(json.dumps(describe(["l1", "l2", "l3"], [0, 1, 2])))
    assert (study.description.baseline, study.description.seeds) == ("l1", (0, 1, 2))
    assert study.suites == list(SUITES)
