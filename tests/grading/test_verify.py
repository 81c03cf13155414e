"""Grading: extraction, normalisation, and the worker processes against answers that hang, crash or lie."""

from __future__ import annotations

import multiprocessing as mp
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from fractions import Fraction
from pathlib import Path

import pytest
from conftest import rest_exhaustive
from hypothesis import given, settings
from hypothesis import strategies as st

from eprli_lab.config.data import ColumnsSpec, SourceSpec
from eprli_lab.config.spec import VerifySpec
from eprli_lab.data.files import read_source
from eprli_lab.grading.answers import exact, extract_boxed, is_missing, normalise
from eprli_lab.grading.boxes import boxed_answer
from eprli_lab.grading.grader import CACHE_SIZE, Grader, boxed
from eprli_lab.records import Grade, Problem

# --- extraction


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{1} or rather \boxed{2}", "2"),
        (r"\boxed{a \boxed{b} c}", r"a \boxed{b} c"),
        (r"\fbox{7}", "7"),
        (r"\boxed {7}", "7"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{1\}2}", r"1\}2"),
        (r"\boxed{}", ""),
        (r"\boxed{1} and then \boxed{2", "1"),
        (r"\boxed{1} then \boxed{see \boxed{3}, hence", "3"),
        (r"\boxed{ \boxed{x \boxed{y} z}", r"x \boxed{y} z"),
        (r"{ unclosed \boxed{5}", "5"),
        (r"} stray \boxed{5}", "5"),
        (r"\\\boxed{5}", "5"),
        (r"\boxed{5\\}", r"5\\"),
        (r"\boxed{5\}", None),
        (r"\boxed 5", None),
        (r"\boxed", None),
        ("42", None),
        ("", None),
        ("\\", None),
        ("\\boxed{a\nb}", "a\nb"),
    ],
)
def test_extract_boxed(text, answer):
    assert extract_boxed(text) == answer


@pytest.mark.parametrize("piece", ["(", "{", "}", "\\", r"\boxed{", r"\boxed{1}", r"\boxed", r"\{", r"\boxed{{"])
def test_extraction_is_linear_in_a_megabyte(piece):
    text = (piece * 1_000_000)[:1_000_000]
    start = time.process_time()
    extract_boxed(text)
    assert time.process_time() - start < 3.0


def test_extraction_of_deeply_nested_closed_boxes_is_linear():
    n = 100_000  # quadratic copying of contents would move 70 GB
    start = time.process_time()
    assert extract_boxed(r"\boxed{" * n + "x" + "}" * n) == r"\boxed{" * (n - 1) + "x" + "}" * (n - 1)
    assert time.process_time() - start < 3.0


LATEX = st.text(st.one_of(st.sampled_from(list("\\{}$.,_^ 0123456789()abox")), st.characters(codec=None)), max_size=80)


@given(st.one_of(LATEX, LATEX.map(lambda s: "\\boxed{" + s), LATEX.map(lambda s: "\\boxed{" + s + "}")))
@settings(max_examples=300, deadline=None)
def test_arbitrary_text_never_raises(text):
    answer = extract_boxed(text)
    assert answer is None or answer in text
    assert isinstance(normalise(text), str)
    assert exact(text, [text]) is not is_missing(text)
    assert exact(text, ["7", text]) is not is_missing(text)


@given(st.text(st.sampled_from("abc{1}+ "), max_size=30).filter(lambda s: _balanced(s)), LATEX)
def test_a_complete_box_at_the_end_is_found_after_any_complete_text(content, before):
    before = before.replace("\\", "").replace("{", "").replace("}", "")
    assert extract_boxed(f"{before}\\boxed{{{content}}}") == content


def _balanced(s: str) -> bool:
    depth = 0
    for c in s:
        depth += (c == "{") - (c == "}")
        if depth < 0:
            return False
    return depth == 0


# --- normalisation


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("42", " 42 "),
        ("42", "$42$"),
        ("42", "42."),
        ("42", r"\boxed{42}"),
        ("42", "+42"),
        ("42", "42.0"),
        ("0.5", ".5"),
        ("1234567", "1,234,567"),
        ("1234", "1{,}234"),
        ("1234", r"1,\!234"),
        ("1234", r"1\,234"),
        ("1234.5", r"\$1,234.50"),
        (r"\frac{1}{2}", r"\dfrac{1}{2}"),
        (r"\frac{1}{2}", r"\frac12"),
        (r"\frac{1}{2}", r"\tfrac 1 2"),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})"),
        (r"\text{even}", "even"),
        (r"5\text{ cm}", "5cm"),
        ("x + 1", "x+1"),
        (r"30^\circ", "30"),
        (r"30^{\circ}", "30"),
        (r"x \in [1,\,2]", r"x\in[1,2]"),
        (r"10\%", "10 %"),
    ],
)
def test_spellings_of_the_same_answer(a, b):
    assert exact(a, [b]) is True
    assert exact(b, [a]) is True


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("12_5", "125"),
        ("12_5", "12_7"),
        ("1 2", "12"),
        (r"1\quad 2", "12"),
        (r"1\;2", "12"),
        ("1 1/2", "11/2"),
        (r"1\text{2}", "12"),
        (r"5\left 3", "53"),
        (r"5^\circ 3", "53"),
        (r"5\$3", "53"),
        ("1, 234", "1234"),  # a list
        ("0,123", "123"),
        ("1,23", "123"),
        ("1234,567", "1234567"),
        (r"\boxed{1} + 5", "1"),
        (r"\boxed{3}\boxed{1}", "1"),
        ("-3", "3"),
        ("1.2.3", "1.23"),
        ("1e3", "100"),
        (r"\leftarrow", r"\rightarrow"),
        ("10", "1"),
        ("0", ""),
    ],
)
def test_different_answers_stay_different(a, b):
    assert not exact(a, [b])
    assert not exact(b, [a])


def test_plain_numbers_are_decided_without_math_verify():
    assert exact("3", ["4"]) is False
    assert exact("3", ["4", "3.00"]) is True
    assert exact("3", ["4", "x"]) is False
    assert exact("x", ["4"]) is False
    assert exact("x+1", ["4"]) is None, "algebra must say"
    assert exact(r"\frac{1}{2}", ["0.5"]) is True
    assert exact("12_5", ["12"]) is False, "math-verify takes the subscript for nothing"
    assert exact("12_5", ["12_{5}"]) is True
    assert exact("12", ["12_5"]) is True, "the gold says the base"
    assert exact(r"10\%", ["0.1"]) is True
    assert exact("1" * 5000, ["2"]) is False, "longer than Python reads as a number"


def _spell(n: int, style: int) -> str:
    digits = f"{n:,}"
    return [
        str(n),
        digits,
        digits.replace(",", "{,}"),
        digits.replace(",", r",\!"),
        f"${n}$",
        f"{n}.",
        f"{n}.00",
        f" {n} ",
        rf"\text{{{n}}}",
        rf"\boxed{{{n}}}",
        rf"\left {n}",
        rf"\${n}",
        rf"{n}^\circ",
    ][style]


INTEGERS = st.integers(-(10**13), 10**13)
STYLES = st.integers(0, 12)


@given(INTEGERS, STYLES, st.one_of(INTEGERS, st.none()), STYLES)
@settings(max_examples=500)
def test_integers_are_equal_exactly_when_they_are(a, how_a, b, how_b):
    b = a if b is None else b
    assert exact(_spell(a, how_a), [_spell(b, how_b)]) is (a == b)


@given(
    st.lists(st.sampled_from(["1", "2", "0", "00", "123", ",", " ", ".", "-", r"\,", r"\!", "{,}"]), max_size=7),
    st.integers(0, 10**9),
)
@settings(max_examples=500)
def test_pieces_of_numbers_never_become_another_number(pieces, n):
    """Whatever is called equal to an integer is that integer once separators of three digits are taken out."""
    text = "".join(pieces)
    if re.search(r"[\d.]\D*-", text):
        return  # a difference, which is computed
    for target in {n, int("0" + "".join(c for c in text if c.isdigit()))}:
        if exact(text, [str(target)]):
            plain = re.sub(r"^(\s|\\,)+|(\s|\\,)+$", "", re.sub(r"\\! *", "", text)).removesuffix(".").rstrip()
            plain = re.sub(r"^([+-])(\s|\\,)+", r"\1", plain)
            plain = re.sub(r"(\s|\\,)+$", "", plain)
            plain = re.sub(r"(?<=\d) (?=\d)", ",", plain)  # a space parts thousands too
            whole, _, rest = plain.replace(r"\,", ",").replace("{,}", ",").lstrip("+-").partition(".")
            groups = whole.split(",")
            assert re.fullmatch(r"\d*", rest)
            assert all(re.fullmatch(r"\d+", g) for g in groups if whole)
            if len(groups) > 1:
                assert all(len(g) == 3 for g in groups[1:]) and groups[0][0] != "0"
            assert int("0" + "".join(groups)) == abs(target) and not rest.strip("0")


FRACTIONS = st.tuples(st.integers(-99, 99), st.integers(1, 99))


@given(FRACTIONS, FRACTIONS)
def test_fractions_that_normalise_alike_have_equal_value(a, b):
    spellings = [r"\frac{{{}}}{{{}}}", r"\dfrac{{{}}}{{{}}}", "{}/{}", r"\tfrac {{{}}} {{{}}}"]
    if Fraction(*a) != Fraction(*b):
        assert not {normalise(s.format(*a)) for s in spellings} & {normalise(s.format(*b)) for s in spellings}
    if 0 <= a[0] < 10 and a[1] < 10:
        assert normalise(rf"\frac{a[0]}{a[1]}") == normalise(rf"\dfrac{{{a[0]}}}{{{a[1]}}}")


# --- the grader


@pytest.fixture(scope="module")
def grader():
    with Grader(VerifySpec(timeout_seconds=5.0)) as g:
        yield g


def box(answer: str) -> str:
    return f"Thus \\boxed{{{answer}}}."


def test_every_status(grader):
    pairs = [
        (box("4"), ("4",)),
        (box("0.5"), (r"\frac{1}{2}",)),
        (box("5"), ("4",)),
        ("no box", ("4",)),
        (box("1+x"), ("x+1",)),
        (box("x+2"), ("x+1",)),
        (box("0.5"), (r"\frac{1}{2}",)),
        (box(""), ("x",)),
        (box("2"), ("x", "3", "2")),
        (box("y+x"), ("z", "x+y")),
    ]
    before = grader.counters.copy()
    got = grader.grade(pairs)
    assert [g.status for g in got] == [
        "exact", "exact", "wrong", "no_answer", "symbolic", "wrong", "exact", "wrong", "exact", "symbolic",
    ]  # fmt: skip
    assert [g.correct for g in got] == [g.status in ("exact", "symbolic") for g in got]
    assert got[0] == Grade(True, "exact", "4")
    assert got[3] == Grade(False, "no_answer", None)
    assert sum((grader.counters - before).values()) == len(pairs)
    assert grader.counters - before == {"exact": 4, "symbolic": 2, "wrong": 3, "no_answer": 1}
    assert grader.grade([]) == []


def test_documented_leniency_and_strictness(grader):
    def correct(answer, gold):
        return grader.grade([(box(answer), (gold,))])[0].correct

    assert correct("x=5", "5")
    assert correct(r"\{1,2\}", r"\{2,1\}"), "sets have no order"
    assert not correct("(1,2)", "(2,1)"), "pairs have"
    assert correct(r"5\text{ cm}", "5")
    assert correct(r"\frac{2}{4}", r"\frac{1}{2}")
    assert correct(r"2\sqrt{2}", r"\sqrt{8}")
    assert correct(r"10\%", "0.1") and not correct("10", "0.1")
    assert not correct("12_5", "12")
    assert not correct("12_5", "17")
    assert not correct("1 1/2", "11/2")
    assert not correct("1 2", "12")
    assert not correct("0.333", r"\frac{1}{3}")


def test_symbolic_off_never_starts_a_process():
    with Grader(VerifySpec(symbolic=False)) as g:
        assert g.grade([(box("0.5"), (r"\frac{1}{2}",))])[0] == Grade(True, "exact", "0.5")
        assert g.grade([(box("x+1"), ("1+x",))])[0] == Grade(False, "wrong", "x+1")
        assert mp.active_children() == [] or g._workers == []


@pytest.mark.parametrize("gold", ["", " ", "None", "nan", "null", "N/A", r"\boxed{}", "$$"])
@pytest.mark.parametrize("answer", ["", " ", "None", "nan", "null", "N/A", r"\boxed{}", "$$", "7"])
def test_a_missing_gold_is_an_error_of_the_data_never_right(grader, gold, answer):
    found = grader.grade([(box(answer), (gold,)), (box(answer), ()), ("no box", (gold,)), (box(answer), (gold, "8"))])
    assert [g.status for g in found] == ["error", "error", "error", "wrong"]
    assert not any(g.correct for g in found) and not boxed(box(answer), (gold,)).correct


def test_a_repeated_answer_is_graded_once(grader):
    pair = (box("a+b+c"), ("c+b+a",))
    grader.grade([pair])
    start = time.process_time()
    assert {g.status for g in grader.grade([pair] * 5000)} == {"symbolic"}
    assert time.process_time() - start < 1.0
    assert CACHE_SIZE > 10_000


SLOW = r"\sum_{n=1}^{10^{12}} \sin(n)"  # for SymPy, without end
PATHOLOGICAL = [
    "9^{9^{9^9}}",
    "(10^9)!",
    r"\sqrt{" * 500 + "2" + "}" * 500,
    r"\frac{1}{" * 300 + "x" + "}" * 300,
    "(x+1)^{99999999}",
    SLOW,
    "(" * 4000,
    "x\0y",
    "\ud800\udfff x",
    "x" * 1_000_000,
    "(" * 1_000_000,
    "+".join(f"x_{{{i}}}" for i in range(600)),
    "\\left" * 500,
    "\x1b[2J \u202e \U0010ffff",
]


@pytest.mark.slow
def test_pathological_answers_neither_hang_nor_crash():
    with Grader(VerifySpec(timeout_seconds=1.0)) as g:
        for answer in PATHOLOGICAL:
            start = time.monotonic()
            grade = g.grade([(box(answer), ("y+1",))])[0]
            assert grade.status in ("timeout", "wrong"), answer[:50]
            assert time.monotonic() - start < 60.0, answer[:50]  # limit + start of a fresh worker on a busy machine
            good = (box(f"y+{len(answer)}"), (f"{len(answer)}+y",))
            assert g.grade([good])[0].status == "symbolic", f"after {answer[:50]}"
        assert g.counters["timeout"] >= 1
        assert g.counters["error"] == 0
        assert sum(g.counters.values()) == 2 * len(PATHOLOGICAL)
        # a pathological gold answer, and one beside good pairs in one batch
        mixed = g.grade([(box("a+b"), ("b+a",)), (box(SLOW), ("1",)), (box("a+c"), ("c+a", SLOW))])
        assert [m.status for m in mixed] == ["symbolic", "timeout", "symbolic"]
        assert g.grade([(box("b+a+1"), (SLOW, "1+a+b"))])[0].status == "symbolic", "one right gold is enough"


@pytest.mark.slow
def test_a_worker_that_dies_spoils_one_answer_only():
    with Grader(VerifySpec(timeout_seconds=30.0)) as g:
        assert g.grade([(box("a+b"), ("b+a",))])[0].correct
        victim = g._workers[0].process

        def kill():
            time.sleep(1.0)
            os.kill(victim.pid, signal.SIGKILL)

        thread = threading.Thread(target=kill)
        thread.start()
        got = g.grade([(box(SLOW), ("1",)), (box("a+c"), ("c+a",)), (box("a+d"), ("d+c",))])
        thread.join()
        assert [x.status for x in got] == ["error", "symbolic", "wrong"]
        assert g.counters == {"symbolic": 2, "error": 1, "wrong": 1}
        os.kill(g._workers[0].process.pid, signal.SIGKILL)  # while idle
        time.sleep(0.2)
        statuses = [g.grade([(box(f"a+{i}*q"), (f"q*{i}+a",))])[0].status for i in (2, 3)]
        assert statuses[1] == "symbolic" and statuses[0] in ("error", "symbolic")


@pytest.mark.slow
def test_several_processes_agree_with_one():
    pairs = [(box(f"x+{i}"), (f"{i + (i % 3 == 0)}+x",)) for i in range(40)]
    with Grader(VerifySpec(processes=2)) as g:
        got = g.grade(pairs)
        assert len(g._workers) == 2
        children = {w.process for w in g._workers}
    assert [x.correct for x in got] == [i % 3 != 0 for i in range(40)]
    assert not any(c.is_alive() for c in children), "close() ends the workers"


INTERRUPTED = """
import os, signal, sys, threading
from eprli_lab.config.spec import VerifySpec
from eprli_lab.grading.grader import Grader, boxed

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
    with Grader(VerifySpec(timeout_seconds=30.0)) as g:
        assert g.grade([(r"\\boxed{a+b}", ("b+a",))])[0].correct
        worker = g._workers[0].process.pid
        os.kill(worker, signal.SIGSTOP)  # an answer that takes long, whatever the machine
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            g.grade([(r"\\boxed{c+d}", ("d+c",))])
        except KeyboardInterrupt:
            print("interrupted")
        try:
            os.kill(worker, signal.SIGCONT)
        except ProcessLookupError:
            pass
        print(g.grade([(r"\\boxed{a+b+3}", ("a",))])[0].status, g.grade([(r"\\boxed{a+b+4}", ("4+b+a",))])[0].status)
"""


@pytest.mark.slow
def test_an_interrupted_grading_leaves_no_stale_answer(tmp_path):
    """Ctrl-C while a worker computes: its late answer is not the answer to the next question."""
    (tmp_path / "script.py").write_text(INTERRUPTED)  # of its own: only a main thread is interrupted
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["interrupted", "wrong", "symbolic"], done.stderr


ORPHAN = """
import sys
from eprli_lab.config.spec import VerifySpec
from eprli_lab.grading.grader import Grader

if __name__ == "__main__":
    g = Grader(VerifySpec(timeout_seconds=float(sys.argv[1]), processes=2))
    g.grade([(r"\\boxed{a+b}", ("b+a",)), (r"\\boxed{a+c}", ("c+a",))])
    print(*[w.process.pid for w in g._workers], flush=True)
    if sys.argv[2] == "busy":
        g.grade([(r"\\boxed{\\int_0^1 x^x \\sin(x^x) dx}", ("1",)), (r"\\boxed{\\sum_{n=1}^{10^{12}} \\sin(n)}", ("3",))])
    sys.stdin.read()
"""


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize(("what", "limit"), rest_exhaustive([("idle", 5.0), ("busy", 2.0)]))
def test_no_worker_outlives_a_killed_parent(tmp_path, what, limit):
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(limit), what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None and parent.stdin is not None
    pids = [int(p) for p in parent.stdout.readline().split()]
    assert len(pids) == 2 and all(_running(p) for p in pids)
    time.sleep(0.5)  # busy: into the computation, and before the parent would end it
    parent.kill()
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    deadline = time.monotonic() + 300  # they end after processor time, and may have little of it
    while any(_running(p) for p in pids):
        assert time.monotonic() < deadline, f"orphans after a kill while {what}: {[p for p in pids if _running(p)]}"
        time.sleep(0.2)


# --- real problem sets


def _golds(shared_data: Path) -> list[tuple[str, ...]]:
    out = []
    for name in ("aime24", "amc23", "math500"):
        out += [p.answers for p in read_source(SourceSpec(path=str(shared_data / f"{name}.jsonl")), "test").problems]
    assert len(out) == 30 + 83 + 500
    return out


def test_every_gold_answer_of_the_benchmarks_is_equal_to_itself(shared_data, grader):
    golds = _golds(shared_data)
    assert all(g.status == "exact" for g in grader.grade([(box(a), answers) for answers in golds for a in answers]))


@pytest.mark.slow
def test_gold_answers_of_other_problems_are_wrong(shared_data, grader):
    golds = _golds(shared_data)
    shifted = [
        (box(b[0]), a) for a, b in zip(golds, golds[1:] + golds[:1], strict=True) if normalise(a[0]) != normalise(b[0])
    ]
    got = grader.grade(shifted)
    right = [(pair, g) for pair, g in zip(shifted, got, strict=True) if g.correct]
    assert len(shifted) > 500
    assert len(right) <= 3, right
    assert not [g for g in got if g.status in ("error", "timeout")]


@pytest.mark.slow
def test_gold_answers_are_equal_to_themselves_by_math_verify_too(shared_data, grader):
    """Not by spelling alone: a variant spelling of each gold answer goes through the worker."""
    golds = [a[0] for a in _golds(shared_data)]
    pairs = [(box(f"x = {a}"), (a,)) for a in golds if "=" not in a and "text" not in a and "\\in" not in a]
    got = grader.grade(pairs)
    assert sum(g.correct for g in got) / len(got) > 0.85, [p for p, g in zip(pairs, got, strict=True) if not g.correct]
    assert {g.status for g in got} <= {"symbolic", "exact", "wrong"}


def test_ground_truths_of_the_rl_sets_are_equal_to_themselves(shared_data, grader):
    columns = ColumnsSpec(prompt="prompt", answer="reward_model.ground_truth", id=None)
    for name in ("deepscaler_sample_short", "deepscaler_sample_long"):
        source = SourceSpec(path=str(shared_data / f"{name}.parquet"), columns=columns, limit=300)
        problems = read_source(source, "test").problems
        assert len(problems) == 300
        got = grader.grade([(box(a), p.answers) for p in problems for a in p.answers])
        # a gold answer of the set itself is cut off in the middle: its braces do not close, so nothing can box it
        whole = [p.answers[0].count("{") == p.answers[0].count("}") for p in problems]
        assert whole.count(False) <= 1
        assert not [(p.answers, g) for p, g, w in zip(problems, got, whole, strict=True) if w and not g.correct]


@pytest.mark.slow
def test_a_graders_function_is_asked_in_a_worker_under_the_limit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    source = """
    import os
    import time

    PARENT = {parent}


    def judge(response, answers):
        assert os.getpid() != PARENT
        if response == "slow":
            time.sleep(60)
        if response == "broken":
            raise ValueError("no")
        return response in answers
    """
    (tmp_path / "own_judge.py").write_text(textwrap.dedent(source).format(parent=os.getpid()))
    with Grader(VerifySpec(grader="own_judge:judge", timeout_seconds=2.0)) as g:
        found = g.grade(
            [("7", ("7", "8")), ("9", ("7",)), ("slow", ("7",)), ("broken", ("7",)), ("\\boxed{7}", ("7",))]
        )
        assert [x.status for x in found] == ["exact", "wrong", "timeout", "error", "wrong"]
        assert [x.correct for x in found] == [True, False, False, False, False]
        assert found[4].answer == "7" and found[0].answer is None
        again = g.grade([("slow", ("7",)), ("7", ("7", "8"))])  # remembered: the slow one costs its limit once
        assert [x.status for x in again] == ["timeout", "exact"]


def test_the_registered_grader_is_a_function_too():
    assert boxed("\\boxed{0.5}", ("\\frac{1}{2}",)).status == "exact"
    assert boxed("\\boxed{x+1}", ("1+x",)).status == "symbolic"
    assert boxed("\\boxed{7}", ("7",)).status == "exact" and boxed("7", ("7",)).status == "no_answer"


@given(
    st.lists(st.sampled_from([*"0123456789+-=?}abc;*i", "\\boxed{", "7}", "12}"]), max_size=14), st.integers(-30, 99)
)
@settings(max_examples=500)
def test_responses_of_the_generated_families_are_read_as_ever(pieces, gold):
    """Their alphabet: the last complete box counts, and its digits are right when they are the gold's number."""
    text = "".join(pieces)
    answer = extract_boxed(text)
    assert boxed_answer(text) == answer
    if answer is not None and re.fullmatch(r"-?\d+", answer):
        assert exact(answer, [str(gold)]) is (int(answer) == gold)


def test_a_problem_may_say_who_grades_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "import json\ndef count(response, answers):\n    return len(response) == json.loads(answers[0])['letters']\n"
    )
    (tmp_path / "letters.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    own = Problem("q", "?", ("gold",), verifier="letters:count", checks='{"letters": 3}')
    with Grader(VerifySpec()) as g:
        pairs = [("abc", ("gold",)), ("abcd", ("gold",)), (box("7"), ("7",))]
        grades = g.grade(pairs, [own, own, Problem("r", "?", ("7",))])
        again = g.grade([("abc", ("7",))], [Problem("s", "?", ("7",))])
    assert [x.correct for x in grades] == [True, False, True]
    assert again == [Grade(False, "no_answer")], "the other problem's grade of the same text is not its own"
