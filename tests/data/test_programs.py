"""The program domain: the interpreter by hand, its errors, what is drawn, demonstrations, and the shipped policies."""

from __future__ import annotations

import json
import random

import pytest
from conftest import rest_exhaustive
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.config.data import GeneratedSpec
from eprli_lab.config.paths import ASSETS_DIR
from eprli_lab.data.families import generate
from eprli_lab.data.programs import Program, ProgramError, Programs, Statement, demonstration, draw, execute, parse, run


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=3;?", 3),
        ("a=3;b=a+4;?", 7),
        ("a=3;b=a-4;?", 9),  # modulo 10
        ("a=7;b=a*8;?", 6),
        ("a=3;b=9;c=b-a;d=c*c;?", 6),
        ("a=3;b=a;a=5;c=b+a;?", 8),  # assigned again: the last value counts
        ("a=3;b=a+1;c=7;?", 7),  # dead code
        ("a=9;b=a+a", None),
    ],
)
def test_the_interpreter(text: str, value: int | None) -> None:
    if value is None:
        with pytest.raises(ProgramError, match="does not end in a question mark"):
            run(text)
    else:
        assert run(text) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a=3;c=b+1;?", "statement 2 reads b, which has no value yet"),
        ("a=a+1;?", "statement 1 reads a, which has no value yet"),
        ("a=3;b=a/2;?", "statement 2, 'b=a/2', is not an assignment"),
        ("a=3;b=a+12;?", "statement 2, 'b=a+12', is not an assignment"),
        ("a=1+2+3;?", "statement 1"),
        ("a=3;;b=a;?", "statement 2, ''"),
        ("?", "statement 1, ''"),
        ("import os;?", "statement 1"),
    ],
)
def test_what_is_no_program_is_named(text: str, words: str) -> None:
    with pytest.raises(ProgramError) as caught:
        run(text)
    assert words in str(caught.value)


@given(st.integers(0, 10**6), st.integers(1, 8))
def test_drawn_programs_run_and_demonstrations_end_in_the_answer(seed: int, operations: int) -> None:
    rng = random.Random(seed)
    program = draw(operations, rng)
    values = execute(parse(program.prompt))
    assert len(values) == operations + 1 and all(0 <= v <= 9 for v in values) and values[-1] == program.answer
    text = demonstration(program, rng)
    assert text.endswith(f"\\boxed{{{program.answer}}}")
    steps = text.partition("\\boxed")[0]
    if "=" in steps:
        assert [int(part[-1]) for part in steps.split(";") if part] == values[1:]
        assert len(text) - len("\\boxed{") + 1 <= 76 - 1  # fits the longest response limit, end of sequence included
    elif steps:
        assert [int(c) for c in steps[1::2]] == values[1:]
    assert len(program.prompt) <= 54


def test_worked_steps_by_hand() -> None:
    program = Program((Statement("a", "3"), Statement("b", "a", "*", "4"), Statement("c", "b", "-", "a")))
    equations = bool(program.digest // 8 % 2)
    assert Programs().steps(program) == (("b=3*4=2;", "c=2-3=9;") if equations else ("b2", "c9"))


def test_noise_is_carried_on() -> None:
    rng = random.Random(1)
    program = draw(8, rng)
    answers = [demonstration(program, rng, noise=1.0)[-2] for _ in range(300)]
    assert 0.05 < answers.count(str(program.answer)) / 300 < 0.2, "every result is a random digit"


def test_problems_are_distinct_split_and_reproducible() -> None:
    spec = GeneratedSpec(family="program", problems=512)
    train, heldout = generate(spec, "train"), generate(spec, "heldout")
    assert len({p.id for p in train}) == 512 and not {p.prompt for p in train} & {p.prompt for p in heldout}
    assert train == generate(spec, "train") and all(p.source == "program" for p in train)
    for p in train[:50]:
        assert p.answers == (str(run(p.prompt)),) and p.difficulty == (p.prompt.count(";") - 1) / 8


def test_the_tokenizer_keeps_what_it_knew() -> None:
    from eprli_lab.backends.local.tokenizer import build_tokenizer, vocabulary

    tokenizer = build_tokenizer()
    for text in ("a=3;b=a*4;?", "b=3*4=2;\\boxed{2}", "66a+8b-5?", "i=h-1;"):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text and 0 not in ids
    known = vocabulary()
    assert (known["0"], known["h"], known[";"], len(known)) == (4, 26, 27, 32)


@pytest.mark.slow
@pytest.mark.parametrize("name", rest_exhaustive(["program", "mod10_xs", "mod10_m", "mod10_l"], 2))
def test_shipped_policies_start_where_their_provenance_says(name: str) -> None:
    from eprli_lab.backends.local.model import find_asset, recipe_fingerprint
    from eprli_lab.backends.local.warmstart import start_accuracy
    from eprli_lab.config.compose import compose_spec

    data = "program" if name == "program" else "mod10"
    spec = compose_spec([f"model={name}", f"data={data}"])
    where = find_asset(recipe_fingerprint(spec.model, data))
    assert where == ASSETS_DIR / name
    known = json.loads((where / "provenance.json").read_text())["start_accuracy"]
    measured = start_accuracy(spec.model, data, where)
    assert measured == pytest.approx(known, abs=0.02)
    assert measured["easy"] > measured["medium"] > measured["hard"] > 0.05
