"""Kinds of answers: right ones are right, wrong ones wrong, whatever they are dressed in, and two guesses never pay."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import kinds
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from eprli_lab.config.spec import VerifySpec
from eprli_lab.grading.algebra import Algebra
from eprli_lab.grading.answers import exact, is_missing
from eprli_lab.grading.boxes import boxed_answer, without_thinking
from eprli_lab.grading.compare import Comparison
from eprli_lab.grading.grader import Grader, boxed
from eprli_lab.grading.parser import read

# Pairs whose verdict depends on which is the gold: docs/grading.md, "Not the same both ways".
ONE_WAY = {("7", "7_8"), ("50", r"50\%"), (r"50\%", "50"), ("C", "c"), ("1011_2", "1011")}


def correct(answer: str, gold: str) -> bool:
    return boxed(f"Thus \\boxed{{{answer}}}.", (gold,)).correct


@pytest.mark.parametrize(("gold", "answer"), kinds.pairs(kinds.RIGHT))
def test_right(gold: str, answer: str) -> None:
    assert correct(answer, gold)
    assert correct(gold, answer) or (gold, answer) in ONE_WAY


@pytest.mark.parametrize(("gold", "answer"), kinds.pairs(kinds.WRONG))
def test_wrong(gold: str, answer: str) -> None:
    assert not correct(answer, gold)
    assert not correct(gold, answer) or (gold, answer) in ONE_WAY


@pytest.mark.parametrize(("gold", "answer"), [*kinds.pairs(kinds.RIGHT), *kinds.pairs(kinds.WRONG)])
def test_what_structure_decides_algebra_does_not_change(gold: str, answer: str) -> None:
    wanted, said = read(gold), read(answer)
    if wanted is not None and said is not None:
        quick = Comparison().same(wanted, said)
        assert quick is None or quick == Algebra().same(wanted, said)


# --- what must not matter

NUMBERS = st.one_of(
    st.integers(-999, 9999).map(str),
    st.tuples(st.integers(-99, 99), st.integers(1, 99)).map(lambda t: rf"\frac{{{t[0]}}}{{{t[1]}}}"),
    st.tuples(st.integers(0, 99), st.integers(0, 999)).map(lambda t: f"{t[0]}.{t[1]}"),
    st.integers(2, 50).map(lambda n: rf"\sqrt{{{n}}}"),
    st.sampled_from(["x", "2x+1", r"\pi", r"\frac{\pi}{3}", r"50\%", "i", r"x^2-y"]),
)
ANSWERS = st.one_of(
    NUMBERS,
    st.tuples(NUMBERS, NUMBERS).map(lambda t: f"({t[0]}, {t[1]})"),
    st.lists(NUMBERS, min_size=2, max_size=4).map(", ".join),
    st.lists(NUMBERS, min_size=1, max_size=4).map(lambda t: rf"\{{{', '.join(t)}\}}"),
    NUMBERS.map(lambda n: f"x = {n}"),
    st.sampled_from(["even", r"\text{no solution}", "[0, 1)", "x > 3", "(B)", "1011_2", r"5\text{ cm}"]),
)
DRESSES = [
    "  {}  ", "${}$", r"\({}\)", r"\[{}\]", "**{}**", r"\displaystyle {}", r"\textbf{{{}}}", r"\mathbf{{{}}}", "{}.", "\n{}\n",
    r"\,{}\,", r"\boxed{{{}}}", r"\color{{red}}{{{}}}", r"\left. {} \right.", r"\Large {}", r"${}$.", "{}\u200b",
]  # fmt: skip


def quick(answer: str, gold: str) -> bool:
    wanted, said = read(gold), read(answer)
    decided = exact(answer, [gold])
    if decided is None and wanted is not None and said is not None:
        return bool(Algebra().same(wanted, said))
    return bool(decided)


@given(ANSWERS, ANSWERS, st.sampled_from(DRESSES[:13] + DRESSES[14:]))
@settings(max_examples=300, deadline=None)
def test_a_verdict_does_not_change_by_its_dress(answer: str, gold: str, dress: str) -> None:
    if dress.startswith(("\\textbf", "\\mathbf")):
        assume(not re.search(r"[{}\\]", answer))
    dressed = dress.format(answer)
    assert quick(dressed, gold) == quick(answer, gold)
    assert quick(dressed, answer)


@given(ANSWERS, ANSWERS)
@example("50", r"50\%")
@settings(max_examples=300, deadline=None)
def test_gold_and_answer_may_be_swapped(answer: str, gold: str) -> None:
    stated = "%" in answer + gold or "_" in answer + gold or re.search(r"\d\.\d{5}", answer + gold)
    assert quick(answer, gold) == quick(gold, answer) or stated


GUESSES = [
    r"\boxed{{{0}}} \boxed{{{1}}}", r"\boxed{{{0}}} or \boxed{{{1}}}", r"\boxed{{{0}}}, \boxed{{{1}}}",
    r"\boxed{{{0} or {1}}}", r"\boxed{{{0}, {1}}}", r"\boxed{{\{{{0}, {1}\}}}}", r"\boxed{{{0} = {1}}}",
    r"\boxed{{{0} \approx {1}}}", r"\boxed{{{0}\quad {1}}}", r"\boxed{{{0} \\ {1}}}", r"\boxed{{{0} ({1})}}",
    r"\boxed{{{0} \text{{ or }} {1}}}", r"\boxed{{\boxed{{{0}}}\boxed{{{1}}}}}", r"\boxed{{x = {0} = {1}}}",
    r"\boxed{{{0}}}. No: \boxed{{{1}}}", r"<think>\boxed{{{0}}}</think> \boxed{{{1}}}", r"\boxed{{{0};{1}}}",
    r"\boxed{{{0} \text{{ and }} {1}}}", r"\boxed{{{0}:{1}}}", r"\boxed{{({0}, {1})}}", r"\boxed{{[{0}, {1}]}}",
    r"\boxed{{\pm {0}, {1}}}", r"\boxed{{{0} | {1}}}", r"\boxed{{{0} / {1}}}", r"\boxed{{(A) {0} (B) {1}}}",
]  # fmt: skip


@given(NUMBERS, NUMBERS, st.sampled_from(GUESSES))
@settings(max_examples=400, deadline=None)
def test_two_guesses_never_both_pay(first: str, second: str, how: str) -> None:
    assume(not quick(first, second) and not quick(second, first))
    response = how.format(first, second)
    assert not (boxed(response, (first,)).correct and boxed(response, (second,)).correct)


# --- boxes


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"\boxed{1} and \boxed{-2}", r"1 \text{ and } -2"),
        (r"$\boxed{1}$, $\boxed{2}$ and $\boxed{3}$", r"1 \text{ and } 2 \text{ and } 3"),
        (r"$x = \boxed{1}$ or $x = \boxed{2}$", r"1 \text{ and } 2"),
        (r"\boxed{1}? No: \boxed{2}", "2"),
        (r"\boxed{1}. Then \boxed{2}", "2"),
        (r"\boxed{1}\boxed{2}", "2"),
        (r"\boxed{1};\boxed{2}", "2"),  # nothing joins them: the last one, as ever in the generated families
        (r"\boxed{5} and \boxed{5}", "5"),
        (r"\boxed{5} \boxed{}", ""),
        (r"\framebox{5}", "5"),
        ("none", None),
    ],
)
def test_boxes_that_are_one_answer(response: str, answer: str | None) -> None:
    assert boxed_answer(response) == answer


@pytest.mark.parametrize(
    ("response", "rest"),
    [
        ("<think>a</think>b", "b"),
        ("a</think>b", "b"),  # the template opened it
        ("<think>a", ""),
        ("<think>a</think>b<think>c", "b"),
        ("<thinking>a</thinking>b", "b"),
        ("I think so", "I think so"),
    ],
)
def test_nothing_thought_is_an_answer(response: str, rest: str) -> None:
    assert without_thinking(response) == rest


def test_joined_boxes_pay_the_list_and_no_member() -> None:
    assert boxed(r"\boxed{1} and \boxed{-2}", ("-2, 1",)).correct
    assert not any(boxed(r"\boxed{1} and \boxed{-2}", (g,)).correct for g in ("1", "-2", "1, 2"))


@pytest.mark.parametrize(
    "answer",
    ["9^{9^{9^9}}", r"\frac{2000!}{3^{9000}}", "7^{9000}.123456", "(10^9)!", "((3!)!)!", "10^{10^{10}}", r"\binom{10^9}{10^8}", r"\sin(10^{1000000})", "2" * 4000, "(" * 4000,
     "-" * 4000, "1/" * 2000 + "1", "x^" * 1000 + "x", "+".join("x" * 900), "1e999999999", r"\sqrt[99]{2}" * 300, "|" * 3000,
     ",".join(map(str, range(1500))), r"\pm 1" * 500, r"\text{" * 800, "1 " * 2000, "1,234" * 700],
)  # fmt: skip
def test_no_answer_takes_long_or_raises(answer: str) -> None:
    import time

    for gold in ("7", "1.2345678", r"\frac{1}{3}", "x+1", "1,2,3", answer[:-1] + "8"):
        start = time.process_time()
        quick(answer, gold)
        assert time.process_time() - start < 2.0


# --- real ones


def test_the_cases_of_public_reports(shared_data: Path) -> None:
    """Every verdict is the one by hand; docs/grading.md would list exceptions, and there is none."""
    for line in (shared_data / "grading_cases.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        assert boxed(case["response"], tuple(case["gold"])).correct == case["right"], case


def golds(shared_data: Path) -> dict[str, list[str]]:
    import pyarrow.parquet as pq

    out: dict[str, list[str]] = {}
    for name in ("aime24", "amc23", "math500"):
        rows: list[Any] = [json.loads(r) for r in (shared_data / f"{name}.jsonl").read_text().splitlines()]
        out[name] = [str(r["answer"]) for r in rows]
    for name in ("deepscaler_sample_short", "deepscaler_sample_long"):
        table = pq.read_table(shared_data / f"{name}.parquet", columns=["reward_model"])
        out[name] = [r["ground_truth"] for r in table.column("reward_model").to_pylist()]
    return out


@pytest.mark.slow
def test_real_golds_are_right_for_themselves_and_for_nothing_else(shared_data: Path) -> None:
    rng = random.Random(0)
    with Grader(VerifySpec(processes=2, timeout_seconds=20.0)) as grader:
        for answers in golds(shared_data).values():
            whole = [a for a in answers if a.count("{") == a.count("}") and not is_missing(a)]
            assert len(whole) >= len(answers) - 2, "golds that are cut off"
            own = grader.grade([(f"\\boxed{{{a}}}", (a,)) for a in whole])
            assert all(g.correct for g in own)
            others = [rng.choice(whole) for _ in whole]
            for guesses in (["1-1"] * len(whole), ["0"] * len(whole), ["x"] * len(whole), [""] * len(whole), others):
                found = grader.grade([(f"\\boxed{{{b}}}", (a,)) for a, b in zip(whole, guesses, strict=True)])
                right = [(a, b) for a, b, g in zip(whole, guesses, found, strict=True) if g.correct]
                assert all(same_by_hand(a, b) for a, b in right), [p for p in right if not same_by_hand(*p)]
            assert grader.counters["timeout"] == grader.counters["error"] == 0


def same_by_hand(a: str, b: str) -> bool:
    """Equal but for what every eye passes over: white space, dollars, degrees, units, `.0`, and 0 for `1-1`."""

    def bare(s: str) -> str:
        s = re.sub(r"^[a-z](\([a-z]\))? *= *", "", s)
        s = re.sub(
            r"_\{?\d+\}?|\\text\{[^}]*\}|\\(?:mbox|mathrm)\{[^}]*\}|\^\{?\\circ\}?|[\s$,!\\]|\.0+$|left|right|%", "", s
        )
        return "0" if s == "1-1" else s.replace("dfrac", "frac").replace("{", "").replace("}", "")

    return bare(a) == bare(b)
