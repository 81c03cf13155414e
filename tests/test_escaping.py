"""Each format's escaping: what is obeyed elsewhere is shown, and ordinary texts are what they were."""

from __future__ import annotations

import pytest

from eprli_lab import escaping
from eprli_lab.errors import UserError
from eprli_lab.escaping import (
    code,
    code_block,
    comment,
    csv_text,
    latex,
    markdown,
    markdown_paragraph,
    one_line,
    visible,
)

ORDINARY = (
    "l4", "l1_matched", "lr=1e-3", "avg_at_k", "eval/heldout_easy/avg_at_k", "curriculum.levels.l2.clip.high",
    "+.001 [-.005, +.006] in score over 4 common seeds: not distinguishable from zero", "better (p <.001)", "-",
    "2 * progress/tokens", "0.2 -> 0.3", "l2 - l1_matched", "is a < b & b > c?", "40 finished runs, seeds 0, 1: 50%",
    "`eprli-lab calibrate` runs the shipped controls", "difference [95%]", "why? No! (a) #3, ~5 s, 1,024 problems",
    "Größe ≥ ±2 → 日本語 😀", "eprli-lab report 'study=levels' tracking.uri=http://127.0.0.1:5000",
)  # fmt: skip


@pytest.mark.parametrize("text", ORDINARY)
def test_an_ordinary_text_is_what_it_was(text):
    for escape in (visible, one_line, markdown, escaping.figure):
        assert escape(text) == text, escape.__name__
    assert csv_text(text) == ("'" + text if text[0] == "+" else text)
    assert markdown_paragraph(text) == text


@pytest.mark.parametrize(
    ("escape", "text", "escaped"),
    [
        (visible, "a\x1b[31mb\x00\x7f\x9b", "a\\x1b[31mb\\x00\\x7f\\x9b"),
        (visible, "\u202eb\u2066\ud800\U000e0041", "\\u202eb\\u2066\\ud800\\U000e0041"),
        (visible, "a\r\nb\tc\rd", "a\nb\tc\\x0dd"),
        (one_line, " a \n\n b", " a b"),
        (escaping.html, "<b a='1'>\x08 & \"", "&lt;b a=&#x27;1&#x27;&gt;\\x08 &amp; &quot;"),
        (markdown, "**a** _b_ `c`d` ~~e~~ $f$", "\\*\\*a\\*\\* \\_b\\_ `c`d\\` \\~\\~e\\~\\~ \\$f\\$"),
        (markdown, "![a](b) [c](d) [e][f] | \\*", "\\![a\\](b) [c\\](d) [e\\][f] \\| \\\\\\*"),
        (markdown, "<script> </b> <!-- &lt; a<b", "&lt;script> &lt;/b> &lt;!-- &amp;lt; a&lt;b"),
        (markdown_paragraph, "# a", "\\# a"),
        (markdown_paragraph, "- a", "\\- a"),
        (markdown_paragraph, "12. a", "12\\. a"),
        (markdown_paragraph, "[a]: http://h", "\\[a]: http://h"),
        (markdown_paragraph, "---", "\\---"),
        (code, "a`b", "`` a`b ``"),
        (code_block, "a\n```\nb", "````\na\n```\nb\n````"),
        (comment, "a --> <b> --", "a - - &gt; <b&gt; - -"),
        (
            latex,
            "\\input{x} % $ & # _ ^ ~",
            r"\textbackslash{}input\{x\} \% \$ \& \# \_ \textasciicircum{} \textasciitilde{}",
        ),
        (latex, "[5em]", "{[}5em]"),
        (csv_text, "=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        (csv_text, "@a", "'@a"),
        (csv_text, "+a", "'+a"),
        (csv_text, "-a", "'-a"),
        (csv_text, "\t=a", "'\t=a"),
        (csv_text, "-0.5", "-0.5"),
    ],
)
def test_what_a_format_would_obey_is_shown(escape, text, escaped):
    assert escape(text) == escaped


def test_an_error_shows_what_it_quotes_of_data():
    assert str(UserError("row 3: '\x1b[2Jx' is no number")) == "row 3: '\\x1b[2Jx' is no number"
