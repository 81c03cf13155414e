"""What analysis makes of stores, tags, artifacts and terminals that are not as they should be."""

from __future__ import annotations

import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import planted
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stores import describe, open_parent, plant

from eprli_lab.cli.check import command as check
from eprli_lab.cli.errors import exit_code
from eprli_lab.cli.report import command as report
from eprli_lab.cli.table import command as table
from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.reporting import artifacts
from eprli_lab.reporting.check import compare
from eprli_lab.reporting.load import History, load_study
from eprli_lab.reporting.membership import UNCHECKED
from eprli_lab.reporting.report.note import LONGEST, parent_note
from eprli_lab.reporting.report.write import _again, write_report
from eprli_lab.reporting.report.write import read as report_read
from eprli_lab.reporting.tables.columns import chosen, columns
from eprli_lab.reporting.tables.render import render
from eprli_lab.reporting.tables.rows import ablation_table
from eprli_lab.reporting.tables.verdicts import headline
from eprli_lab.tracking.store import mlflow_client, prepare
from eprli_lab.tracking.uri import check_reachable

pytestmark = pytest.mark.slow  # real stores and figures

URI = "sqlite:///mlflow.db"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store of one study: two arms, two seeds."""
    directory = tmp_path_factory.mktemp("whole")
    before = Path.cwd()
    os.chdir(directory)
    prepare(TrackingSpec())
    parent = open_parent(TrackingSpec(), "s", describe(["l1", "l2"], [0, 1]))
    for arm in ("l1", "l2"):
        for seed in (0, 1):
            plant(directory, parent, "s", arm, seed)
    os.chdir(before)
    return directory


@pytest.fixture
def store(whole, tmp_path, monkeypatch):
    """A copy of it in the working directory, with its artifacts beside it; SQL to damage it."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for module in ("store", "read"):
        monkeypatch.setattr(f"eprli_lab.tracking.{module}.mlflow_client", mlflow_client.__wrapped__)

    def execute(sql: str, *values: object) -> list:
        connection = sqlite3.connect("mlflow.db")
        with connection:
            rows = connection.execute(sql, values).fetchall()
        connection.close()
        return rows

    execute("UPDATE runs SET artifact_uri = replace(artifact_uri, ?, ?)", str(whole), str(tmp_path))
    execute("UPDATE experiments SET artifact_location = replace(artifact_location, ?, ?)", str(whole), str(tmp_path))
    return execute


def tag(store, key: str, value: str, of: str = "s") -> None:
    store(
        "UPDATE tags SET value = ? WHERE key = ? AND run_uuid = (SELECT run_uuid FROM runs WHERE name = ?)",
        value,
        key,
        of,
    )


def note(store) -> str:
    return store("SELECT value FROM tags WHERE key = 'mlflow.note.content'")[0][0]


@pytest.mark.exhaustive
def test_a_report_leaves_what_is_not_its_own(store, tmp_path):
    """The parent's status, a person's note, and, with another baseline, the summary."""
    store("UPDATE runs SET status = 'RUNNING', end_time = NULL WHERE name = 's'")
    write_report(URI, "eprli_lab", "s", tmp_path / "out")
    assert store("SELECT status FROM runs WHERE name = 's'") == [("RUNNING",)]
    assert note(store).startswith("## s: Q?") and "l2" in note(store)
    summary = "SELECT key, value FROM latest_metrics WHERE key LIKE 'summary/%' ORDER BY key"
    before = store(summary)
    assert "summary/l2/difference" in dict(before)
    write_report(URI, "eprli_lab", "s", tmp_path / "out", baseline="l2")
    assert store(summary) == before
    tag(store, "mlflow.note.content", "MY NOTES")
    write_report(URI, "eprli_lab", "s", tmp_path / "out", end=True)
    assert note(store) == "MY NOTES" and store("SELECT status FROM runs WHERE name = 's'") == [("FINISHED",)]


def test_a_parent_that_cannot_be_written_costs_a_sentence(store, tmp_path, capsys):
    store("UPDATE alembic_version SET version_num = 'deadbeef'")  # the tables of another MLflow
    assert report.run(["study=s", "out=out"]) == 0
    done = capsys.readouterr()
    assert "How it reads" in done.out and (tmp_path / "out" / "report.html").stat().st_size > 1000
    assert done.err.count("\n") == 1 and "is written, but not attached to the study's parent run" in done.err


def test_a_note_that_is_too_long_is_a_sentence():
    many = ablation_table(planted.study(tuple(f"arm{i:02}" for i in range(60)), seeds=2))
    short = parent_note(many, "0123", "effects.png")
    assert len(short) < LONGEST and headline(many) in short
    assert "](get-artifact?path=report%2Feffects.png&run_uuid=0123)" in short
    assert "get-artifact" not in parent_note(many, "0123", None)


@pytest.mark.parametrize(
    "broken",
    ["{broken", "[]", "null", '{"arms": ["l1"], "seeds": 4}', '{"objectives": ["score"]}',
     '{"objectives": [{"direction": "maximize"}]}', '{"objectives": [{"metric": "score", "direction": "up"}]}', '{"arm_baselines": ["x"]}', '{"seeds": ["a"]}'],
)  # fmt: skip
def test_a_broken_description_is_said_and_the_runs_are_shown(store, broken):
    tag(store, "eprli.study", broken)
    data = load_study(URI, "eprli_lab", "s")
    assert sorted(data.arms) == ["l1", "l2"] and "(tag eprli.study) cannot be read" in data.notes[0]
    assert len(ablation_table(data).rows) == 2


def test_an_objective_without_a_direction_is_maximized(store):
    tag(store, "eprli.study", '{"objectives": [{"metric": "score"}]}')
    data = load_study(URI, "eprli_lab", "s")
    assert data.objectives == [("score", "maximize")] and data.notes == [UNCHECKED]


def test_broken_provenance_and_seeds(store, tmp_path):
    tag(store, "eprli.provenance", "{broken", "l2/seed0")
    tag(store, "seed", "zero", "l2/seed1")
    assert "l2" in write_report(URI, "eprli_lab", "s", tmp_path / "out")
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "has no tag that says its seed, and is left out" in page and "## Provenance" in page


def test_infinities_come_back_as_infinities(store):
    store("UPDATE metrics SET value = 1.7976931348623157e308 WHERE key = 'score' AND step = 12 AND run_uuid = "
          "(SELECT run_uuid FROM runs WHERE name = 'l2/seed0')")  # fmt: skip
    data = load_study(URI, "eprli_lab", "s")
    run = next(r for r in data.runs if (r.arm, r.seed) == ("l2", 0))
    assert run.last("score") == math.inf and run.total("score") == math.inf
    assert "l2 seed 0 finished without a finite value of score, and is in no comparison" in data.notes
    assert ablation_table(data).rows[1].difference.n == 1


def test_infinities_beside_what_is_no_number(store):
    """nan compares to nothing: an infinity after it is found all the same."""
    of = "key = 'score' AND run_uuid = (SELECT run_uuid FROM runs WHERE name = 'l2/seed0')"
    store(f"UPDATE metrics SET is_nan = 1, value = 0 WHERE step = 0 AND {of}")
    store(f"UPDATE metrics SET value = -1.7976931348623157e308 WHERE step = 12 AND {of}")
    run = next(r for r in load_study(URI, "eprli_lab", "s").runs if (r.arm, r.seed) == ("l2", 0))
    assert math.isnan(run.first("score")) and run.last("score") == -math.inf


def test_metrics_of_other_shapes_and_no_params(store):
    run_id = store("SELECT run_uuid FROM runs WHERE name = 'l2/seed0'")[0][0]
    store(
        "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES ('policy/x', 1, 1, 1, 0, ?)",
        run_id,
    )
    store("DELETE FROM params")
    text = ablation_table(report_read(URI, "eprli_lab", "s")).text()
    assert "l2: (params were not logged)" in text


def test_unreadable_metrics_are_one_sentence(store, capsys):
    store("DROP TABLE metrics")
    for command in (table, report):
        assert command.run(["study=s"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "the metrics of sqlite:///mlflow.db cannot be read: no such table" in error


@pytest.mark.parametrize(
    "bad",
    [{"samples": 0}, {"correct": None}, {"step": None}, {"difficulty": "hard"}, {"correct": 99}, None],
)
def test_outcomes_that_cannot_be_are_no_outcomes(tmp_path, bad):
    good = {"suite": "u", "problem": "p", "difficulty": 0.5, "samples": 4, "correct": 2, "step": 0}
    file = tmp_path / "outcomes.parquet"
    pq.write_table(pa.Table.from_pylist([good]), file)
    assert artifacts._rows(file, artifacts.OUTCOMES) == [good]
    empty = pa.Table.from_pylist([good]).slice(0, 0)
    pq.write_table(empty if bad is None else pa.Table.from_pylist([good | bad]), file)
    assert artifacts._rows(file, artifacts.OUTCOMES) is None


# --- nothing to show ---------------------------------------------------------------------------------------------


def test_nothing_is_not_a_finding(store, capsys):
    assert check.run(["levels", "study=s", "arms=l1,l2", "out=o"]) == 0
    store("UPDATE runs SET status = 'FAILED' WHERE name <> 's'")
    assert check.run(["sharing", "study=s"]) == 2
    assert "has nothing to check" in capsys.readouterr().err
    assert headline(ablation_table(planted.study(("only",)))) == "There is one arm, so nothing is compared."
    lone = planted.study(seeds=1)
    assert all(line.endswith("one seed shows nothing") for line in compare(lone)[:4])
    apart = planted.study(seeds=2)
    apart.runs[:] = [r for r in apart.runs if (r.arm, r.seed) in (("plain", 0), ("other", 1))]
    assert compare(apart) == ["other - plain: no seed in common, so nothing is compared"]


def test_a_suite_may_be_named_like_a_column():
    study = planted.study()
    for run in study.runs:
        logged = dict(run.histories)
        run.histories.clear()
        for metric, history in logged.items():
            run.histories[metric.replace("heldout_hard", "p_holm").replace("heldout_easy", "arm")] = history
    shown = ablation_table(study)
    assert len({c.name for c in columns(shown)}) == len(columns(shown))
    names = [c.name for c in chosen(shown)]
    assert names[0] == "arm" and {"suite/p_holm", "suite/arm", "heldout_medium"} <= set(names)
    assert "| plain | 4 |" in render(shown, chosen(shown), "md")


def test_the_end_of_the_search_for_seeds_is_no_number():
    study = planted.study()
    for run in study.of("other"):
        end = run.last("score") + 0.1 * (-1) ** run.seed
        run.histories["score"] = History.of([(40, end)])
    from test_rules import cells

    row = cells(study, "what the seeds can show", "other", margin=1e-5)
    assert row[4] == ">9,999 (>9,999 to >9,999)"


# --- the command line --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        (check, ["levels", "study=s", "baseline=l2"], "baseline: unknown key"),
        (report, ["compare=s,t", "formats=pdf"], "formats=pdf has no meaning beside compare="),
    ],
)
def test_what_has_no_meaning_is_refused(store, command, arguments, sentence, capsys):
    assert command.run(arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1


def test_every_format_comes_with_the_figures_that_the_twin_links_to(store, tmp_path):
    write_report(URI, "eprli_lab", "s", tmp_path / "out", formats=("svg",))
    linked = {
        line.rpartition("(")[2].rstrip(")")
        for line in (tmp_path / "out" / "report.md").read_text().splitlines()
        if line.startswith("![")
    }
    assert linked and all((tmp_path / "out" / name).is_file() for name in linked)
    assert (tmp_path / "out" / "effects.svg").is_file()


def test_interrupts_and_full_disks(capsys):
    def interrupted():
        raise KeyboardInterrupt

    def full():
        raise OSError(28, "No space left on device")

    assert exit_code(interrupted) == 130
    assert exit_code(full) == 2
    assert capsys.readouterr().err == (
        "eprli_lab: interrupted; the same command begins again\n"
        "eprli_lab: the output cannot be written (No space left on device)\n"
    )


@pytest.mark.exhaustive
def test_a_terminal_without_our_letters(store, tmp_path):
    tag(store, "eprli.study", json.dumps(describe(["l1", "l2"], [0, 1]) | {"question": "größer → besser?"}))
    env = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-m", "analysis.report", "study=s", "out=out"], capture_output=True, env=env)
    assert done.returncode == 0, done.stderr
    assert "größer → besser?" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_words_of_the_command_that_makes_a_report_again():
    there = TrackingSpec(uri="sqlite:///there.db")
    assert _again(there, "b", 0.05) == ["baseline=b", "margin=0.05", "tracking.uri=sqlite:///there.db"]
    assert _again(TrackingSpec(), None, None) == []
    secret = TrackingSpec(uri="postgresql://me:password@host/db")
    assert _again(secret, None, None) == ["tracking.uri=env:EPRLI_TRACKING_URI"], "no password in a report"


def test_a_path_that_mlflow_would_misread_is_refused(tmp_path):
    with pytest.raises(ConnectionError, match="reads % in a path as an escape"):
        (tmp_path / "a%20b").mkdir()
        check_reachable(f"sqlite:///{tmp_path}/a%20b/mlflow.db")


def test_a_search_takes_no_baseline(store, tmp_path):
    tag(store, "eprli.study", json.dumps(describe(["l1", "l2"], [0, 1]) | {"kind": "search"}))
    with pytest.raises(UserError, match="baseline=l1: s is a search, which compares nothing"):
        write_report(URI, "eprli_lab", "s", tmp_path / "out", baseline="l1")
