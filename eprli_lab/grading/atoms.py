"""What products are made of: literals, fractions, roots, functions, brackets, matrices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from typing import NoReturn

from eprli_lab.grading.lexer import Token, UnreadableError
from eprli_lab.grading.tree import DOTS, EMPTY, INFINITY, REALS, Node, Num, Op, Rel, Seq, Sym

DEEPEST = 40
LONGEST_NUMBER = 1000  # digits
GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell hbar".split()
)
_NAMED = {"pi": Sym("pi"), "infty": INFINITY, "emptyset": EMPTY, "ldots": DOTS, "i": Sym("i")}
_DECORATED = frozenset(
    "overline vec hat bar widehat overrightarrow tilde overarc wideparen angle triangle measuredangle".split()
)
_APPLIED = frozenset("fgFGPQ")
_MATRICES = {"pmatrix": "matrix", "bmatrix": "matrix", "matrix": "matrix", "array": "matrix", "smallmatrix": "matrix",
             "vmatrix": "det", "cases": "cases"}  # fmt: skip
_BRACKETS = {"floor": ("lfloor", "rfloor"), "ceil": ("lceil", "rceil")}


class AtomReader(ABC):
    """Reads tokens from left to right."""

    def __init__(self, found: list[Token]) -> None:
        self.tokens = found
        self.i = 0
        self.depth = 0
        self.bars = 0

    @abstractmethod
    def items(self) -> Node: ...

    @abstractmethod
    def sum(self) -> Node: ...

    @abstractmethod
    def power(self) -> Node: ...

    @abstractmethod
    def exponent(self) -> Node | None: ...

    @abstractmethod
    def starts_factor(self) -> bool: ...

    # --- tokens

    def peek(self) -> str:
        return self.tokens[self.i].kind if self.i < len(self.tokens) else ""

    def next(self) -> Token:
        if self.i >= len(self.tokens):
            self.fail()
        self.i += 1
        return self.tokens[self.i - 1]

    def take(self, kind: str) -> bool:
        if self.peek() != kind:
            return False
        self.i += 1
        return True

    def at_command(self, name: str) -> bool:
        return self.peek() == "command" and self.tokens[self.i].text == name

    def take_command(self, name: str) -> bool:
        if not self.at_command(name):
            return False
        self.i += 1
        return True

    def need(self, kind: str) -> None:
        if not self.take(kind):
            self.fail()

    def fail(self) -> NoReturn:
        raise UnreadableError

    def enter(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            self.fail()

    def leave(self) -> None:
        self.depth -= 1

    # --- atoms

    def literal(self, text: str) -> Num:
        if len(text) > LONGEST_NUMBER:
            self.fail()
        mantissa, _, exponent = text.lower().partition("e")
        if exponent and abs(int(exponent)) > LONGEST_NUMBER:
            self.fail()
        decimal = "." in mantissa.rstrip(".") or bool(exponent)
        digits = len(mantissa.replace(".", "").lstrip("0")) if decimal else 0
        return Num(Fraction(mantissa.rstrip(".") or "0") * Fraction(10) ** int(exponent or 0), digits)

    def atom(self) -> Node:
        self.enter()
        try:
            return self._atom()
        finally:
            self.leave()

    def _atom(self) -> Node:
        token = self.next()
        if token.kind == "number":
            return self.repeating(token) or self.literal(token.text)
        if token.kind == "letter":
            return self.name(token.text)
        if token.kind == "function":
            return self.function(token.text)
        if token.kind == "command":
            return self.command(token.text)
        if token.kind in ("(", "["):
            return self.bracket(token.kind)
        if token.kind == "{":
            self.i -= 1
            return self.argument()
        if token.kind == "\\{":
            if self.take("\\}"):
                return EMPTY
            inner = self.items()
            self.need("\\}")
            return Seq("{}", inner.items if isinstance(inner, Seq) and inner.kind in ("list", "or") else (inner,))
        if token.kind == "|":
            self.bars += 1
            inner = self.sum()
            self.bars -= 1
            self.need("|")
            return Op("abs", (inner,))
        self.fail()

    def repeating(self, token: Token) -> Node | None:
        r"""`0.1\overline{6}` is 1/6."""
        if "." not in token.text or not self.at_command("overline") or "e" in token.text.lower():
            return None
        kinds = [(t.kind, t.text) for t in self.tokens[self.i + 1 : self.i + 4]]
        if [k for k, _ in kinds] != ["{", "number", "}"] or not kinds[1][1].isdigit() or len(kinds[1][1]) > 50:
            return None
        self.i += 4
        period = kinds[1][1]
        places = len(token.text.partition(".")[2])
        start = Fraction(token.text.rstrip(".") or "0")
        return Num(start + Fraction(int(period), (10 ** len(period) - 1) * 10**places))

    def name(self, letter: str) -> Node:
        """A variable with its subscript and primes; `f(2)` is a name too."""
        text = letter
        if self.peek() == "_":
            self.next()
            text += "_" + self.raw_group()
        while self.take("'"):
            text += "'"
        inverse = [t.text for t in self.tokens[self.i : self.i + 6]] == ["^", "{", "-", "1", "}", "("]
        if letter in _APPLIED and inverse:
            self.i += 5
            text += "^-1"
        if letter in _APPLIED and self.peek() == "(":
            text += "(" + self.raw_group(")") + ")"
        return Sym(text)

    def raw_group(self, closing: str = "}") -> str:
        """The tokens of a group or one token, joined: a subscript."""
        opening = "(" if closing == ")" else "{"
        if not self.take(opening):
            return self.next().text
        depth, out = 1, ""
        while True:
            token = self.next()
            depth += (token.kind == opening) - (token.kind == closing)
            if depth == 0:
                return out
            out += token.text

    def argument(self) -> Node:
        """A braced group, or one digit or atom."""
        if self.take("{"):
            inner = self.items()
            self.need("}")
            if isinstance(inner, Rel) or (isinstance(inner, Seq) and inner.kind in ("list", "or")):
                self.fail()
            return inner
        return self.digit_or_atom(whole=False)

    def digit_or_atom(self, whole: bool) -> Node:
        r"""`\frac12`: an unbraced argument is one digit."""
        if self.peek() == "number" and not whole and len(self.tokens[self.i].text) > 1:
            token = self.tokens[self.i]
            if not token.text.isdigit():
                self.fail()
            self.tokens[self.i] = Token("number", token.text[1:], False)
            return self.literal(token.text[0])
        return self.atom()

    def bracket(self, opening: str) -> Node:
        inner = self.items()
        closing = self.next().kind
        if closing not in (")", "]"):
            self.fail()
        if isinstance(inner, Seq) and inner.kind in ("list", "or"):
            return Seq(opening + closing, inner.items)
        if opening + closing not in ("()", "[]"):
            self.fail()
        return inner

    def function(self, name: str) -> Node:
        """A function's value: its power or base, and its argument with or without brackets."""
        base: Node | None = None
        exponent: Node | None = None
        if name == "log" and self.take("_"):
            base = self.argument()
        if self.take("^"):
            exponent = self.exponent()
        if (self.peek() in ("(", "{", "[") and name != "sqrt") or (name == "sqrt" and self.peek() == "("):
            inner = self.atom()
        else:
            inner = self.power()
            while self.starts_factor() and self.peek() != "function" and self.peek() != "(":
                inner = Op("mul", (inner, self.power()))
        if name in ("sin", "cos", "tan") and exponent == Op("neg", (Num(Fraction(1)),)):
            name, exponent = f"arc{name}", None  # the inverse, by convention
        args = inner.items if isinstance(inner, Seq) and inner.kind == "()" else (inner,)
        name = {"lg": "log", "asin": "arcsin", "acos": "arccos", "atan": "arctan"}.get(name, name)
        out = Op(name, args + ((base,) if base is not None else ()))
        return out if exponent is None else Op("pow", (out, exponent))

    def command(self, name: str) -> Node:
        if name == "frac":
            return Op("div", (self.argument(), self.argument()))
        if name == "sqrt":
            root: Node | None = None
            if self.take("["):
                root = self.sum()
                self.need("]")
            inner = self.atom() if self.peek() == "(" else self.argument()
            return Op("sqrt", (inner,) if root is None else (inner, root))
        if name == "binom":
            return Op("binom", (self.argument(), self.argument()))
        if name in _NAMED:
            return _NAMED[name]
        if name in GREEK:
            return self.name(name)
        if name in ("mathbb", "mathcal"):
            letter = self.raw_group()
            return REALS if (name, letter) == ("mathbb", "R") else Sym(f"{name} {letter}")
        if name in _DECORATED:
            return self.decorated(name)
        for op, (opening, closing) in _BRACKETS.items():
            if name == opening:
                inner = self.sum()
                if not self.take_command(closing):
                    self.fail()
                return Op(op, (inner,))
        if name == "langle":
            inner = self.items()
            if not self.take_command("rangle"):
                self.fail()
            return Seq("()", inner.items if isinstance(inner, Seq) else (inner,))
        if name == "begin":
            return self.matrix()
        self.fail()

    def decorated(self, name: str) -> Node:
        r"""`\overline{AB}`, `\angle APC`: a name."""
        if self.peek() == "{":
            return Sym(f"{name} {self.raw_group()}")
        out = ""
        while self.peek() == "letter":
            out += self.next().text
        if not out:
            self.fail()
        return Sym(f"{name} {out}")

    def matrix(self) -> Node:
        kind = _MATRICES.get(self.raw_group())
        if kind is None:
            self.fail()
        if kind == "matrix" and self.peek() == "{":
            self.raw_group()  # the columns of an array
        rows: list[list[Node]] = [[]]
        while not self.at_command("end"):
            rows[-1].append(self.items())
            if self.take("\\\\"):
                rows.append([])
            elif not self.take("&") and not self.at_command("end"):
                self.fail()
        self.next()
        self.raw_group()
        return Seq(kind, tuple(Seq("row", tuple(r)) for r in rows if r))
