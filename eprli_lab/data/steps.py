r"""The worked steps of a response, checked one by one: what a step-wise reward is made of.

The steps of a chain (data/families.py) are labelled: `a74` or `a66+8=74` is the first, and is right when its result is
the true running total after the first operation. Steps count in order; one that is out of order, repeated or beyond the
chain is wrong. The final `\boxed{...}` is the outcome, not a step.
"""

from __future__ import annotations

import re

from eprli_lab.config.spec import STEPPED
from eprli_lab.data.families import LABELS, Chain, apply
from eprli_lab.records import Step

_PROMPT = re.compile(r"(\d+)((?:[a-h][+-]\d+)+)\?")
_OPERATION = re.compile(r"[a-h]([+-])(\d+)")
_STEP = re.compile(r"([a-h])([^a-h\\]*)")


def parse_chain(family: str, prompt: str) -> Chain:
    """The chain that a prompt states. Raises ValueError for any other text."""
    found = _PROMPT.fullmatch(prompt)
    if family not in STEPPED or found is None:
        raise ValueError(f"'{prompt}' is not a chain of the family {family}")
    steps = tuple((sign, int(operand)) for sign, operand in _OPERATION.findall(found[2]))
    return Chain(family, int(found[1]), steps)  # type: ignore[arg-type]


def totals(chain: Chain) -> list[int]:
    """The running total after each operation."""
    out, value = [], chain.start
    for sign, operand in chain.steps:
        value = apply(chain.family, value, sign, operand)
        out.append(value)
    return out


def check_steps(chain: Chain, text: str, ends: tuple[int, ...]) -> tuple[Step, ...]:
    """Each step of a response: the token in which it ends (from 0), and whether it is right.

    `ends[t]` is the number of characters of `text` up to and including token t.
    """
    right, out, position = totals(chain), [], 0
    body = text.partition("\\boxed{")[0]
    for i, found in enumerate(_STEP.finditer(body)):
        result = found[2].rpartition("=")[2]
        due = i < len(right) and found[1] == LABELS[i]
        while position < len(ends) - 1 and ends[position] < found.end():
            position += 1
        out.append(Step(position, due and result == str(right[i])))
    return tuple(out)
