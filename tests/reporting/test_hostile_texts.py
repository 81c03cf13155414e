"""Texts that others wrote, in every field that takes one: each output shows them and obeys none."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import planted
import pytest
from conftest import rest_exhaustive

from eprli_lab.reporting import figures
from eprli_lab.reporting.artifacts import Artifacts
from eprli_lab.reporting.load import StudyData, Unfinished
from eprli_lab.reporting.report.comparison import comparison_page
from eprli_lab.reporting.report.page import Page, write_page
from eprli_lab.reporting.report.sections import study_page
from eprli_lab.reporting.tables.render import render
from eprli_lab.reporting.tables.rows import ablation_table
from eprli_lab.tracking.description import StudyDescription
from eprli_lab.tracking.notes import ANSWER, experiment_note, study_note

pytestmark = pytest.mark.slow  # one of many

MARK = "Kerbel"  # in every hostile text: it is shown, not left out
TEXTS = (
    f"<script>alert('{MARK}')</script><img src=x onerror=alert(1)>",
    f"=cmd|' /C calc'!A0 {MARK}",
    f"@SUM({MARK})\t-1+1",
    f"{MARK} ![i](http://h/i.png) [l](javascript:alert(1)) [r]: http://h `c` **b** _e_ ~~s~~ # h",
    f"| {MARK} | cell |\n\n# heading\n- item\n```\nfence\n```\n<b>",
    f"\\input{{/etc/passwd}} \\end{{tabular}} % {MARK} ^^4d $x^2$ $\\frac$ {{ }} & # _ ~",
    f"[{MARK}] \\\\[5em] * -- <!-- --> ]]>",
    f"\x1b]0;{MARK}\x07\x1b[31mred\x1b[0m\r\x08\x00",
    f"\u202e{MARK}\u2066\u200b\ufeff\u2028\ud800",
    "[x]: http://h '" + MARK,
    f"- {MARK}\n1. one\n> quote\n---",
    MARK * 50,
)


def hostile_study(text: str) -> StudyData:
    """A study of a store that somebody else made: the text is its name, arms, question, claim, tags, reasons, ..."""
    arms = tuple(f"{text}{letter}".replace("\ud800", "") for letter in "ab")  # seeds are made of them here
    study = planted.described(
        planted.study(arms=arms, seeds=3, **{arms[1]: (0.05, 0.05, 0.05)}),
        question=text, claim=text, contrasts=(f"{arms[1]} - {arms[0]}",) if " - " not in text else (),
    )  # fmt: skip
    for run in study.runs:
        run.params.update({"data.source.path": text, "algorithm.advantage": f"{text}{run.arm[-1]}"})
        run.tags.update({"fingerprint": text, "eprli.provenance": '{"command": "x"}'})
    return dataclasses.replace(
        study, name=text, notes=[text], unfinished=[Unfinished(f"{text}c", 0, "FAILED", text)], parent_run_id=text
    )  # fmt: skip


def artifacts(study: StudyData, text: str) -> Artifacts:
    row = {"level": "l1", "kind": "best", "step": 1, "problem": text, "status": text, "correct": False, "answer": text}
    row |= {"accepted": [text], "reward": 0.5, "tokens": 3, "truncated": False, "verdict": text}
    row |= {"prompt": text, "response": text}
    return Artifacts({}, {}, [text], {study.runs[0].run_id: [row]})


def page_of(study: StudyData, text: str) -> Page:
    drawn = list(figures.pictures(study, only=("effects",)))
    return study_page(study, ablation_table(study), drawn, artifacts(study, text), None, 0.03, [f"baseline={text}"])


class _Parsed(HTMLParser):
    """Tags with their attributes, and texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\u2028\ufeff\ud800-\udfff]")


@pytest.mark.parametrize("text", rest_exhaustive(TEXTS, 6))
def test_no_output_obeys_a_hostile_text(text: str, tmp_path: Path):
    study, plain = hostile_study(text), hostile_study("plain")
    table, known = ablation_table(study), ablation_table(plain)
    page, plain_page = page_of(study, text), page_of(plain, "plain")
    outputs = {form: render(table, None, form) for form in ("text", "md", "latex", "csv", "html")}
    outputs |= {"page": page.html(), "twin": page.markdown(), "seeds": table.seeds_csv()}
    outputs |= {
        "contrasts": table.contrasts_csv() if table.contrasts else MARK,
        "note": study_note(text, study.description),
    }
    for name, output in outputs.items():
        assert MARK in output, name
        assert not UNSEEN.search(output), f"{name}: {UNSEEN.search(output)}"
        output.encode()
    for form, ours in (("html", render(known, None, "html")), ("page", plain_page.html())):
        found, expected = _Parsed(outputs[form]), _Parsed(ours)
        assert set(found.tags) <= set(expected.tags), form
        assert [t for t, _ in found.tags].count("script") == [t for t, _ in expected.tags].count("script")
    for form, ours in (
        ("md", render(known, None, "md")),
        ("twin", plain_page.markdown()),
        ("note", study_note("plain", plain.description)),
    ):
        found_kinds, tables = markdown_of(outputs[form])
        expected_kinds, expected_tables = markdown_of(ours)
        assert found_kinds <= expected_kinds, form
        assert tables == expected_tables, form
    for form, ours in (("csv", render(known, None, "csv")), ("seeds", known.seeds_csv())):
        rows, expected_rows = (list(csv.reader(io.StringIO(t))) for t in (outputs[form], ours))
        assert [len(r) for r in rows] == [len(r) for r in expected_rows]
        assert not [c for r in rows for c in r if re.match(r"[=+@\t\r]|-(?!\d)", c) and not is_number(c)]
    compiled(outputs["latex"], tmp_path)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "-"
    return True


def markdown_of(text: str) -> tuple[set[str], list[int]]:
    """What a Markdown renderer makes of it: kinds of tokens, and the number of cells of each row of a table."""
    markdown_it = pytest.importorskip("markdown_it")
    tokens = markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    kinds = set()
    rows: list[int] = []
    for token in tokens:
        kinds |= {f"{token.type} {token.tag}", *(f"{c.type} {c.tag}" for c in token.children or ())}
        if token.type == "tr_open":
            rows.append(0)
        elif token.type in ("td_open", "th_open"):
            rows[-1] += 1
        if token.type == "html_block":
            assert re.fullmatch(r"(<!-- (?:(?!--|>).)* -->\n?)+", token.content), token.content
    return kinds - {"text ", "softbreak br", "code_inline code"}, rows  # code of one word is obeyed by nobody


def compiled(source: str, directory: Path) -> None:
    """By pdflatex where it is; by rule everywhere: every command is one of ours, braces match, comments are comments."""
    body = [line for line in source.splitlines() if not line.startswith("%")]
    for line in body:
        assert not re.search(r"(?<!\\)[%#]", line), line
        assert len(re.findall(r"(?<!\\)\{", line)) == len(re.findall(r"(?<!\\)\}", line)), line
        assert not line.lstrip().startswith(("[", "*"))
        commands = set(re.findall(r"\\([A-Za-z]+)", line))
        assert commands <= {
            "begin", "end", "toprule", "midrule", "bottomrule", "textbf", "rightarrow",
            "textbackslash", "textasciitilde", "textasciicircum",
        }, commands  # fmt: skip
    if shutil.which("pdflatex") and all(ord(c) < 0x250 for c in source):
        document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + source + "\\end{document}"
        (directory / "t.tex").write_text(document, encoding="utf-8")
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
            cwd=directory,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-2000:]


def test_figures_show_a_hostile_text_as_it_is(tmp_path: Path, recwarn):
    study = hostile_study(TEXTS[5] + TEXTS[8])
    for picture in figures.pictures(study):
        shown = figures.rendered(picture)
        for svg in (shown.svg_wide, shown.svg_narrow):
            assert not UNSEEN.search(svg) and "<script" not in svg
        assert not UNSEEN.search(shown.csv)
        figures.write(picture, tmp_path, ("png",))
    table = ablation_table(study)
    page = comparison_page([table, table], [])
    assert MARK in write_page(page, tmp_path, "both").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", TEXTS)
def test_an_experiments_note_obeys_no_hostile_text(text: str) -> None:
    described = StudyDescription(question=text).to_tags()
    tags = {"study": text, ANSWER: text, **described}
    run = SimpleNamespace(data=SimpleNamespace(tags=tags), info=SimpleNamespace(run_id="0123"))
    note = experiment_note("1", [run])
    assert not UNSEEN.search(note), note
    assert "<script" not in note.lower() and "<img" not in note.lower()
    links = re.findall(r"(?<!\\)\]\(([^)]*)\)", note)
    assert all(link.startswith("#/experiments/1/runs") for link in links) and len(links) == 3, links


def test_a_note_is_of_the_description():
    description = StudyDescription(
        question="does `l2` win?", claim="l1_matched < l2", arms=("l1_matched", "l2"), baseline="l1_matched"
    )
    assert "**Question.** does `l2` win?\n\n**Claim.** l1_matched < l2\n\n**Arms.** l1_matched, l2" in study_note(
        "a-b_c", description
    )
