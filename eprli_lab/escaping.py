"""Texts that others wrote (data, answers, names in a store), as each output must write them: shown, never obeyed.

One function a format: terminal and plain text, HTML, Markdown, LaTeX, CSV, figures. None of them touches an ordinary
name (`l1_matched`, `lr=1e-3`) or sentence.
"""

from __future__ import annotations

import html as _html
import re

from eprli_lab.masking import mask

# Control characters; what turns the order of reading round or cannot be seen; halves of a pair; noncharacters.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\ufffe\uffff\U000e0000-\U000e007f]"
)
_BREAKS = re.compile(r"\s*\n\s*")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_CODE_OF_OURS = re.compile(r"(?<![`\\])(`[\w .=/:\[\]{}\-]+`)(?!`)")  # nothing in it can end it or be obeyed
# `\` before punctuation; emphasis, code and maths; the middle of a link; cells of a table.
_MARKDOWN = re.compile(
    r"\\(?=[!-/:-@\[-`{-~])|`|\$|~~|\||(?<!\s)\*|\*(?!\s|$)|(?<![A-Za-z0-9_])_+(?=\S)|(?<=\S)_+(?![A-Za-z0-9_])"
    r"|\](?=[(\[])|!(?=\[)"
)
_BEGINNING = re.compile(r"\[(?=[^\]]*\]:)|#{1,6}(?=\s|$)|>|[-+*](?=\s)|(?:-\s*){3,}$|={1,}$|~{3,}")
_NUMBERED = re.compile(r"(\d{1,9})([.)])(?=\s)")
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {c: "\\" + c for c in "&%$#_{}"}
_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def visible(text: str) -> str:
    """For a terminal: control characters (ANSI escapes), marks of reading order and the like as `\\x1b`, `\\u202e`.

    Line feeds and tabs stay; a carriage return before a line feed goes.
    """
    return _UNSEEN.sub(_named, text.replace("\r\n", "\n"))


def shown(text: str) -> str:
    """A text for a terminal or a log: control characters written out, credentials masked."""
    return visible(mask(text))


def _named(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def one_line(text: str) -> str:
    """`visible` on one line: of a heading, a cell, a log."""
    shown = visible(text)
    return _BREAKS.sub(" ", shown) if "\n" in shown else shown


def html(text: str) -> str:
    """Between tags and inside quoted attributes."""
    return _html.escape(visible(text))


def markdown(text: str) -> str:
    """Within a line, a cell of a table included: no markup, no link, no tag."""
    parts = _CODE_OF_OURS.split(one_line(text))
    return "".join(part if i % 2 else _inline(part) for i, part in enumerate(parts))


def _inline(text: str) -> str:
    text = _MARKDOWN.sub(lambda m: "".join("\\" + c for c in m.group()), text)
    return _TAG.sub("&lt;", _ENTITY.sub("&amp;", text))


def markdown_paragraph(text: str) -> str:
    """The same at the beginning of a line, where `#`, `>`, `-` and `1.` mean something too."""
    line = markdown(text.strip())
    beginning = _BEGINNING.match(line)
    if beginning:
        return "\\" + line
    return _NUMBERED.sub(r"\1\\\2", line, count=1) if _NUMBERED.match(line) else line


def code(text: str) -> str:
    """As a code span."""
    line = one_line(text)
    fence = _fence(line, "`")
    return f"{fence}{line}{fence}" if fence == "`" else f"{fence} {line} {fence}"


def code_block(text: str) -> str:
    """As a fenced block, which nothing in it ends."""
    fence = _fence(text, "```")
    return f"{fence}\n{visible(text)}\n{fence}"


def _fence(text: str, least: str) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    return "`" * max(len(least), longest + 1)


def comment(text: str) -> str:
    """Within <!-- -->: nothing ends it early."""
    return re.sub(r"-(?=[->!])", "- ", one_line(text)).replace(">", "&gt;")


def latex(text: str) -> str:
    """Within a cell of a tabular."""
    line = re.sub(r"[\\~^&%$#_{}]", lambda m: _LATEX[m.group()], one_line(text))
    return f"{{{line[0]}}}{line[1:]}" if line[:1] in ("[", "*") else line  # behind \\ both are options of it


def latex_comment(text: str) -> str:
    """Behind a % sign."""
    return one_line(text)


def csv_text(text: str) -> str:
    """A text of a cell that no spreadsheet takes for a formula: `'` stands before what would begin one."""
    shown = _UNSEEN.sub(lambda m: m.group() if m.group() == "\r" else _named(m), text)
    if not _FORMULA.match(shown) or shown == "-":
        return visible(text)
    try:
        float(shown)
    except ValueError:
        return "'" + visible(text)
    return text


def figure(text: str) -> str:
    """A label of a figure; its own line feeds stay."""
    return visible(text).replace("\t", " ")
