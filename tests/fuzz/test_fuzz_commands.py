"""Random command lines: each is accepted or refused with one sentence and exit code 2."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from command_lines import COMMANDS, command_words, make_files, run_words, sweep_words
from hypothesis import given
from hypothesis import strategies as st
from outcome import examples, outcome

from eprli_lab.cli.difficulty import _arguments
from eprli_lab.cli.main import main
from eprli_lab.config.compose import compose_data, compose_spec, parsed
from eprli_lab.errors import UserError
from eprli_lab.sweeping.catalogue import planner
from eprli_lab.sweeping.comparable import key_of
from eprli_lab.training.preflight import preflight

pytestmark = pytest.mark.slow  # one of many

CORPUS = json.loads((Path(__file__).parent / "corpus" / "command_lines.json").read_text())
BEGIN_WORK = ("difficulty", "warmstart", "doctor", "calibrate", "sweeps")  # when they are accepted, for minutes


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_files(tmp_path)


def started(words: list[str]) -> str:
    """What a command answers, up to where it would begin to work."""
    environment, here = dict(os.environ), Path.cwd()
    try:
        return outcome(lambda: _begin(words))
    finally:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(here)


def _begin(words: list[str]) -> Any:
    command, *rest = words
    if command == "run" and rest[:1] == ["-m"]:
        name = next((w.partition("=")[2] for w in rest if w.startswith("sweep=")), "two")
        with planner() as plan_of:
            return plan_of(name, [w for w in rest[1:] if not w.startswith("sweep=")])
    if command == "run" and any(key_of(w).partition(".")[0] == "study" for w in rest):
        return main(words)  # refused: one run has no study
    if command == "run" and any(w.startswith("-") for w in rest):
        return main([command, "--cfg", "job", *rest])
    if command == "run":
        return preflight(compose_spec(rest))
    if command == "difficulty":
        return compose_data(_arguments(rest)[-1])
    return compose_spec(rest) if command in BEGIN_WORK else main(words)


@examples(30)
@given(run_words())
def test_one_run(words: list[str]) -> None:
    started(words)


@examples(12, share=0.5)
@given(sweep_words())
def test_one_sweep(words: list[str]) -> None:
    started(words)


@examples(40)
@given(command_words())
def test_the_smaller_commands(words: list[str]) -> None:
    started(words)


@examples(150)
@given(st.lists(st.text(max_size=12), max_size=3))
def test_the_grammar(words: list[str]) -> None:
    outcome(lambda: len(parsed(words)) * 0)


LARGE = {
    "digits": "7" * 5000,
    "huge": "1" + "0" * 400,
    "long": "a" * 300,
    "deep": "[" * 3000,
    "brackets": "[" * 400 + "]" * 400,
}


@pytest.mark.parametrize("number", range(len(CORPUS)))
def test_what_once_was_a_traceback(number: int) -> None:
    """A word that names something large is put behind the word before it, where that ends with a `=`."""
    words: list[str] = []
    for word in CORPUS[number]:
        if word in LARGE and words[-1].endswith("="):
            words[-1] += LARGE[word]
        else:
            words.append(LARGE.get(word, word))
    assert started(words), words


def test_the_strategy_knows_every_command() -> None:
    from eprli_lab.cli import main as module

    assert set(module.COMMANDS) >= {*COMMANDS, "run"}


def test_a_mistake_of_the_program_is_no_sentence() -> None:
    """The walls of these tests: an error that passed through this package is raised, not turned into a sentence."""

    def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        outcome(fails)

    def refuses() -> None:
        raise UserError("a sentence")

    assert outcome(refuses) == "a sentence"
