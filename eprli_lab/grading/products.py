"""Products, quotients, powers, mixed numbers: the level between sums and atoms."""

from __future__ import annotations

from eprli_lab.grading.atoms import AtomReader
from eprli_lab.grading.tree import Node, Num, Op

_STARTS = frozenset(("letter", "function", "command", "(", "{", "\\{", "[", "|"))
_NO_FACTOR = frozenset(
    "pm mp cup cap in circ end ldots rangle rfloor rceil to rightarrow equiv pmod bmod mod setminus".split()
)


class ProductReader(AtomReader):
    """Reads what is multiplied."""

    def product(self) -> Node:
        out = self.unary()
        while True:
            if self.take("*"):
                out = Op("mul", (out, self.unary()))
            elif self.peek() == "/" and not self.unit_follows():
                self.next()
                out = Op("div", (out, self.unary()))
            elif self.starts_factor():
                mixed = self.mixed(out)
                out = mixed if mixed is not None else Op("mul", (out, self.power()))
            elif self.peek() == "number":
                fraction = self.plain_mixed(out)
                if fraction is None:
                    self.fail()  # two numbers side by side, a number behind a letter: no product
                out = fraction
            else:
                return out

    def unit_follows(self) -> bool:
        return self.tokens[self.i + 1 : self.i + 2] != [] and self.tokens[self.i + 1].kind == "text"

    def starts_factor(self) -> bool:
        kind = self.peek()
        if kind == "|":
            return self.bars == 0
        if kind == "command":
            return self.tokens[self.i].text not in _NO_FACTOR
        return kind in _STARTS and kind not in ("[", "\\{")

    def mixed(self, whole: Node) -> Node | None:
        r"""`2\frac{1}{2}` is 5/2: an integer directly before a proper fraction of integers."""
        literal = whole.args[0] if isinstance(whole, Op) and whole.name == "neg" else whole
        if not isinstance(literal, Num) or literal.digits or not self.at_command("frac"):
            return None
        if self.tokens[self.i - 1].kind != "number":
            return None
        start = self.i
        part = self.power()
        percent = isinstance(part, Op) and part.name == "percent"
        if isinstance(part, Op) and percent:
            part = part.args[0]
        proper = (
            isinstance(part, Op) and part.name == "div" and all(isinstance(x, Num) and not x.digits for x in part.args)
        )
        if not proper or not self._is_proper(part):
            self.i = start
            return None
        return Op("percent", (self._join(whole, part),)) if percent else self._join(whole, part)

    def plain_mixed(self, whole: Node) -> Node | None:
        """`1 1/2` is 3/2."""
        literal = whole.args[0] if isinstance(whole, Op) and whole.name == "neg" else whole
        kinds = [t.kind for t in self.tokens[self.i : self.i + 4]]
        previous = self.tokens[self.i - 1].kind
        if kinds[:3] != ["number", "/", "number"] or not isinstance(literal, Num) or previous != "number":
            return None
        if kinds[3:] and kinds[3] in ("^", "!", "_"):
            return None
        over, _, under = self.next(), self.next(), self.next()
        part = Op("div", (self.literal(over.text), self.literal(under.text)))
        if literal.digits or not self._is_proper(part):
            self.fail()
        return self._join(whole, part)

    @staticmethod
    def _is_proper(part: Node) -> bool:
        assert isinstance(part, Op)
        over, under = part.args
        return (
            isinstance(over, Num) and isinstance(under, Num) and not over.digits and not under.digits
            and 0 < over.value < under.value
        )  # fmt: skip

    @staticmethod
    def _join(whole: Node, part: Node) -> Node:
        if isinstance(whole, Op):
            return Op("neg", (Op("add", (whole.args[0], part)),))
        return Op("add", (whole, part))

    def unary(self) -> Node:
        self.enter()
        try:
            if self.peek() in ("-", "+"):
                sign = self.next().kind
                if self.peek() in ("-", "+"):
                    self.fail()  # two signs are a slip
                return self.unary() if sign == "+" else Op("neg", (self.unary(),))
            if self.at_command("pm") or self.at_command("mp"):
                return Op(self.next().text, (self.unary(),))
            return self.power()
        finally:
            self.leave()

    def power(self) -> Node:
        base = self.postfix(self.atom())
        if self.take("^"):
            if self.take_command("circ"):
                return self.postfix(Op("degree", (base,)))
            exponent = self.exponent()
            if exponent is None:
                return self.postfix(Op("degree", (base,)))
            return self.postfix(Op("pow", (base, exponent)))
        return base

    def exponent(self) -> Node | None:
        """None for a degree sign in braces."""
        if self.peek() == "{":
            if [t.text for t in self.tokens[self.i + 1 : self.i + 3]] == ["circ", "}"]:
                self.i += 3
                return None
            return self.argument()
        if self.take("-"):
            return Op("neg", (self.exponent() or self.fail(),))
        return self.digit_or_atom(whole=self.tokens[self.i - 1].text == "**" or self._is_plain())

    def _is_plain(self) -> bool:
        r"""`x^10` of plain text is ten; LaTeX's `x^10` would be `x^1 0`: nobody means that."""
        return True

    def postfix(self, out: Node) -> Node:
        while True:
            if (
                self.peek() == "!"
                and self.tokens[self.i + 1 : self.i + 2] != []
                and self.tokens[self.i + 1].kind == "="
            ):
                self.fail()
            if self.take("!"):
                out = Op("fact", (out,))
            elif self.take("%"):
                out = Op("percent", (out,))
            elif self.take_command("circ"):
                out = Op("degree", (out,))
            else:
                return out
