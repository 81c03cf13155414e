"""Where a response says its answer, what prompts ask for, and time-outs that do not stall."""

from __future__ import annotations

import logging
import time

import pytest

from eprli_lab.config.extensions import KINDS, resolve
from eprli_lab.config.spec import VerifySpec
from eprli_lab.grading.formats import asked_for, mismatch, silent
from eprli_lab.grading.grader import Grader

FORMATS = {name: resolve("format", name) for name in KINDS["format"].registered}
SLOW = r"\boxed{{\sum_{{n=1}}^{{10^{{12}}}} \sin({}n)}}"
DAPO = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.\n\nWhat is 1+1?"
)
GSM8K = 'What is 1+1? Let\'s think step by step and output the final answer after "####".'


@pytest.mark.parametrize(
    ("name", "response", "answer"),
    [
        ("boxed", r"so \boxed{4}", "4"),
        ("boxed", r"<think>\boxed{4}</think> I do not know", None),
        ("boxed", "#### 4", None),
        ("hash", "1+3=4\n#### 4", "4"),
        ("hash", "#### 3\nno\n#### 4 ", "4"),
        ("hash", r"#### \boxed{4}", "4"),
        ("hash", "##### 4", None),
        ("hash", "#### ", None),
        ("hash", "<think>\n#### 3", None),
        ("answer_line", "Answer: 3\n\nAnswer: 4", "4"),
        ("answer_line", "**Answer:** $4$", "$4$"),
        ("answer_line", "Final Answer: \\boxed{4}", "4"),
        ("answer_line", "The answer is 4", None),
        ("answer_line", "Answer:", None),
        ("tag", "<answer>3</answer> <answer> 4 </answer>", "4"),
        ("tag", "<answer>4", None),
        ("tag", "<think><answer>3</answer></think>", None),
        ("last_number", "3 and then -1,234.5.", "-1,234.5"),
        ("last_number", "about 3/4 or so", "3/4"),
        ("last_number", "none", None),
        ("choice_letter", "The answer is (B).", "B"),
        ("choice_letter", "Answer: C", "C"),
        ("choice_letter", "I think\n\n(D)", "D"),
        ("choice_letter", r"\boxed{A}", "A"),
        ("choice_letter", "The answer is A or B", None),
        ("choice_letter", "The answer is a number", None),
    ],
)
def test_formats(name, response, answer):
    assert FORMATS[name](response) == answer


@pytest.mark.parametrize("name", FORMATS)
def test_a_response_without_an_answer_has_none(name):
    assert FORMATS[name]("") is None and FORMATS[name]("I do not know") is None


@pytest.mark.parametrize(
    ("name", "response"),
    [
        ("hash", "#### 1,234"),
        ("answer_line", "Answer: $1234$"),
        ("tag", "<answer>1234</answer>"),
        ("last_number", "1,234!"),
    ],
)
def test_the_grader_reads_the_chosen_format(name, response):
    with Grader(VerifySpec(format=name)) as g:
        assert g.grade([(response, ("1234",))])[0].status == "exact"
        assert g.grade([("I do not know", ("1234",))])[0].status == "no_answer"


def test_prompts_that_ask_for_another_format():
    assert asked_for(DAPO) == {"answer_line": "Answer:"} and asked_for(GSM8K) == {"hash": "####"}
    assert asked_for("Question: 1+1?\nAnswer:") == {}
    assert mismatch([DAPO] * 3, "boxed") == ("answer_line", "Answer:", 3, 3)
    assert mismatch([GSM8K] * 3, "boxed") == ("hash", "####", 3, 3)
    assert mismatch([GSM8K] * 3, "hash") is None and mismatch([GSM8K] * 3, "own:function") is None
    assert mismatch([GSM8K, "What?", "Why?"], "boxed") is None, "most ask for nothing"
    assert mismatch([GSM8K + r" Put it into \boxed{}."], "boxed") is None


def test_silence_is_said_with_an_example_and_what_would_read_it():
    quiet = [("so it is\n#### 4", "no_answer")] * 3 + [(r"\boxed{4}", "exact")] * 2
    sentence = silent(quiet, "boxed")
    assert sentence is not None and sentence.startswith("3 of the first 5 responses hold no answer in the format boxed")
    assert "; verify.format=hash would read them" in sentence and "'so it is #### 4'" in sentence
    assert silent(quiet[1:], "boxed") is None, "half is not more than half"


@pytest.mark.slow
def test_answers_that_time_out_cost_their_time_once_and_do_not_stall(caplog):
    with Grader(VerifySpec(timeout_seconds=3.0)) as g:
        assert g.grade([(r"\boxed{a+b}", ("b+a",))])[0].correct
        slow = [(SLOW.format(i), ("1", "2")) for i in range(2, 6)]
        began = time.monotonic()
        with caplog.at_level(logging.WARNING):
            found = g.grade([*slow, (r"\boxed{a+c}", ("c+a",))])
        took = time.monotonic() - began
        assert [x.status for x in found] == ["timeout"] * 4 + ["symbolic"]
        assert len(g._workers) == 2, "one spare worker stays"
        assert 11.0 < g.seconds_lost < 14.0, "two golds share the three seconds of an answer"
        assert took < 9.0, "spare workers are forked, in no time: four at 3 s each would be 12 s one after another"
        assert "answers that took over verify.timeout_seconds=3" in caplog.text
        began = time.monotonic()
        assert [x.status for x in g.grade(slow)] == ["timeout"] * 4
        assert time.monotonic() - began < 0.5, "remembered"
