"""The HTML report and its twin; tables in every format; several studies. In a browser: test_browser.py."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
import subprocess
from html import unescape

import planted
import pytest

from eprli_lab.errors import UserError
from eprli_lab.reporting import figures
from eprli_lab.reporting.artifacts import Artifacts
from eprli_lab.reporting.diagnosis.finding import KINDS, Finding
from eprli_lab.reporting.figures import palette
from eprli_lab.reporting.load import History, StudyData
from eprli_lab.reporting.report.answers import answers, detectable, detectable_block, detectable_sentence
from eprli_lab.reporting.report.comparison import comparison_page
from eprli_lab.reporting.report.findings import SHOWN, finding_items, findings_section
from eprli_lab.reporting.report.frame import PRINTED, copies
from eprli_lab.reporting.report.page import Page
from eprli_lab.reporting.report.parts import Section
from eprli_lab.reporting.report.sections import study_page
from eprli_lab.reporting.stats.power import minimum_detectable_effect
from eprli_lab.reporting.tables.columns import MACHINE, best, chosen, columns
from eprli_lab.reporting.tables.document import Cell, TableBlock, document
from eprli_lab.reporting.tables.numbers import fraction
from eprli_lab.reporting.tables.printers import html, markdown
from eprli_lab.reporting.tables.printers.text import split_to_width
from eprli_lab.reporting.tables.render import render
from eprli_lab.reporting.tables.rows import ablation_table, search_note
from eprli_lab.reporting.tables.verdicts import headline, verdicts

pytestmark = pytest.mark.slow  # real stores and figures

NOTHING = Artifacts({}, {}, [])


def page_of(study: StudyData, *drawn: str) -> Page:
    """`drawn`: names of its figures, which take most of the time."""
    pictures = list(figures.pictures(study, only=drawn))
    return study_page(study, ablation_table(study), pictures, NOTHING, None, 0.03)


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
    lines = [line for line in render(table, chosen(table), "md").splitlines() if line.startswith("| ")]
    assert "**" in lines[3] and "**" not in lines[2] + lines[4], "of the first block"
    assert r"\textbf{" in render(table, chosen(table), "latex")
    assert "<strong>" in render(table, chosen(table), "html") and "**" not in render(table, chosen(table), "text")
    lone = ablation_table(planted.study(arms=("only",)))
    assert document(table).bold_note and not document(lone).bold_note


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
    blocks = document(ablation_table(study)).blocks
    assert len(blocks) == text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    for block, part in zip(blocks, text.split(r"\begin{tabular}")[1:], strict=True):
        body = [line for line in part.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {len(block.header) - 1}


def test_latex_sets_a_minus_before_numbers_only():
    study = planted.study(arms=("plain", "clip-0.2"), **{"clip-0.2": (-0.05, -0.05, -0.05)})
    lines = render(ablation_table(study), chosen(ablation_table(study)), "latex").splitlines()
    row = next(line for line in lines if line.startswith("clip-0.2"))
    assert "$-$.0" in row and "[$-$.0" in row and " -" not in row and "[-" not in row


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_under_booktabs(tmp_path):
    study = planted.study(arms=("plain", "a_b&50%"))
    table = render(ablation_table(study), chosen(ablation_table(study)), "latex")
    head = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
    (tmp_path / "t.tex").write_text(f"{head}{table}\\end{{document}}\n")
    done = subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_further_objectives_are_columns_with_their_own_direction():
    study = planted.study(arms=("plain", "short"))
    for run in study.runs:
        length = {"plain": 20.0, "short": 15.0}[run.arm] + 0.1 * run.seed * (1 if run.arm == "plain" else -1)
        run.histories["response_tokens"] = History.of([(0, 20.0), (40, length)])
    objectives = [("score", "maximize"), ("response_tokens", "minimize")]
    study = planted.described(study, objectives=objectives)
    table = ablation_table(study)
    by_name = {c.name: c for c in columns(table)}
    assert len(by_name) == len(columns(table)), "each name once"
    shown = [by_name[n].text(table.rows[1]) for n in ("response_tokens", "response_tokens/difference")]
    assert shown[0] == "14.850" and shown[1].startswith("-5.300 [")
    assert by_name["response_tokens/difference"].text(table.rows[0]) == "baseline"
    assert best(table, by_name["response_tokens"]) == "short", "less is better"
    row = table.rows[1]
    assert row.secondary_p == {"response_tokens": row.secondary["response_tokens"].p}, (
        "one comparison: nothing to correct"
    )
    assert "; response_tokens -5.300" in (reads := verdicts(table, row)) and reads.endswith("]: better (p <.001)")
    assert reads in page_of(study).markdown().split("## What to look at")[0]
    three = planted.described(planted.study(arms=("plain", "short", "same")), objectives=objectives)
    for run in three.runs:
        run.histories["response_tokens"] = History.of([(40, 20 - (run.arm == "short") * (1 + run.seed))])
    of_three = ablation_table(three).rows[1]
    p = of_three.secondary["response_tokens"].p
    assert 0.025 < p < 0.05 and of_three.secondary_p["response_tokens"] == pytest.approx(2 * p)
    reads = verdicts(ablation_table(three), of_three)
    both = f"(p {p:.3f}, {2 * p:.3f} after Holm)".replace("0.", ".")
    assert reads.endswith(f"better by itself, not after correction {both}")


def test_columns_by_name():
    table = ablation_table(planted.study())
    names = ["arm", "score", "admission_rate/l1"]
    assert [c.name for c in chosen(table, [*names, "arm"])] == names
    with pytest.raises(UserError, match=r"columns=scor: planted has no such column \(did you mean 'score'\?\)"):
        chosen(table, ["scor"])


@pytest.mark.parametrize(
    ("old", "hint"),
    [
        ("p", "(p: p_raw or p_holm)"),
        ("low", "(did you mean 'difference_low'?)"),
        ("high", "(did you mean 'difference_high'?)"),
        ("differs", "(did you mean 'config_diff'?)"),
        ("admission/l1", "(did you mean 'admission_rate/l1'?)"),
        ("clip_low/l2", "(did you mean 'clip_fraction_low/l2'?)"),
        ("clip_high/l2", "(did you mean 'clip_fraction_high/l2'?)"),
    ],
)
def test_a_name_of_an_earlier_version_is_refused_with_that_of_today(old, hint):
    with pytest.raises(UserError) as error:
        chosen(ablation_table(planted.study()), ["arm", old])
    assert str(error.value) == f"columns={old}: planted has no such column {hint}"


def test_each_column_has_one_name_and_one_meaning():
    table = ablation_table(planted.study(arms=("plain", "other", "third"), other=(0.01, 0.01, 0.01)))
    listed = [c.name for c in columns(table)]
    assert len(set(listed)) == len(listed) and set(MACHINE) <= set(listed)
    rows = {r["arm"]: r for r in csv.DictReader(io.StringIO(table.csv()))}
    row = table.rows[1]
    assert [list(rows["other"])[i] for i in (0, -1)] == ["arm", "runs"]
    assert "p" not in rows["other"]
    assert float(rows["other"]["p_raw"]) == row.difference.p
    assert float(rows["other"]["p_holm"]) == row.p_holm == pytest.approx(min(1, 2 * row.difference.p))
    assert float(rows["other"]["difference_low"]) == row.difference.low
    assert float(rows["other"]["heldout_easy/start"]) == row.start["heldout_easy"]
    assert float(rows["other"]["heldout_easy/end"]) == row.final["heldout_easy"]
    assert float(rows["other"]["clip_fraction_high/l2"]) == row.clip_fraction_high["l2"]
    assert rows["plain"]["p_raw"] == rows["plain"]["p_holm"] == "" and rows["plain"]["common_seeds"] == "0"


def test_a_csv_holds_one_number_a_cell_whatever_is_asked_for():
    table = ablation_table(planted.study())
    assert render(table, chosen(table), "csv") == render(table, chosen(table, None, MACHINE), "csv") == table.csv()
    text = render(table, chosen(table, ["arm", "score", "clip_fraction/l1"]), "csv")
    assert text.splitlines()[0] == "arm,score/start,score/end,clip_fraction_low/l1,clip_fraction_high/l1,runs"


def test_five_printers_print_the_same_document():
    table = ablation_table(clear_winner())
    whole = document(table)
    assert [b.title for b in whole.blocks] == ["accuracy", "what training took", "levels"]
    printed = {form: render(table, None, form) for form in ("text", "md", "latex", "html")}
    printed["html"] = unescape(printed["html"])
    for form, text in printed.items():
        for block in whole.blocks:
            for row in block.rows:
                for cell in row:
                    number = cell.text.split(" -> ")[-1].split(" [")[0].lstrip("-")
                    assert number in text, (form, number)
        for remark in whole.remarks:
            for line in remark.lines:
                assert line in (" ".join(text.split()) if form == "text" else text), (form, line)
    page = page_of(clear_winner())
    (arms,) = [s for s in page.sections if s.id == "arms"]
    assert planted.tables_of(arms) == list(whole.blocks), "the report's tables are the document's"
    picked = document(table, chosen(table, ["arm", "score"]))
    assert (picked.title, picked.remarks, len(picked.blocks)) == ("", [], 1)


# --- the page ----------------------------------------------------------------------------------------------------


def test_the_page_needs_no_network_and_escapes_what_it_shows():
    study = planted.study(arms=("plain", "<script>alert(1)</script>"))
    study = planted.described(study, question="Is a < b & 'c'?")
    text = page_of(study, "effects", "learning_curves", "buffer").html()
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)" in text
    assert "a &lt; b &amp;" in text
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", text), "nothing is fetched"
    drawings = re.findall(r"<figure.*?</figure>", text, re.S)
    assert drawings and all(re.search(r"<svg[^>]*>.*?<title.*?<desc", d, re.S) for d in drawings), "read aloud, too"
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy and "default-src &#39;none&#39;" in policy.group(1) and text.count("<script") == 1


def test_words_begin_at_the_left_and_numbers_end_at_the_right():
    grid = TableBlock(
        "t", ["arm", "n", "why"], [[Cell("a"), Cell("4", 4), Cell("x|y")], [Cell("b"), Cell("-", math.nan), Cell("z")]]
    )
    assert grid.texts == [True, False, True]
    assert markdown.print_table(grid).splitlines()[1] == "| --- | ---: | --- |"
    assert "x\\|y" in markdown.print_table(grid)
    long = html.print_table(TableBlock("t", ["arm"], [[Cell("x" * 49)]]))
    markup = html.print_table(grid)
    assert 'class="left long"' in long and "long" not in markup, "what is long may wrap, names may not"
    assert '<th scope="col">n</th>' in markup and '<th scope="col" class="left">why</th>' in markup
    assert '<td data-key="4">4</td><td class="left" data-key="x|y">' in markup


def test_the_gravest_findings_stand_first_and_more_of_a_kind_folds():
    same = [Finding("clip_never_binds", a, "l1", f"{a}: the bound never binds") for a in ("x", "y")]
    each = [Finding("few_seeds", f"a{i}", "", f"a{i} against b: {i} is too few") for i in range(4)]
    found = finding_items([*same, *each, Finding("difficulty_order", "", "", "labels do not order accuracy")])
    assert found[0] == ("clip never binds:", "x, y: the bound never binds")
    assert found[1] == ("few seeds:", each[0].sentence, [f.sentence for f in each[1:]])
    assert found[2] == ("difficulty order:", "labels do not order accuracy")
    page = Page("t", "", "", [Section("look", "What to look at", items=found)])
    assert page.html().count("<details>") == 1 and "<li>a3 against b: 3 is too few</li>" in page.html()
    assert "3 more of this kind" in page.html()
    assert "- **few seeds:** a0 against b" in page.markdown() and "\n  - a3 against b" in page.markdown()


def test_five_findings_stand_open_and_the_rest_folds():
    found = [Finding(kind, "", "", f"{kind} was seen") for kind in KINDS]
    section = findings_section(found, runs=4)
    assert len(section.items) == SHOWN == 5 and section.items[0] == ("starved:", "starved was seen")
    (fold,) = section.folds
    assert fold.title == f"{len(KINDS) - SHOWN} more kinds of findings" and len(fold.items) == len(KINDS) - SHOWN
    text = Page("t", "", "", [section]).markdown()
    assert all(f"{kind} was seen".replace("_", r"\_") in text or f"{kind} was seen" in text for kind in KINDS)
    assert findings_section([], runs=4).text == ("Nothing stands out.",) and not findings_section([], 4).folds


def test_the_answer_is_a_sentence_and_no_other_number_than_the_tables():
    study = planted.described(clear_winner(), contrasts=("other - plain", "third - other"))
    table = ablation_table(study)
    first, second = answers(table)
    d = table.contrasts[0].difference
    size, low, high = (f"{v:+.3f}".replace("0.", ".") for v in (d.mean, d.low, d.high))
    assert first.sentence == (
        f"other scores {size[1:]} higher than plain (95% CI of the difference {low} to {high}; 4 common seeds)"
    )
    assert (
        first.verdict == "better than plain" and first.tests == "p <.001 uncorrected, <.001 after Holm over 2 contrasts"
    )
    assert second.verdict == "worse than other" and " lower than other" in second.sentence
    text = page_of(study).html()
    assert f"<strong>{first.sentence}.</strong>" in text and text.index(first.sentence) < text.index("<h2>")
    assert not answers(ablation_table(planted.study(arms=tuple(f"a{i}" for i in range(9)), seeds=3))), (
        "too many to quote"
    )
    gone = planted.described(planted.study(), contrasts=("other - absent",), arms=("plain", "other", "absent"))
    (left,) = answers(ablation_table(gone))
    assert left.sentence == "other - absent: left out: no finished run of absent" and left.says == ""
    in_tokens = planted.described(planted.study(), objectives=[("response_tokens", "minimize")])
    for run in in_tokens.runs:
        run.histories["response_tokens"] = History.of([(40, 20.0 - (run.arm == "other") * (4 + run.seed))])
    (less,) = answers(ablation_table(in_tokens))
    assert (
        less.sentence.startswith("other is 5.500 lower in response_tokens than plain (")
        and less.verdict == "better than plain"
    )


def test_the_detectable_effect_stands_beside_the_effects():
    study = planted.described(clear_winner(), contrasts=("other - plain", "third - other"))
    table = ablation_table(study)
    found = list(detectable(table))
    assert [(f.arm, f.reference) for f in found] == [
        ("other", "plain"),
        ("third", "other"),
        ("other", "plain"),
        ("third", "plain"),
    ]
    for f in found:
        assert f.effect == minimum_detectable_effect(f.sd, 4, comparisons=2)
    assert found[0].family == "2 contrasts" and found[3].family == "2 arms"
    least = min(f.effect for f in found), max(f.effect for f in found)
    sentence = detectable_sentence(table)
    assert sentence.startswith(
        f"Minimum detectable effect {fraction(found[0].effect)} at power .8 with 4 seeds (other - plain"
    )
    assert fraction(least[0]) in sentence and fraction(least[1]) in sentence
    (effects,) = [s for s in page_of(study).sections if s.id == "effects"]
    assert effects.folds[0].tables == [detectable_block(table)] and sentence in page_of(study).markdown()
    assert detectable_block(ablation_table(planted.study(seeds=1))) is None and not detectable_sentence(
        ablation_table(planted.study(seeds=1))
    )


def test_a_table_is_copied_in_full_precision():
    table = ablation_table(clear_winner())
    accuracy = document(table).blocks[0]
    texts = dict(copies(accuracy))
    assert list(texts) == ["LaTeX", "Markdown", "CSV"]
    rows = list(csv.DictReader(io.StringIO(texts["CSV"])))
    assert list(rows[0])[:4] == ["arm", "n", "heldout_easy/start", "heldout_easy/end"]
    d = table.rows[1].difference
    assert [float(rows[1][k]) for k in ("difference", "difference_low", "difference_high")] == [d.mean, d.low, d.high]
    assert rows[1]["runs"] == "other-0 other-1 other-2 other-3" and rows[0]["difference"] == ""
    assert (
        texts["Markdown"].startswith("| arm | n |")
        and r"\begin{tabular}" in texts["LaTeX"]
        and "booktabs" in texts["LaTeX"]
    )
    cells = [Cell("a"), Cell("+.1 [.0, .2]", 0.1, parts={"low": 0.0, "high": 0.2})]
    (_, _, (_, text)) = copies(TableBlock("t", ["arm", "difference [95%]"], [cells], ["r1"]))
    assert text == "arm,difference,difference low,difference high,runs\na,0.1,0.0,0.2,r1\n"
    assert [form for form, _ in copies(TableBlock("t", ["arm"], [[Cell("a")]] * (PRINTED + 1)))] == ["CSV"]


def test_the_headline_counts_what_the_corrected_intervals_say():
    assert headline(ablation_table(planted.study())) == "The arm cannot be told apart from plain in score."
    assert headline(ablation_table(clear_winner())) == (
        "1 of 2 arms can be told apart from plain in score: other (better)."
    )
    worse = planted.study(other=(-0.2, -0.2, -0.2))
    assert headline(ablation_table(worse)).endswith("in score: other (worse).")
    worse = planted.described(worse, objectives=[("score", "minimize")])
    assert headline(ablation_table(worse)).endswith("in score: other (better).")
    lone = ablation_table(planted.study(arms=("only",)))
    assert headline(lone) == "There is one arm, so nothing is compared."
    apart = planted.study(seeds=2)
    apart.runs[:] = [r for r in apart.runs if (r.arm, r.seed) in (("plain", 0), ("other", 1))]
    assert headline(ablation_table(apart)) == "No arm has a seed in common with a baseline, so nothing is compared."
    page = page_of(clear_winner())
    assert headline(ablation_table(clear_winner())) in page.summary


def test_the_twin_says_the_same():
    study = planted.study(other=(0, 0, 0.05))
    page = page_of(study, "effects", "learning_curves")
    markdown, markup = page.markdown(), page.html()
    for section in page.sections:
        assert f"## {section.title}" in markdown and f"<h2>{section.title}</h2>" in markup
    difference = ablation_table(study).rows[1].difference
    for text in (markdown, markup):
        assert f"{difference.mean:+.3f}".replace("0.", ".") in text
    assert "![Differences in score" in markdown and "](effects.png)" in markdown
    assert "](learning_curves.png)" in markdown and "Against [updates](learning_curves_updates.png)" in markdown
    assert 'download="effects.csv" href="data:text/csv' in markup and 'id="view-learning_curves-2"' in markup
    assert all(run.run_id in markdown and run.run_id in markup for run in study.runs)


def test_few_seeds_make_no_aggregates_and_five_do():
    assert "probability of improvement" not in page_of(planted.study(seeds=4)).markdown()
    assert "probability of improvement" in page_of(planted.study(seeds=5)).markdown()


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
    study = planted.described(planted.study(), kind="search", confirmed_in="planted", space={})
    page = study_page(study, None, [], NOTHING, None, 0.03)
    assert page.summary == search_note(study) and "no comparison" in page.summary


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
    for run in two.runs:
        run.params["optim.learning_rate"] = "0.125"
    text = comparison_page([ablation_table(one), ablation_table(second)]).markdown()
    assert "| planted | other |" in text and "| second | new |" in text and "## second" in text
    baselines = [line for line in text.splitlines() if line.startswith("| ") and "| baseline |" in line]
    assert "from planted" not in baselines[0]
    assert baselines[1].endswith("| from planted's plain: optim.learning_rate=0.125 |")


def test_an_arm_has_one_mark_and_two_studies_that_differ_give_none():
    one = planted.study()
    moved = planted.described(planted.study(arms=("other", "plain"), seeds=3))
    mark = palette.styles_of(one.arms)["other"].swatch
    assert mark in page_of(one).html()
    same = comparison_page([ablation_table(one), ablation_table(one)]).html()
    apart = comparison_page([ablation_table(one), ablation_table(moved)]).html()
    assert mark in same and 'class="swatch"' not in apart


def test_a_p_is_printed_beside_its_difference():
    header = ["arm", "a" * 60, "difference to l1 [95%]", "p (raw)", "p (Holm)", "n"]
    block = TableBlock("t", header, [[Cell("x" * n) for n in (8, 60, 24, 7, 30, 1)]])
    parts = [part.header for part in split_to_width(block)]
    assert parts == [["arm", "a" * 60], ["arm", "difference to l1 [95%]", "p (raw)", "p (Holm)", "n"]]
