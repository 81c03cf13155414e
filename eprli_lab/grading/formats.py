r"""Where a response says its answer: `verify.format`, a choice and no guess. None: it says none.

Whatever the format, nothing in `<think>` is an answer, and of several the last counts. One's own is a function
`(response) -> str | None`, `verify.format=module:function`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from eprli_lab.config.extensions import KINDS, resolve
from eprli_lab.grading.boxes import boxed_answer, extract_boxed, without_thinking
from eprli_lab.grading.spelling import plain_unicode, unmarked


def boxed(response: str) -> str | None:
    r"""`\boxed{42}`; boxes joined by `and` or commas are one list."""
    return boxed_answer(without_thinking(response))


def hash(response: str) -> str | None:
    """`#### 42` (GSM8K): the rest of the line behind the last four hashes that begin one."""
    found = re.findall(r"(?m)^[ \t*]*####(?!#)[ \t]*([^\n]*)", without_thinking(response))
    return _unboxed(found[-1]) if found and found[-1].strip() else None


_ANSWER = re.compile(
    r"(?mi)^[ \t>*_#]*(?:the[ \t]+)?(?:final[ \t]+)?answer[ \t]*[*_]*[ \t]*[:：][ \t]*[*_]*[ \t]*([^\n]*)"
)


def answer_line(response: str) -> str | None:
    """`Answer: 42` (DAPO): the rest of the last line that begins so, whatever its case, bold or not."""
    found = [m[1].strip() for m in _ANSWER.finditer(without_thinking(response))]
    return _unboxed(found[-1]) if found and found[-1].strip("*_ ") else None


def tag(response: str) -> str | None:
    """`<answer>42</answer>`: the last one that is closed."""
    text = without_thinking(response)
    end = text.lower().rfind("</answer>")
    start = text.lower().rfind("<answer>", 0, max(end, 0))
    content = text[start + len("<answer>") : end].strip() if 0 <= start < end else ""
    return _unboxed(content) if content else None


_NUMBER = re.compile(
    r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)(?:\.\d+)?(?:[eE][-+]?\d+|/\d+)?\s?%?|(?<![\w.])[-+]?\.\d+\s?%?",
    re.ASCII,
)


def last_number(response: str) -> str | None:
    """The last number: `42`, `-1,234.5`, `3/4`, `50%`."""
    last = None
    for match in _NUMBER.finditer(plain_unicode(without_thinking(response))):
        last = match[0]
    return last.strip() if last else None


_LETTER = re.compile(
    r"(?:answer|choice|option)\s*(?:is|:|：)?\s*[*_$]*\s*(?:option\s+)?[*_$]*\(?\s*([A-J])\b\s*\)?(?!\s*(?:or|and|,|/)\s*\(?[A-J]\b)"
    r"|(?m:^)[\s*_$]*\(?([A-J])\)?[\s*_$.]*(?m:$)",
    re.IGNORECASE,
)


def choice_letter(response: str) -> str | None:
    r"""A letter of a multiple choice: boxed, else behind the last "answer is" or "answer:", else alone on a line."""
    text = without_thinking(response)
    content = extract_boxed(text)
    if content is not None:
        return content
    found = None
    for match in _LETTER.finditer(text):
        letter = match[1] or match[2]
        if letter.isupper():
            found = letter
    return found


def _unboxed(answer: str) -> str:
    content = boxed_answer(answer)
    return unmarked(answer.strip()) if content is None else content


_ASKED = (  # what a prompt asks for: a pattern, the format that reads it, its words in a sentence
    (re.compile(r"\\+(?:boxed|fbox)"), "boxed", r"\boxed{}"),
    (re.compile(r"####"), "hash", "####"),
    (re.compile(r"<answer>"), "tag", "<answer>"),
    (
        re.compile(
            r"(?i:form|format|line|write|put|respond|output|begin|start|end|with|after)\b[^.?!]{0,80}\bAnswer\s?:"
        ),
        "answer_line",
        "Answer:",
    ),
)


def asked_for(prompt: str) -> dict[str, str]:
    """Formats that a prompt speaks of -> how it spells them; `Answer:` as its last words asks for nothing."""
    out = {}
    for pattern, name, words in _ASKED:
        if pattern.search(prompt.rstrip().removesuffix("Answer:")):
            out[name] = words
    return out


def mismatch(prompts: Iterable[str], chosen: str) -> tuple[str, str, int, int] | None:
    """Do most prompts ask for another format than the chosen one, and for one only?

    Its name, how the prompts spell it, how many ask for it, and how many prompts there are; None where all is well.
    """
    counts: dict[tuple[str, str], int] = {}
    total = 0
    for prompt in prompts:
        total += 1
        asked = asked_for(prompt)
        if chosen in asked or ":" in chosen or len(asked) != 1:
            continue
        counts[next(iter(asked.items()))] = counts.get(next(iter(asked.items())), 0) + 1
    if not counts:
        return None
    (name, words), count = max(counts.items(), key=lambda kv: kv[1])
    readable = chosen in ("last_number", "choice_letter") and name in ("hash", "answer_line", "boxed", "tag")
    return (name, words, count, total) if count * 2 > total and not readable else None


def silent(responses: Sequence[tuple[str, str]], chosen: str, key: str = "verify.format") -> str | None:
    """A sentence where more than half of (text, status of the grade) hold no answer, with the end of one as example.

    `key`: of the config, under which the format was chosen.
    """
    without = [text for text, status in responses if status == "no_answer"]
    if len(without) * 2 <= len(responses):
        return None
    example = " ".join(without[0].split())[-160:]
    others = {name: resolve("format", name) for name in KINDS["format"].registered if name != chosen}
    reads = (name for name, find in others.items() if sum(find(t) is not None for t in without) * 2 > len(without))
    other = next(reads, None)
    advice = f"; {key}={other} would read them, or ask for the format in prompts.*" if other else ""
    return (
        f"{len(without)} of the first {len(responses)} responses hold no answer in the format {chosen} and earn nothing"
        f"{advice}; one ends: ...{example!r}"
    )
