r"""Boxes in a response: the last `\boxed{...}`, or several that are one answer."""

from __future__ import annotations

import re
from typing import NamedTuple

BOXES = ("\\boxed", "\\fbox", "\\framebox")


class Box(NamedTuple):
    """A complete box: where it begins, where its content is, in characters."""

    begin: int
    start: int
    end: int


def scan(text: str) -> tuple[list[Box], Box | None]:
    """Complete outermost boxes in order, and the last complete box within one that never closes. Linear time."""
    outermost: list[Box] = []
    inner: Box | None = None
    opened: list[tuple[int, int]] = []  # per open brace: begin of the box and of its content, or (-1, -1)
    boxes, i = 0, 0
    while i < len(text):
        c = text[i]
        if c == "\\":
            name = next((b for b in BOXES if text.startswith(b, i)), None)
            if name is None:
                i += 2  # an escaped character, brace or not
                continue
            begin, i = i, i + len(name)
            while i < len(text) and text[i] == " ":
                i += 1
            if i < len(text) and text[i] == "{":
                opened.append((begin, i + 1))
                boxes += 1
                i += 1
            continue
        if c == "{":
            opened.append((-1, -1))
        elif c == "}" and opened:
            begin, start = opened.pop()
            if start >= 0:
                boxes -= 1
                if boxes == 0:
                    outermost.append(Box(begin, start, i))
                    inner = None
                else:
                    inner = Box(begin, start, i)
        i += 1
    return outermost, inner


def extract_boxed(text: str) -> str | None:
    r"""Content of the last complete `\boxed{...}` (or `\fbox`, `\framebox`); None where there is none. Linear time.

    Nesting and escaped braces are respected: of nested boxes the outermost counts. An unclosed box (a truncated
    response) hides nothing: the last complete box, inside it or before it, is taken.
    """
    outermost, inner = scan(text)
    found = inner or (outermost[-1] if outermost else None)
    return text[found.start : found.end] if found else None


_LINK = re.compile(
    r"(?:\s|[$,;:&*、]|\\[()\[\],;:! ]|\\q?quad(?![a-z])|\\text\s*\{\s*(?:and|or|,)\s*\}"
    r"|\b(?:and|or|the|other|second|third|solution|root|value|is|both|also)\b|\b[A-Za-z](?:_\{?\w{1,3}\}?)?\s*=)*"
)
_JOINED = re.compile(r"[,、&]|\b(?:and|or)\b")
LONGEST_LINK = 60
MOST_BOXES = 100


def boxed_answer(text: str) -> str | None:
    r"""The answer of a response that boxes it. Linear time.

    The last box is the answer; where others stand right before it, joined by commas, `and`, `or`, they are one list:
    `\boxed{1} and \boxed{-2}` says `1 and -2`, and pays neither 1 nor -2 alone.
    """
    outermost, inner = scan(text)
    if inner or not outermost:
        return text[inner.start : inner.end] if inner else None
    contents = [text[outermost[-1].start : outermost[-1].end].strip()]
    for left, right in zip(outermost[-2 : -MOST_BOXES - 1 : -1], outermost[:0:-1], strict=False):
        between = text[left.end + 1 : right.begin]
        if len(between) > LONGEST_LINK or not _JOINED.search(between) or not _LINK.fullmatch(between):
            break
        content = text[left.start : left.end].strip()
        if content not in contents:
            contents.append(content)
    last = outermost[-1]
    if len(contents) == 1 or not contents[0]:
        return text[last.start : last.end]
    return r" \text{ and } ".join(reversed(contents))


_CLOSING = re.compile(r"</think(?:ing)?>")
_OPENING = re.compile(r"<think(?:ing)?>")


def without_thinking(text: str) -> str:
    """What is said after the thinking: nothing in `<think>`, closed or not, is an answer."""
    if "think" not in text:
        return text
    end = 0
    for closing in _CLOSING.finditer(text):
        end = closing.end()
    text = text[end:]
    opened = _OPENING.search(text)
    return text[: opened.start()] if opened else text
