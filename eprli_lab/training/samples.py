"""A few whole responses of every step, kept for people to read. Chosen by fixed rules: no random stream is touched."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from typing import Any

from eprli_lab.records import Grade, Group, Problem

KINDS = ("best", "worst", "truncated", "near", "other")  # in this order; near: wrong, its answer nearest to a right one
LONGEST_ANSWER = 200  # characters of an answer that are compared


def sample_rows(step: int, groups: Sequence[Group], count: int) -> list[dict[str, Any]]:
    """At most `count` rows of the table `samples`, of one step's groups of one level (empty for count 0).

    The first response of highest reward, the first of lowest, the first that was cut off, the wrong one whose answer is
    nearest; then the first of each group in order. No response stands twice.
    """
    taken: set[tuple[int, int]] = set()
    rows = []
    for kind, place in _candidates(groups) if count else ():
        if place not in taken:
            taken.add(place)
            rows.append(_row(step, kind, groups[place[0]], place[1]))
        if len(rows) == count:
            break
    return rows


def _candidates(groups: Sequence[Group]) -> Iterator[tuple[str, tuple[int, int]]]:
    """(kind, (group, response)), lazily, in order of preference."""
    every = [(i, j) for i, g in enumerate(groups) for j in range(len(g.responses))]
    if not every:
        return
    reward = {(i, j): groups[i].rewards[j] for i, j in every}
    best, worst = max(every, key=lambda p: reward[p]), min(every, key=lambda p: reward[p])
    yield "best", best
    if reward[worst] < reward[best]:
        yield "worst", worst
    cut = next((p for p in every if groups[p[0]].responses[p[1]].truncated), None)
    if cut is not None:
        yield "truncated", cut
    apart = {p: distance(groups[p[0]].grades[p[1]], groups[p[0]].problem) for p in every}
    near = min(every, key=lambda p: apart[p])
    if apart[near] < math.inf:
        yield "near", near
    for i in range(len(groups)):
        yield "other", (i, 0)


def distance(grade: Grade, problem: Problem) -> float:
    """How far a wrong answer is from the nearest accepted one; inf for a right one, or none.

    Of two numbers: their difference in shares of the right one (of 1 below that); else one minus the similarity of the
    strings (difflib's ratio).
    """
    if grade.correct or grade.answer is None:
        return math.inf
    return min(_apart(grade.answer[:LONGEST_ANSWER], right[:LONGEST_ANSWER]) for right in problem.answers)


def _apart(answer: str, right: str) -> float:
    try:
        given, wanted = float(answer), float(right)
    except ValueError:
        return 1.0 - difflib.SequenceMatcher(None, answer, right, autojunk=False).ratio()
    return abs(given - wanted) / max(1.0, abs(wanted)) if math.isfinite(given) and math.isfinite(wanted) else math.inf


def _row(step: int, kind: str, group: Group, number: int) -> dict[str, Any]:
    problem, response, grade = group.problem, group.responses[number], group.grades[number]
    return {
        "step": step,
        "level": group.level,
        "kind": kind,
        "problem": problem.id,
        "difficulty": problem.difficulty,
        "prompt": ("\n".join(f"{role}: {text}" for role, text in problem.messages) or problem.prompt) + problem.hint,
        "response": response.text,
        "accepted": list(problem.answers),
        "answer": grade.answer,
        "correct": grade.correct,
        "status": grade.status,
        "reward": group.rewards[number],
        "tokens": len(response.tokens),
        "truncated": response.truncated,
        "verdict": group.verdict,
    }
