"""The HTML report and its twin; tables in every format; several studies; what real browsers make of it."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import shutil
import subprocess

import planted
import pytest

from eprli_lab.errors import UserError
from eprli_lab.reporting import figures
from eprli_lab.reporting.artifacts import Artifacts
from eprli_lab.reporting.diagnosis.finding import Finding
from eprli_lab.reporting.load import History, StudyData
from eprli_lab.reporting.report.page import Cell, Page, Section, TableBlock
from eprli_lab.reporting.report.sections import FOLDED, comparison_page, finding_items, study_page
from eprli_lab.reporting.tables.columns import best, chosen, columns
from eprli_lab.reporting.tables.render import render
from eprli_lab.reporting.tables.rows import ablation_table, headline, search_note

NOTHING = Artifacts({}, {}, [])
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def page_of(study: StudyData) -> Page:
    return study_page(study, ablation_table(study), list(figures.pictures(study)), NOTHING, None, 0.03)


# --- tables ------------------------------------------------------------------------------------------------------


def clear_winner() -> StudyData:
    return planted.study(arms=("plain", "other", "third"), other=(0.2, 0.2, 0.2))


def test_bold_only_where_every_interval_says_so():
    study = clear_winner()
    table = ablation_table(study)
    by_name = {c.name: c for c in columns(table)}
    assert best(table, by_name["score"]) == "other"
    assert best(table, by_name["updates"]) is None, "not compared seed by seed"
    same = ablation_table(planted.study())
    assert best(same, {c.name: c for c in columns(same)}["score"]) is None
    shown = render(table, chosen(table), "md")
    assert "**" in shown.splitlines()[3] and "**" not in shown.splitlines()[2] + shown.splitlines()[4]
    assert r"\textbf{" in render(table, chosen(table), "latex")


def test_every_format_traces_to_run_ids():
    table = ablation_table(planted.study())
    for form in ("md", "latex", "csv", "html"):
        text = render(table, chosen(table), form)
        assert all(run.run_id in text for run in table.study.runs), form
    rows = list(csv.DictReader(io.StringIO(render(table, chosen(table), "csv"))))
    assert [r["runs"] for r in rows] == ["plain-0 plain-1 plain-2 plain-3", "other-0 other-1 other-2 other-3"]
    assert float(rows[1]["difference"]) == table.rows[1].difference.mean


def test_latex_is_escaped_and_balanced():
    study = planted.study(arms=("plain", "a_b&50%"))
    text = render(ablation_table(study), chosen(ablation_table(study)), "latex")
    assert r"a\_b\&50\%" in text and r"heldout\_easy" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {len(chosen(ablation_table(study))) - 1}


def test_latex_sets_a_minus_before_numbers_only():
    study = planted.study(arms=("plain", "clip-0.2"), **{"clip-0.2": (-0.05, -0.05, -0.05)})
    lines = render(ablation_table(study), chosen(ablation_table(study)), "latex").splitlines()
    row = next(line for line in lines if line.startswith("clip-0.2"))
    assert "$-$.0" in row and "[$-$.0" in row and " -" not in row and "[-" not in row


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_under_booktabs(tmp_path):
    study = planted.study(arms=("plain", "a_b&50%"))
    table = render(ablation_table(study), chosen(ablation_table(study)), "latex")
    head = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
    (tmp_path / "t.tex").write_text(f"{head}{table}\\end{{document}}\n")
    done = subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.slow
def test_further_objectives_are_columns_with_their_own_direction():
    study = planted.study(arms=("plain", "short"))
    for run in study.runs:
        length = {"plain": 20.0, "short": 15.0}[run.arm] + 0.1 * run.seed * (1 if run.arm == "plain" else -1)
        run.histories["response_tokens"] = History.of([(0, 20.0), (40, length)])
    study.description["objectives"] = [
        {"metric": "score", "direction": "maximize"},
        {"metric": "response_tokens", "direction": "minimize"},
    ]
    table = ablation_table(study)
    by_name = {c.name: c for c in columns(table)}
    assert len(by_name) == len(columns(table)), "each name once"
    shown = [by_name[n].text(table.rows[1]) for n in ("response_tokens", "response_tokens/difference")]
    assert shown[0] == "14.850" and shown[1].startswith("-5.300 [")
    assert by_name["response_tokens/difference"].text(table.rows[0]) == "baseline"
    assert best(table, by_name["response_tokens"]) == "short", "less is better"
    row = table.rows[1]
    assert row.others_p == {"response_tokens": row.others["response_tokens"].p}, "one comparison: nothing to correct"
    assert "; response_tokens -5.300" in (reads := table.verdicts(row)) and reads.endswith("]: better (p <.001)")
    assert reads in page_of(study).markdown().split("## What to look at")[0]
    three = planted.study(arms=("plain", "short", "same"))
    three.description["objectives"] = study.description["objectives"]
    for run in three.runs:
        run.histories["response_tokens"] = History.of([(40, 20 - (run.arm == "short") * (1 + run.seed))])
    of_three = ablation_table(three).rows[1]
    p = of_three.others["response_tokens"].p
    assert 0.025 < p < 0.05 and of_three.others_p["response_tokens"] == pytest.approx(2 * p)
    assert (
        ablation_table(three)
        .verdicts(of_three)
        .endswith(f"by itself, not after correction (p {2 * p:.3f})".replace("0.", "."))
    )


def test_columns_by_name():
    table = ablation_table(planted.study())
    assert [c.name for c in chosen(table, ["arm", "score", "admission/l1", "arm"])] == ["arm", "score", "admission/l1"]
    with pytest.raises(UserError, match=r"columns=scor: planted has no such column \(did you mean 'score'\?\)"):
        chosen(table, ["scor"])


# --- the page ----------------------------------------------------------------------------------------------------


def test_the_page_needs_no_network_and_escapes_what_it_shows():
    study = planted.study(arms=("plain", "<script>alert(1)</script>"))
    study.description["question"] = "Is a < b & 'c'?"
    text = page_of(study).html()
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)" in text
    assert "a &lt; b &amp;" in text
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", text), "nothing is fetched"
    assert all(alt.strip() for alt in re.findall(r'<figure>.*?alt="([^"]*)"', text, re.S))


def test_words_begin_at_the_left_and_numbers_end_at_the_right():
    grid = TableBlock(
        "t", ["arm", "n", "why"], [[Cell("a"), Cell("4", 4), Cell("x|y")], [Cell("b"), Cell("-", math.nan), Cell("z")]]
    )
    assert grid.texts == [True, False, True]
    assert grid.markdown.splitlines()[1] == "| --- | ---: | --- |" and "x\\|y" in grid.markdown
    long = TableBlock("t", ["arm"], [[Cell("x" * 49)]]).html
    assert 'class="left long"' in long and "long" not in grid.html, "what is long may wrap, names may not"
    assert '<th scope="col">n</th>' in grid.html and '<th scope="col" class="left">why</th>' in grid.html
    assert '<td data-key="4">4</td><td class="left" data-key="x|y">' in grid.html


def test_many_findings_of_a_kind_fold_and_equal_ones_are_one_line():
    same = [Finding("clip_never_binds", a, "l1", f"{a}: the bound never binds") for a in ("x", "y")]
    each = [Finding("few_seeds", f"a{i}", "", f"a{i} against b: {i} is too few") for i in range(FOLDED + 1)]
    found = finding_items([*same, *each, Finding("difficulty_order", "", "", "labels do not order accuracy")])
    assert found[0] == ("clip never binds:", "x, y: the bound never binds")
    assert found[1] == ("few seeds:", "4 findings, of a0, a1, a2, a3", [f.sentence for f in each])
    assert found[2] == ("difficulty order:", "labels do not order accuracy")
    page = Page("t", "", "", [Section("look", "What to look at", items=found)])
    assert page.html().count("<details>") == 1 and "<li>a3 against b: 3 is too few</li>" in page.html()
    assert "- **few seeds:** 4 findings, of a0" in page.markdown() and "\n  - a3 against b" in page.markdown()


@pytest.mark.slow
def test_the_headline_counts_what_the_corrected_intervals_say():
    assert headline(ablation_table(planted.study())) == "The arm cannot be told apart from plain in score."
    assert headline(ablation_table(clear_winner())) == (
        "1 of 2 arms can be told apart from plain in score: other (better)."
    )
    worse = planted.study(other=(-0.2, -0.2, -0.2))
    assert headline(ablation_table(worse)).endswith("in score: other (worse).")
    worse.description["objectives"] = [{"metric": "score", "direction": "minimize"}]
    assert headline(ablation_table(worse)).endswith("in score: other (better).")
    lone = ablation_table(planted.study(arms=("only",)))
    assert headline(lone) == "There is one arm, so nothing is compared."
    apart = planted.study(seeds=2)
    apart.runs[:] = [r for r in apart.runs if (r.arm, r.seed) in (("plain", 0), ("other", 1))]
    assert headline(ablation_table(apart)) == "No arm has a seed in common with a baseline, so nothing is compared."
    page = page_of(clear_winner())
    assert headline(ablation_table(clear_winner())) in page.summary


@pytest.mark.slow
def test_the_twin_says_the_same():
    study = planted.study(other=(0, 0, 0.05))
    page = page_of(study)
    markdown, markup = page.markdown(), page.html()
    for section in page.sections:
        assert f"## {section.title}" in markdown and f"<h2>{section.title}</h2>" in markup
    difference = ablation_table(study).rows[1].difference
    for text in (markdown, markup):
        assert f"{difference.mean:+.3f}".replace("0.", ".") in text
    assert "![Differences in score" in markdown and "](effects.png)" in markdown
    assert all(run.run_id in markdown and run.run_id in markup for run in study.runs)


@pytest.mark.slow
def test_few_seeds_make_no_aggregates_and_five_do():
    assert "probability of improvement" not in page_of(planted.study(seeds=4)).markdown()
    assert "probability of improvement" in page_of(planted.study(seeds=5)).markdown()


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 2])
def test_poor_studies_have_a_page(seeds):
    for study in (planted.study(seeds=seeds), planted.study(arms=("only",), seeds=seeds)):
        text = page_of(study).markdown()
        assert not re.search(r"\bnan\b", text)
    bare = planted.study(seeds=seeds)
    for run in bare.runs:
        run.histories.clear()
    assert "## Every run" in page_of(bare).markdown()


def test_unequal_seeds_and_what_is_left_out_are_said():
    study = planted.study(seeds=4)
    study.runs[:] = [r for r in study.runs if (r.arm, r.seed) not in (("other", 0), ("other", 1))]
    artifacts = Artifacts({}, {}, ["the artifact outcomes.parquet is not there, or cannot be read, of plain seed 0"])
    page = study_page(study, ablation_table(study), [], artifacts, None, 0.03)
    assert "over 2 common seeds" in page.markdown()
    assert "- the artifact outcomes.parquet is not there" in page.markdown()


def test_a_search_has_a_page_of_its_own():
    study = planted.study()
    study.description.update(kind="search", confirmed_in="planted", space={})
    page = study_page(study, None, [], NOTHING, None, 0.03)
    assert page.summary == search_note(study) and "no comparison" in page.summary


@pytest.mark.slow
def test_published_numbers_stand_beside_the_same_benchmarks():
    study = planted.study(seeds=1)
    rows = [{"suite": "aime24", "problem": str(i), "samples": 4, "correct": 2 * (i % 2), "step": 40} for i in range(30)]
    for run in study.runs:
        run.histories["eval/aime24/avg_at_k"] = History.of([(0, 0.1), (40, 0.25)])
    artifacts = Artifacts({r.run_id: rows for r in study.runs}, {}, [])
    text = study_page(study, ablation_table(study), [], artifacts, None, 0.03).markdown()
    assert "50.0 [33.2, 66.8] (30 problems)" in text, "what AIME24 50.0 means"
    assert "arXiv 2508.01604" in text and "DeepScaleR" in text
    half = 100 * 2.0452 * 0.25428 / math.sqrt(30)  # t(29), sd of fifteen 0 and fifteen .5
    assert f"25.0 [{25 - half:.1f}, {25 + half:.1f}] (30 problems)" in text
    assert "## Beside published numbers" not in page_of(planted.study()).markdown()


def test_any_of_k_stands_beside_one_sample():
    study = planted.study(arms=("plain",), seeds=2)
    for run, end in zip(study.runs, (0.5, 0.7), strict=True):
        run.histories["eval/heldout_hard/pass_at_k"] = History.of([(0, 0.25), (20, 0.9), (40, end)])
        run.params["evaluation.samples"] = "4"
    text = page_of(study).markdown()
    row = next(
        line for line in text.splitlines() if line.startswith("| plain | heldout_hard |") and line.count("→") == 4
    )
    assert row.split(" | ")[3:] == [".250 → .600", "- → -", "- → - |"] and "k = 4 samples a problem" in text


def test_several_studies_side_by_side():
    one, two = planted.study(), planted.study(arms=("plain", "new"))
    second = StudyData("second", two.description, None, two.runs, [])
    text = comparison_page([ablation_table(one), ablation_table(second)]).markdown()
    assert "| planted | other |" in text and "| second | new |" in text and "## second" in text


# --- in a browser ------------------------------------------------------------------------------------------------

PROBE = """
<script>
window.addEventListener("load", () => {
  const out = {errors: window.problems || [], overflow: document.documentElement.scrollWidth > window.innerWidth};
  const box = document.querySelector("#runs [data-sortable]");
  const heads = [...box.querySelectorAll("thead th")];
  const at = heads.findIndex((h) => h.textContent === "score/end");
  const column = () => [...box.querySelectorAll("tbody tr")].filter((r) => !r.hidden).map((r) => Number(r.cells[at].dataset.key));
  heads[at].querySelector("button").click();
  out.up = column();
  out.sort = heads[at].getAttribute("aria-sort");
  heads[at].querySelector("button").click();
  out.down = column();
  const input = box.querySelector("input");
  input.value = "OTHER other-2";
  input.dispatchEvent(new Event("input"));
  out.left = column().length;
  document.querySelector(".zoom").click();
  out.large = document.querySelector("#large").open && document.querySelector("#large img").src.startsWith("data:");
  document.querySelector("#large button").click();
  out.closed = !document.querySelector("#large").open;
  out.broken = [...document.querySelectorAll("figure img")].filter((i) => !i.complete || !i.naturalWidth || !i.alt).length;
  const jump = new MouseEvent("click", {cancelable: true});
  document.querySelector("nav a:last-child").dispatchEvent(jump);
  out.jumped = jump.defaultPrevented && window.scrollY > 0;
  out.ink = getComputedStyle(document.body).backgroundColor;
  document.body.replaceChildren(document.createTextNode("PROBE" + JSON.stringify(out) + "PROBE"));
});
</script>
"""
CATCH = "<head><script>window.problems=[];window.addEventListener('error',e=>window.problems.push(e.message))</script>"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_sorts_filters_enlarges_and_nothing_overflows(tmp_path, width):
    study = planted.study(seeds=3, arms=("plain", "other", "third"))
    text = page_of(study).html().replace("<head>", CATCH, 1).replace("</body>", PROBE + "</body>")
    (tmp_path / "page.html").write_text(text)
    # a window is never narrower than 500 pixels: a frame is
    (tmp_path / "frame.html").write_text(
        f"<body><iframe src='page.html' style='width:{width}px;height:900px;border:0'></iframe><script>"
        "setTimeout(()=>{document.body.textContent=document.querySelector('iframe').contentDocument.body.textContent},2500)"
        "</script></body>"
    )
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=4000", "--window-size=1400,1000"]
    done = subprocess.run(
        [*command, "--dump-dom", f"file://{tmp_path / 'frame.html'}"],
        capture_output=True, text=True, timeout=120, env=os.environ | {"HOME": str(tmp_path)},
    )  # fmt: skip
    assert "PROBE" in done.stdout, done.stdout[-500:] + done.stderr[-500:]
    out = json.loads(done.stdout.split("PROBE")[1].replace("&amp;", "&"))
    scores = sorted(r.last("score") for r in study.runs)
    assert out["errors"] == [] and out["overflow"] is False and out["broken"] == 0
    assert out["up"] == scores and out["down"] == scores[::-1] and out["sort"] == "ascending"
    assert out["left"] == 1 and out["large"] is True and out["closed"] is True
    assert out["jumped"] is True
