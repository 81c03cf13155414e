"""Answers that a scorer of reasoning-gym would execute: four of its sets ask `eval`, five ask SymPy, which asks it too.

The first read lists of literals, and are given `ast.literal_eval` in its place. The others read formulas: only an
answer made of numbers, single letters, known functions, operators and brackets comes to them, any other is wrong.
"""

from __future__ import annotations

import ast
import re
import sys
from typing import Any

EVALUATED = frozenset(("binary_matrix", "n_queens", "spiral_matrix", "string_insertion"))
PARSED = frozenset(("countdown", "intermediate_integration", "puzzle24", "simple_integration"))
LONGEST = 20_000  # characters of a formula
_FORMULA = re.compile(r"[\w\s+\-*/^().,]*", re.ASCII)
_WORD = re.compile(r"[A-Za-z_]\w*")
_ATTRIBUTE = re.compile(r"\.\s*[A-Za-z_]")
_FUNCTIONS = frozenset(
    "sin cos tan cot sec csc asin acos atan sinh cosh tanh asinh acosh atanh exp log ln sqrt Abs abs pi".split()
)


def may_be_scored(name: str, answer: str) -> bool:
    """False for what is no formula, where the set's scorer takes formulas."""
    if name not in PARSED:
        return True
    if len(answer) > LONGEST or not _FORMULA.fullmatch(answer) or _ATTRIBUTE.search(answer):
        return False
    return all(len(word) == 1 or word in _FUNCTIONS for word in _WORD.findall(answer))


def without_eval(kind: type[Any]) -> None:
    """In the module of such a class `eval` reads literals from now on, and executes nothing."""
    module = sys.modules[kind.__module__]
    if module.__name__.rpartition(".")[2] in EVALUATED:
        vars(module)["eval"] = ast.literal_eval
