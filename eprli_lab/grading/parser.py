r"""An answer, read: LaTeX or plain text -> a tree of numbers, expressions, lists, intervals, relations, words.

Recursive descent over at most LONGEST_READ characters and DEEPEST brackets, so that no answer costs more than a few
milliseconds. What is not understood whole is not understood: no part of an answer is left out.
"""

from __future__ import annotations

import re
from functools import lru_cache

from eprli_lab.grading.boxes import BOXES, extract_boxed
from eprli_lab.grading.lexer import Token, UnreadableError, tokens
from eprli_lab.grading.products import ProductReader
from eprli_lab.grading.spelling import CLOSE, OPEN, clean
from eprli_lab.grading.tree import Based, Choice, Node, Op, Rel, Seq, Sym, Text, Unit, is_deep
from eprli_lab.grading.words import SAME_WORDS, as_number, plain_words, unit_name

LONGEST_READ = 4096
DEEPEST_TREE = 120
RELATIONS = ("=", "<", ">", "<=", ">=", "!=", "~")
_BASED = re.compile(r"([0-9A-Z]+)_\{?\s*(\d{1,2})\s*\}?")
_WHOLE_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{(.*)\}", re.DOTALL)
_CHOICE = re.compile(rf"[\s{OPEN}]*(?:\(\s*([A-J])\s*\)[.:]?|([A-J])\s*[.:)])[\s~\\{CLOSE}]*(.*)", re.DOTALL)


class Reader(ProductReader):
    """The levels of an answer above a product: sums, ratios, relations, lists."""

    def answer(self) -> Node:
        """Everything, to the end."""
        parts = [self.items()]
        while self.take(";"):
            parts.append(self.items())
        if self.i < len(self.tokens):
            self.fail()
        return parts[0] if len(parts) == 1 else Seq("semicolon", tuple(parts))

    def items(self) -> Node:
        """Relations with commas, `and`, `or` between them."""
        out, separators = [self.relation()], set()
        while True:
            separator = {k for k in (",", "and", "or") if self.take(k)} | {k for k in ("and", "or") if self.take(k)}
            if not separator:
                break
            separators |= separator - {","} or separator
            out.append(self.relation())
        if len(out) == 1:
            return out[0]
        return Seq("or" if separators == {"or"} else "list", tuple(out))

    def relation(self) -> Node:
        self.enter()
        lead = self.take("~")
        ops, parts = [], [self.union()]
        while self.peek() in RELATIONS or self.at_command("in"):
            ops.append(self.next().text if self.at_command("in") else self.next().kind)
            parts.append(self.union())
        self.leave()
        if lead and ops:
            self.fail()
        return Rel(tuple(ops), tuple(parts)) if ops else parts[0]

    def union(self) -> Node:
        parts = [self.ratio()]
        while self.take_command("cup"):
            parts.append(self.ratio())
        return parts[0] if len(parts) == 1 else Seq("union", tuple(parts))

    def ratio(self) -> Node:
        parts = [self.scalar()]
        while self.take(":"):
            parts.append(self.scalar())
        return parts[0] if len(parts) == 1 else Seq("ratio", tuple(parts))

    def scalar(self) -> Node:
        """A sum, with a currency before it or a unit behind it."""
        currency = self.currency()
        if self.peek() == "text" and not currency:
            return self.text()
        value = self.sum()
        unit = self.unit()
        if currency and unit and unit != currency:
            self.fail()
        return Unit(value, unit or currency) if unit or currency else value

    def text(self) -> Node:
        words = [self.next().text]
        while self.peek() == "text":
            words.append(self.next().text)
        joined = " ".join(words)
        if len(joined) == 1 and joined.isalpha() and joined.isascii():
            return Sym(joined)
        return text_of(joined)

    def currency(self) -> str:
        if self.peek() in ("$", "€", "£", "¥", "₹"):
            return self.next().kind
        return ""

    def unit(self) -> str:
        """`cm`, `cm^2`, `\text{miles per hour}`, `km/h`, as one canonical word; empty where there is none."""
        words = self.currency()
        while self.peek() == "text" or (words and self.peek() in ("/", "^") and self.unit_goes_on()):
            token = self.next()
            if token.kind in ("/", "^"):
                words += token.kind
                if token.kind == "^":
                    words += self.exponent_digits()
            else:
                words += " " + token.text
        return unit_name(words)

    def unit_goes_on(self) -> bool:
        after = self.tokens[self.i + 1 : self.i + 2]
        kinds = ("number", "{") if self.peek() == "^" else ("text",)
        return bool(after) and after[0].kind in kinds

    def exponent_digits(self) -> str:
        braced = self.take("{")
        minus = "-" if self.take("-") else ""
        if self.peek() != "number":
            self.fail()
        digits = self.next().text
        if braced and not self.take("}"):
            self.fail()
        return minus + digits

    def sum(self) -> Node:
        self.enter()
        terms = [self.product()]
        while True:
            if self.take("+"):
                terms.append(self.product())
            elif self.take("-"):
                terms.append(Op("neg", (self.product(),)))
            elif self.at_command("pm") or self.at_command("mp"):
                terms.append(Op(self.next().text, (self.product(),)))
            else:
                break
        self.leave()
        return terms[0] if len(terms) == 1 else Op("add", tuple(terms))


def text_of(words: str) -> Node:
    """Words, or what they are another word for."""
    plain = plain_words(words)
    return SAME_WORDS.get(plain, Text(plain))


@lru_cache(maxsize=4096)
def read(answer: str) -> Node | None:
    """The tree of an answer; None for one that is not understood."""
    if len(answer) > LONGEST_READ:
        return None
    try:
        tree = _read(clean(answer))
        return None if tree is None or is_deep(tree, DEEPEST_TREE) else tree
    except (UnreadableError, RecursionError, OverflowError, ValueError):
        return None


def _read(s: str) -> Node | None:
    for _ in range(3):  # a box in a box
        whole = _WHOLE_BOX.fullmatch(s)
        if whole and extract_boxed(s) == whole[1]:
            s = clean(whole[1])
    if not s or any(box in s for box in BOXES):
        return None
    bare = s.replace(OPEN, "").replace(CLOSE, "")
    number = as_number(bare)
    if number is not None:
        return number
    based = _BASED.fullmatch(re.sub(r"\s+", "", bare).replace("(", "").replace(")", ""))
    if based and 2 <= int(based[2]) <= 36 and re.search(r"\d", based[1]):
        return Based(based[1].lstrip("0") or "0", int(based[2]))
    if re.fullmatch(r"\s*\(?\s*[A-Z]\s*\)?\s*", bare):
        return Choice(re.sub(r"[\s()]", "", bare))
    choice = _CHOICE.fullmatch(s)
    if choice:
        rest = choice[3].strip()
        return Choice(choice[1] or choice[2], _read(rest) if rest.strip(CLOSE + OPEN + " ") else None)
    words = _as_words(bare)
    if words is not None:
        return words
    found: list[Token] = tokens(s)
    try:
        return Reader(found).answer()
    except UnreadableError:
        if re.search(r"[\\^_=+*<>]", bare) or not re.search(r"[^\W\d_]{2}", bare):
            raise
        return Text(plain_words(bare))  # prose with a number in it


_LETTERS_ONLY = re.compile(r"[^\W\d_]+(?:[\s'-]+[^\W\d_]+)*[.!]?")


def _as_words(bare: str) -> Node | None:
    """Letters alone: words, in which order counts; but `xy` is a product, and so is what functions are made of."""
    if not _LETTERS_ONLY.fullmatch(bare) or len(bare) < 2:
        return None
    if re.fullmatch(r"[x-z]+", bare) or bare in ("pi", "inf", "infinity"):
        return None
    if re.search(r"\b(?:and|or)\b", bare, re.IGNORECASE) and re.fullmatch(
        r"[A-Za-z](?:\s+(?:and|or)\s+[A-Za-z])+", bare
    ):
        return None
    return text_of(bare)
