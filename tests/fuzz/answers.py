"""Pairs of gold and response, hostile ones too; of some it is known that they are unequal."""

from __future__ import annotations

from hypothesis import strategies as st

_TOWERS = ["9^{9^{9^9}}", "9**9**9**9", "10^{10^{10}}", "2^{2^{2^{2^{2^{2}}}}}", "(10^{400})!", "100000!", "(((9!)!)!)!", r"\binom{10^9}{5\cdot 10^8}", "0^{-1}", "1/0", r"\frac{1}{0}", "10^{400}", "1" + "0" * 400, "7" * 5000, "7" * 100_000, "1e99999999", "1e-99999999", "0." + "3" * 4000]  # fmt: skip
_NESTED = ["{" * 100_000, "}" * 100_000, "(" * 3000 + ")" * 3000, "[" * 3000, r"\frac{" * 500 + "1" + "}{2}" * 500, r"\boxed{" * 300 + "1" + "}" * 300, r"\sqrt{" * 400 + "2" + "}" * 400, "-" * 4000 + "1", "|" * 3000, r"\left(" * 1000, "1+" * 1300 + "1", "x^" * 1000 + "x", r"\text{" * 500]  # fmt: skip
_LISTS = [",".join(map(str, range(1000))), r"\begin{pmatrix}" + r"\\".join(["&".join("1" * 40)] * 40) + r"\end{pmatrix}", r"\{" + ",".join(map(str, range(500))) + r"\}", "(" + ",".join(["x"] * 400) + ")"]  # fmt: skip
_CODE = ["__import__('os').system('id')", "exit()", "lambda: 0", "x.__class__", "S('1')", "Symbol('x')", "oo", "zoo", "nan", "I", "E", "pi", "Integral(exp(-x**2),(x,-oo,oo))", "factor(x**100-1)", r"\int_0^{10^9} \sin(x^x) dx", r"\sum_{n=1}^{10^9} \frac{1}{n}", r"\prod_{n=1}^{10^6} n", r"\lim_{x\to0} x^{x^{x^x}}", r"\det\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\sin(\sin(\sin(10^{100})))", r"\int e^{e^{e^x}} dx"]  # fmt: skip
_MARKS = ["\u200b", "\ufeff", "\u202e", "\x00", "\ud800", "é", "٣", "½", "²", "−", "$", "$$", "\\", "%", "\\%", "\\boxed", "\\boxed{", "\\boxed{}", "", " ", "\n", "None", "nan", "?", "answer"]  # fmt: skip
HOSTILE = (*_TOWERS, *_NESTED, *_LISTS, *_CODE, *_MARKS)


def text() -> st.SearchStrategy[str]:
    """An answer: ordinary, hostile, or two put together."""
    plain = st.one_of(
        st.integers(-100, 100).map(str),
        st.sampled_from(
            ("x", "2x+1", r"\frac{1}{2}", "(1,2)", "0.5", r"\sqrt{2}", "50\\%", "x=1", "1,2", "[0,1)", r"\pi")
        ),
    )
    odd = st.one_of(plain, st.sampled_from(HOSTILE), st.text(max_size=6))
    both = st.builds(
        "{}{}{}".format, odd, st.sampled_from(("", " ", "+", "*", "^", ",", "=", "/", "_", "&", r"\\")), odd
    )
    return st.one_of(odd, both)


def response() -> st.SearchStrategy[str]:
    """What a policy says, with the answer in a box, or not."""
    frame = st.sampled_from(
        (r"\boxed{%s}",) * 6
        + (
            r"So \boxed{%s} and \boxed{7}",
            r"\boxed{%s",
            "%s",
            r"<think>\boxed{1}</think>\boxed{%s}",
            r"\boxed{\boxed{%s}}",
            "#### %s",
            r"\boxed{\text{%s}}",
        )
    )
    return st.builds(lambda f, t: f.replace("%s", t), frame, text())


@st.composite
def unequal(draw: st.DrawFn) -> tuple[str, str]:
    """(gold, answer) of different values, whole numbers and fractions, each spelled somehow."""
    gold, more = draw(st.integers(-(10**6), 10**6)), draw(st.integers(1, 10**6))
    return draw(spelled(gold)), draw(spelled(gold + more))


def spelled(value: int) -> st.SearchStrategy[str]:
    """The same whole number, written in a way that a person or a policy may write it."""
    ways = ["{}", "{}.0", r"\frac{{{}}}{{1}}", r"\dfrac{{{}}}{{1}}", "{}+0", "({})", r"\text{{{}}}", "x={}", "{}\u200b", r"{}\,", "+{}" if value >= 0 else "{}", r"\left({}\right)", "${}$", "1*{}" if value >= 0 else "1*({})", r"\sqrt{{{}^2}}" if value >= 0 else "{}"]  # fmt: skip
    return st.sampled_from(ways).map(lambda way: way.format(value))
