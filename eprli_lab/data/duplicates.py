"""The same problem twice: within a data set, and in training and evaluation."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import unicodedata
from collections.abc import Sequence

from eprli_lab.data.rows import BadRow, shown
from eprli_lab.grading.answers import exact, normalise
from eprli_lab.records import Problem

# Whole sentences or lines that all prompts of a set begin or end with are no part of a problem: from so many problems
# and so many characters on; training/prompts.py shows them.
FRAME = (8, 16)
_DRESS = re.compile(
    r"\\(?:left|right|displaystyle|q?quad)(?![a-z])|\\[,;:!()\[\] ]|[\s${}]"
    r"|(?<!\d)[.,;:?\"'](?!\d)|(?<=\d)[.,;:?\"'](?!\d)|(?<!\d)[,;:?\"'](?=\d)"  # punctuation, none within a number
)
_END = re.compile(r"\n|[.:?!]\s")  # of a sentence or line


class Distinct:
    """The distinct problems of a source, in order; a repeated one is counted, one with other answers is bad."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.repeated = 0
        self.relabelled = 0  # of these, with another difficulty: the first one's counts
        self._places: list[str] = []
        self._seen: dict[bytes, int] = {}
        self._bad: dict[int, list[BadRow]] = {}

    def add(self, problem: Problem, place: str) -> bool:
        """Whether it is another one than all before."""
        key = _digest(problem)
        first = self._seen.setdefault(key, len(self.problems))
        if first == len(self.problems):
            self.problems.append(problem)
            self._places.append(place)
            return True
        known = self.problems[first]
        if same_answers(known.answers, problem.answers):
            self.repeated += 1
            self.relabelled += known.difficulty != problem.difficulty
            return False
        reason = "the same prompt with different answers"
        there = self._places[first]
        both = f"{shown(', '.join(known.answers))} and {shown(', '.join(problem.answers))}"
        if first not in self._bad:
            self._bad[first] = [
                BadRow(there, reason, f"the prompt comes again at {place}, with another answer: {both}")
            ]
        self._bad[first].append(BadRow(place, reason, f"the prompt of {there} again, with another answer: {both}"))
        return False

    def bad(self) -> list[BadRow]:
        """All rows of prompts with different answers: nobody knows which is right."""
        return [row for first in sorted(self._bad) for row in self._bad[first]]

    def usable(self) -> list[Problem]:
        """The distinct problems whose answers agree."""
        return [p for i, p in enumerate(self.problems) if i not in self._bad]


def same_answers(these: Sequence[str], those: Sequence[str]) -> bool:
    """Whether two lists of accepted answers say the same, as the grader reads them."""
    if {normalise(a) for a in these} == {normalise(a) for a in those}:
        return True
    return all(exact(a, those) for a in these) and all(exact(a, these) for a in those)


def _digest(problem: Problem) -> bytes:
    """Of all that is asked, white space and Unicode forms aside."""
    turns = problem.messages or (("user", problem.prompt),)
    text = "\0".join(f"{role}\0{' '.join(unicodedata.normalize('NFC', said).split())}" for role, said in turns)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def overlap(training: Sequence[Problem], suite: Sequence[Problem]) -> list[tuple[Problem, Problem]]:
    """(training problem, problem of the suite) of each problem of the suite that is trained on.

    Compared without white space, case, dollar signs, braces and sizes, and without what all prompts of a set begin or
    end with (an instruction, a template).
    """
    known: dict[str, Problem] = {}
    for problem, texts in zip(training, _texts(training), strict=True):
        for text in texts:
            known.setdefault(text, problem)
    found = []
    for problem, texts in zip(suite, _texts(suite), strict=True):
        twin = next((known[t] for t in texts if t in known), None)
        if twin is not None:
            found.append((twin, problem))
    return found


def untemplated(problems: Sequence[Problem], template: str) -> list[Problem]:
    """The problems as their file has them, without the source's `prompt_template`; conversations have none."""
    head, _, tail = template.partition("{prompt}")
    if not head and not tail:
        return list(problems)
    return [
        p if p.messages else dataclasses.replace(p, prompt=p.prompt.removeprefix(head).removesuffix(tail))
        for p in problems
    ]


def _texts(problems: Sequence[Problem]) -> list[tuple[str, ...]]:
    """What each problem asks, whole and without the frame that all of them share."""
    whole = ["\n".join(s for role, s in p.messages if role == "user") or p.prompt for p in problems]
    whole = [unicodedata.normalize("NFKC", text).casefold().strip() for text in whole]
    before, after = _frame(whole) if len(whole) >= FRAME[0] else (0, 0)
    bare = [text[before : max(before, len(text) - after)] for text in whole]
    plain = [(_plain(text), _plain(rest)) for text, rest in zip(whole, bare, strict=True)]
    return [(text, rest) if rest and rest != text else (text,) for text, rest in plain]


def _frame(texts: Sequence[str]) -> tuple[int, int]:
    """Characters of whole sentences or lines with which all begin, and with which all end."""
    first = texts[0]
    start = first[: shared_length(texts)]
    before = max((m.end() for m in _END.finditer(start)), default=0)
    length = shared_length([text[::-1] for text in texts])
    end = first[len(first) - length :]
    found = re.match(r"\s", end) or _END.search(end)
    after = length - found.end() if found else 0
    return before if before >= FRAME[1] else 0, after if after >= FRAME[1] else 0


def shared_length(texts: Sequence[str]) -> int:
    """Characters with which all begin."""
    first, last = min(texts), max(texts)  # what these two share, all share
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _plain(text: str) -> str:
    return re.sub(r"\\[dt]?frac", "frac", _DRESS.sub("", text))
