"""Tokens of a cleaned answer. Linear time; a character that no rule reads makes the answer unreadable."""

from __future__ import annotations

import re
from typing import NamedTuple

from eprli_lab.grading.spelling import CLOSE, OPEN


class UnreadableError(Exception):
    """An answer that the reader does not understand: it is equal to nothing but its own spelling."""


class Token(NamedTuple):
    """kind: number, letter, word, command, function, text, or the character itself; `spaced`: white space before."""

    kind: str
    text: str
    spaced: bool


FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh coth log ln lg exp sqrt gcd lcm min max asin acos "
    "atan binom det".split()
)
_BARE = {"pi": "pi", "infinity": "infty", "inf": "infty", "infty": "infty", "theta": "theta", "alpha": "alpha"}
CONNECTORS = {"and": "and", "or": "or", "和": "and", "或": "or", "及": "and", "&": "and"}
UNITS = frozenset(
    "cm mm km dm nm ft yd yds mi kg mg lb lbs oz ml kl hr hrs min mins sec secs ms mph kph hz khz inch inches foot "
    "feet yard mile meter metre gram liter litre hour minute second day week month year cent dollar euro pound yen "
    "degree unit percent sq square cubic cu radian rad deg usd eur rupee watt volt joule newton pa kpa mol "
    "people person".split()
)
_GROUP = r"(?:\{,\}|\\!,\\!|,\\!\s*|\\!\s*,?|\\,|\\;|\\:|\\ |~|(?<=\d) )"
_TAIL = r"(?:\.\d*)?(?:[eE][+-]?\d{1,9}(?![A-Za-z\d]))?"
_GROUPED = re.compile(rf"[1-9]\d{{0,2}}(?:{_GROUP}\d{{3}})+(?!\d|{_GROUP}\d)")
_COMMAS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?!\d|,\d)")
_NUMBER = re.compile(rf"(?:\d+|(?=\.\d)){_TAIL}", re.ASCII)
_LETTERS = re.compile(r"[A-Za-z]+")
_COMMAND = re.compile(r"\\([A-Za-z]+|.)", re.DOTALL)
_SPACE = re.compile(r"(?:\s|\\[,;:! ]|\\q?quad(?![a-zA-Z])|~|\\hspace\{[^{}]*\}|\\phantom\{[^{}]*\})+")
_OTHER_WORD = re.compile(r"[^\W\d_A-Za-z]+")
_PUNCTUATION = frozenset("+-*/^_(){}[]=<>,;:!|&%'€£¥₹")
_ALIASES = {
    "times": "*", "cdot": "*", "ast": "*", "div": "/", "le": "<=", "leq": "<=", "leqslant": "<=", "ge": ">=",
    "geq": ">=",
    "geqslant": ">=", "lt": "<", "gt": ">", "neq": "!=", "ne": "!=", "approx": "~", "simeq": "~", "colon": ":",
    "lvert": "|", "rvert": "|", "vert": "|", "mid": "|", "dots": "ldots", "cdots": "ldots", "dotsc": "ldots",
    "dotsb": "ldots", "vdots": "ldots", "degree": "circ", "lbrace": "\\{", "rbrace": "\\}", "varnothing": "emptyset",
    "lor": "or", "vee": "or", "land": "and", "wedge": "and", "lbrack": "[", "rbrack": "]", "iff": "=",
    "dbinom": "binom",
    "tbinom": "binom", "varphi": "phi", "varepsilon": "epsilon", "pounds": "£", "euro": "€",
}  # fmt: skip


def _commas_group(s: str) -> set[int]:
    """Where a comma stands between digits as a thousands separator: outside brackets, or where lists have a space."""
    groups: list[list[int]] = [[]]
    spaced = [True]
    grouping: set[int] = set()
    depth_of_first = 0
    for i, c in enumerate(s):
        if c in "([{":
            groups.append([])
            spaced.append(False)
        elif c in ")]}" and len(groups) > 1:
            if spaced.pop():
                grouping.update(groups[-1])
            groups.pop()
        elif c == ",":
            if i + 1 < len(s) and s[i + 1].isdigit():
                groups[-1].append(i)
            else:
                spaced[-1] = True
    return grouping.union(*groups[: depth_of_first + 1])


def _number(s: str, i: int, commas: set[int]) -> tuple[str, int] | None:
    """The number that starts here, without separators, and where it ends."""
    for pattern in (_GROUPED, _COMMAS):
        found = pattern.match(s, i)
        if found and (pattern is _GROUPED or all(i + k in commas for k, c in enumerate(found[0]) if c == ",")):
            tail = re.compile(_TAIL).match(s, found.end())
            end = tail.end() if tail else found.end()
            return re.sub(r"\D", "", found[0]) + s[found.end() : end], end
    found = _NUMBER.match(s, i)
    return (found[0], found.end()) if found else None


def _letters(text: str, spaced: bool, prose: bool, after: str) -> list[Token]:
    """A run of letters: a function, a connector, a unit, a word, or a product of variables."""
    lower = text.lower()
    if text in FUNCTIONS and not (after == "" and text in UNITS):
        return [Token("function", text, spaced)]
    if text in _BARE:
        return [Token("command", _BARE[text], spaced)]
    if lower in CONNECTORS:
        return [Token(CONNECTORS[lower], text, spaced)]
    singular = lower.removesuffix("s")
    if len(text) > 1 and (lower in UNITS or singular in UNITS) and (spaced or not prose):
        return [Token("text", lower, spaced)]
    if (len(text) > 3 and prose) or (len(text) > 1 and prose and text.islower() and lower in ("am", "pm", "is", "no")):
        return [Token("text", lower, spaced)]
    return [Token("letter", c, spaced and k == 0) for k, c in enumerate(text)]


def tokens(s: str) -> list[Token]:
    """All tokens. Raises UnreadableError."""
    out: list[Token] = []
    commas = _commas_group(s) if "," in s else set()
    prose = not re.search(r"[*^_+]", s)
    i, spaced = 0, False
    while i < len(s):
        space = _SPACE.match(s, i)
        if space:
            i, spaced = space.end(), True
            continue
        new, i = _next(s, i, commas, spaced, prose)
        out += new
        spaced = False
    return out


def _next(s: str, i: int, commas: set[int], spaced: bool, prose: bool) -> tuple[list[Token], int]:
    c = s[i]
    if c.isdigit() or c == ".":
        number = _number(s, i, commas)
        if number:
            return [Token("number", number[0], spaced)], number[1]
        if s.startswith("...", i):
            return [Token("command", "ldots", spaced)], i + 3
    letters = _LETTERS.match(s, i)
    if letters:
        return _letters(letters[0], spaced, prose, s[letters.end() : letters.end() + 1]), letters.end()
    if c == OPEN:
        end = s.find(CLOSE, i)
        words = " ".join(s[i + 1 : end].replace(OPEN, " ").split()) if end > 0 else ""
        kind = CONNECTORS.get(words.lower().strip(" ,"), "text")
        return [Token(kind, words, spaced)], (end + 1 if end > 0 else len(s))
    if c == "\\":
        return _command(s, i, spaced)
    for two in ("<=", ">=", "!=", "**"):
        if s.startswith(two, i):
            return [Token("^" if two == "**" else two, two, spaced)], i + 2
    if c in _PUNCTUATION:
        return [Token(c, c, spaced)], i + 1
    other = _OTHER_WORD.match(s, i)
    if other:
        return [Token(CONNECTORS.get(other[0], "text"), other[0], spaced)], other.end()
    raise UnreadableError(c)


def _command(s: str, i: int, spaced: bool) -> tuple[list[Token], int]:
    found = _COMMAND.match(s, i)
    if not found:
        raise UnreadableError("\\")
    name = found[1]
    if name in ("{", "}", "|", "\\"):
        return [Token("\\" + name, name, spaced)], found.end()
    if name in "%&$#_":
        return [Token("%" if name == "%" else "&" if name == "&" else name, name, spaced)], found.end()
    name = _ALIASES.get(name, name)
    if name in ("or", "and") or not name.isalpha():
        return [Token(name, name, spaced)], found.end()
    if name in FUNCTIONS and name not in ("sqrt", "binom"):
        return [Token("function", name, spaced)], found.end()
    return [Token("command", name, spaced)], found.end()
