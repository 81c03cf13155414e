"""What in reasoning-gym would execute an answer, or never end.

Four of its scorers ask `eval`, five ask SymPy, which asks it too. The first read lists of literals, and are given
`ast.literal_eval` in its place. The others read formulas: only an answer made of numbers, single letters, known
functions, operators and brackets comes to them, any other is wrong.

Two of its generators never end for one entry in a hundred of their harder levels: `arc_1d` looks for a tenth of nine
colours, `number_sequence` squares a number a dozen times over. The first raises after so many draws, the second drops
such a sequence before it is computed, as it would after. Every other entry is what it was.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from random import Random
from typing import Any

EVALUATED = frozenset(("binary_matrix", "n_queens", "spiral_matrix", "string_insertion"))
PARSED = frozenset(("countdown", "intermediate_integration", "puzzle24", "simple_integration"))
MOST_DRAWS = 100_000  # of an entry; what ends takes a few thousand
LARGEST = 10**9  # term; sequences with one over 1000 are dropped
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


def with_an_end(kind: type[Any]) -> None:
    """From now on the generator of such a class ends for every entry."""
    module = sys.modules[kind.__module__]
    if module.__name__.endswith(".arc_1d"):
        vars(module)["Random"] = _CountedRandom
    elif module.__name__.endswith(".number_sequences") and not hasattr(module.PatternRule.apply, "__wrapped__"):
        module.PatternRule.apply = _bounded(module.PatternRule.apply)


class _CountedRandom(Random):
    """Python's generator, the same numbers, with an end."""

    drawn = 0

    def getrandbits(self, k: int, /) -> int:
        self.drawn += 1
        if self.drawn > MOST_DRAWS:
            raise RuntimeError(f"the entry is not made after {MOST_DRAWS:,} draws")
        return super().getrandbits(k)


def _bounded(apply: Any) -> Any:
    """The next term of a sequence, or what the generator takes for one that is to be dropped."""

    @functools.wraps(apply)
    def bounded(rule: Any, sequence: list[int], position: int) -> int:
        term: int = apply(rule, sequence, position)
        if abs(term) > LARGEST:
            raise OverflowError
        return term

    return bounded
