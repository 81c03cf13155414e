r"""Worked solutions: their steps, and the answer that they end with (`#### 72`, the last box)."""

from __future__ import annotations

import re

from eprli_lab.data.rows import RowError
from eprli_lab.grading import formats
from eprli_lab.grading.boxes import BOXES

_ANSWER = re.compile(r"\\boxed\b|\\fbox\b|####")  # where a worked solution gives its answer


def solution_steps(text: str) -> tuple[str, ...]:
    r"""The steps of a worked solution, up to its answer: put together, the first of them are its beginning.

    Lines (with the line ends behind them); of a solution in one line sentences (with the space before them). The step
    in which the answer is given (the first `\boxed`, `\fbox` or `####`) is left out with everything behind it, and
    where nothing marks the answer the last step.
    """
    text = text.strip()
    marked = _ANSWER.search(text)
    lines = re.findall(r"[^\n]+(?:\n\s*)?", text[: text.rfind("\n", 0, marked.start()) + 1] if marked else text)
    if len(lines) > 1:
        return tuple(lines if marked else lines[:-1])
    sentences = re.split(r"(?<=[.!?])(?=\s)", text[: marked.start()] if marked else text)
    if marked is None or not re.search(r"[.!?]\s*$", sentences[-1]):
        sentences = sentences[:-1]  # the answer's own
    return tuple(s for s in sentences if s.strip())


def is_solution(text: str) -> bool:
    """Whether an answer is a worked solution, or at least marks its answer as one does."""
    return "####" in text or any(box in text for box in BOXES)


def solution_answer(text: str) -> str:
    r"""The answer of a worked solution: behind its last `####`, else in its last box.

    Boxes that are one list (`\boxed{1} and \boxed{2}`) are one answer, as in a response. Raises RowError where the
    mark has no answer.
    """
    if "####" in text:
        found = formats.hash(text) or text.rpartition("####")[2].strip()
    else:
        found = formats.boxed(text) or ""
    if not found.strip():
        mark = "####" if "####" in text else "a box"
        raise RowError(f"the answer is a worked solution that gives none in {mark}", "a solution without an answer")
    return found.strip()
