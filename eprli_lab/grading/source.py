r"""The program in a response.

`boxed`: the content of the last `\boxed{}`, put into the problem's `template`. `python`: the last block that begins
with ```python (or ```py, or ``` alone), else the whole response; text that defines no function of the problem's name
goes on where the prompt ends, up to the first line behind it that is not indented.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from eprli_lab.grading.boxes import extract_boxed, without_thinking

_BLOCK = re.compile(
    r"^[ \t]*```(?:python|py|python3)?[ \t]*\n(.*?)(?:^[ \t]*```|\Z)", re.MULTILINE | re.DOTALL | re.IGNORECASE
)
_FENCE = re.compile(r"^[ \t]*```", re.MULTILINE)
_HOLE = "{}"


@dataclass(frozen=True)
class Source:
    """A program: as the response says it, and as it is run."""

    answer: str
    source: str


def program_of(response: str, checks: dict[str, Any]) -> Source | None:
    """The program of a response; None where there is none."""
    text = without_thinking(response)
    if checks["format"] == "boxed":
        content = extract_boxed(text)
        if content is None or not content.strip():
            return None
        return Source(content, checks["template"].replace(_HOLE, content, 1))
    code = python_block(text)
    if not code.strip():
        return None
    if re.search(rf"^(?:async[ \t]+)?def[ \t]+{re.escape(checks['entry'])}\b", code, re.MULTILINE):
        return Source(code, f"{checks['before']}\n{code}")
    return Source(code, checks["prompt"] + body(code))


def python_block(text: str) -> str:
    """The last block of Python, closed or not; the whole text where there is no fence; empty where other fences are."""
    blocks = _BLOCK.findall(text)
    if blocks:
        return str(blocks[-1])
    return "" if _FENCE.search(text) else text


def body(code: str) -> str:
    """The beginning of a completion that still belongs to the function: up to the first line that is not indented."""
    lines = code.split("\n")
    for number, line in enumerate(lines):
        if number and line and not line[0].isspace() and line[0] not in ")]}#":
            return "\n".join(lines[:number]) + "\n"
    return code
