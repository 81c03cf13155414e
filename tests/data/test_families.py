"""Generated problems: an independent reader of the prompt, and the partition into training and held out."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eprli_lab.config.data import DataSpec, GeneratedSpec, SuiteSpec
from eprli_lab.data.families import LABELS, Chain, demonstration, draw, draw_from, generate, make_family
from eprli_lab.data.load import load_suite, load_training
from eprli_lab.errors import UserError
from eprli_lab.grading.answers import extract_boxed
from eprli_lab.records import Problem

pytestmark = pytest.mark.slow  # one of many

FAMILIES = ["int", "mod10"]
PROMPT = re.compile(r"(\d+)((?:[a-h][+-]\d)+)\?")


def read_prompt(prompt: str) -> tuple[int, list[tuple[str, int]]]:
    """start and steps, from the text alone; the labels have to be a, b, c, ..."""
    match = PROMPT.fullmatch(prompt)
    assert match, prompt
    steps = re.findall(r"([a-h])([+-])(\d)", match[2])
    assert "".join(label for label, _, _ in steps) == "abcdefgh"[: len(steps)]
    return int(match[1]), [(sign, int(digit)) for _, sign, digit in steps]


def totals(family: str, prompt: str) -> list[int]:
    """Running totals after each step, by an evaluation of its own."""
    value, steps = read_prompt(prompt)
    out = []
    for sign, digit in steps:
        value = value + (digit if sign == "+" else -digit)
        if family == "mod10":
            value = (value + 10) % 10
        out.append(value)
    return out


def test_a_chain_by_hand():
    chain = Chain("int", 66, (("+", 8), ("-", 5)))
    assert chain.prompt == "66a+8b-5?"
    assert chain.answer == 69
    assert Chain("mod10", 6, (("+", 8), ("-", 5))).answer == 9
    assert Chain("mod10", 2, (("-", 5),)).answer == 7


def test_worked_steps_by_hand():
    chain, other = Chain("int", 66, (("+", 8), ("-", 5))), Chain("int", 67, (("+", 8), ("-", 5)))
    terse, equations = ("a74", "b69"), ("a66+8=74", "b74-5=69")
    family = make_family("int")
    assert family.steps(chain) == (equations if chain.digest // 8 % 2 else terse)
    assert {len("".join(family.steps(c))) for c in (chain, other)} <= {6, 16}


@pytest.mark.parametrize("name", ["int", "mod10", "program"])
def test_worked_steps_are_those_of_a_demonstration(name):
    """As many as operations; with the answer behind them what the warm start shows, in both styles, on either side."""
    family, shown = make_family(name), set()
    for i in range(60):
        task = family.draw(5, random.Random(i))
        steps = family.steps(task)
        whole = "".join(steps) + f"\\boxed{{{task.answer}}}"
        assert len(steps) == 5 == task.operations
        assert whole in {family.worked(task, random.Random(j)) for j in range(40)}
        shown.add((task.split, "=" in steps[0]))
    assert shown == {(split, style) for split in ("train", "heldout") for style in (True, False)}
    made = generate(GeneratedSpec(family=name, operations=(2,), problems=5), "train")
    assert all(len(p.steps) == 2 and not p.hint for p in made)


SPECS = st.builds(
    GeneratedSpec,
    family=st.sampled_from(FAMILIES),
    operations=st.lists(st.integers(2, 8), min_size=1, max_size=4, unique=True).map(tuple),
    problems=st.integers(1, 120),
    seed=st.integers(0, 2**31),
)


@given(SPECS, st.sampled_from(["train", "heldout"]))
@settings(max_examples=60, deadline=None)
def test_answers_difficulty_and_totals(spec, split):
    problems = generate(spec, split)
    assert len(problems) == spec.problems
    assert len({p.id for p in problems}) == len({p.prompt for p in problems}) == spec.problems
    for p in problems:
        running = totals(spec.family, p.prompt)
        assert p.answers == (str(running[-1]),)
        assert p.difficulty == len(running) / 8
        assert len(running) in spec.operations
        assert 0 <= min(running) and max(running) <= (9 if spec.family == "mod10" else 99)
        assert p.source == spec.family and not p.messages
    counts = [sum(len(totals(spec.family, p.prompt)) == n for p in problems) for n in spec.operations]
    assert max(counts) - min(counts) <= 1, "numbers of operations are drawn evenly"


@given(SPECS, SPECS)
@settings(max_examples=60, deadline=None)
def test_training_and_held_out_never_overlap(a, b):
    train, heldout = generate(a, "train"), generate(b, "heldout")
    assert not {(p.source, p.prompt) for p in train} & {(p.source, p.prompt) for p in heldout}
    assert not {p.id for p in train} & {p.id for p in heldout}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_partition_holds_for_everything_with_one_operation(family):
    """All of a small space: both sides together are all of it, one in eight or so is held out."""
    rng = random.Random(0)
    chains = {draw(family, 1, rng).prompt: draw for _ in range(15_000)}
    sides = {}
    for split in ("train", "heldout"):
        sides[split] = {draw_from(make_family(family), 1, rng, split).prompt for _ in range(15_000)}
    assert not sides["train"] & sides["heldout"]
    assert sides["train"] | sides["heldout"] == set(chains)
    if family == "mod10":
        assert len(chains) == 10 * 2 * 10
    assert 0.05 < len(sides["heldout"]) / len(chains) < 0.2


def test_loaders_take_their_side():
    spec = GeneratedSpec(family="mod10", operations=(1, 2), problems=20)
    train = load_training(DataSpec(name="x", generated=spec))
    heldout = load_suite("easy", SuiteSpec(generated=spec))
    assert train == generate(spec, "train") and heldout == generate(spec, "heldout")
    assert not {p.id for p in train} & {p.id for p in heldout}


def test_seeds_differ_and_repeat():
    spec = GeneratedSpec(family="int", problems=50, seed=1)
    other = GeneratedSpec(family="int", problems=50, seed=2)
    assert generate(spec, "train") == generate(spec, "train")
    assert generate(spec, "train") != generate(other, "train")


def test_the_same_problems_in_every_process():
    code = (
        "from eprli_lab.data.families import generate\nfrom eprli_lab.config.data import GeneratedSpec\nimport hashlib\n"
        "p = generate(GeneratedSpec(family='{f}', problems=200, seed=3), 'train')\n"
        "print(hashlib.sha256(repr(p).encode()).hexdigest())"
    )
    for family in FAMILIES:
        said = {
            subprocess.run(
                [sys.executable, "-c", code.format(f=family)],
                env={"PYTHONHASHSEED": seed, "PATH": ""},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed in ("0", "1")
        }
        assert len(said) == 1


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_running_out_of_problems_is_one_sentence(split):
    spec = GeneratedSpec(family="mod10", operations=(1,), problems=1000)
    with pytest.raises(UserError) as caught:
        generate(spec, split)
    match = re.fullmatch(
        r"the family mod10 has only (\d+) distinct (\w+) problems with \[1\] operations, 1000 were asked for: "
        r"lower problems or name more operations",
        str(caught.value),
    )
    assert match and match[2] == split
    everything = {draw_from(make_family("mod10"), 1, random.Random(1), split).prompt}
    rng = random.Random(2)
    everything |= {draw_from(make_family("mod10"), 1, rng, split).prompt for _ in range(8_000)}
    assert 0.97 * len(everything) <= int(match[1]) <= len(everything), "practically all were found"


def test_short_chains_that_run_out_are_left_to_the_longer():
    problems = generate(GeneratedSpec(family="mod10", operations=(1, 4), problems=1000), "train")
    ones = sum(len(totals("mod10", p.prompt)) == 1 for p in problems)
    assert len(problems) == 1000 and 150 <= ones <= 200


# --- demonstrations


def steps_of(text: str) -> str:
    body, boxed, answer = text.partition("\\boxed{")
    assert boxed and answer.endswith("}") and re.fullmatch(r"-?\d+\}", answer), text
    return body


@given(st.sampled_from(FAMILIES), st.integers(1, 8), st.integers(0, 10**6))
@settings(max_examples=300)
def test_demonstrations_without_noise_are_right(family, operations, seed):
    rng = random.Random(seed)
    chain = draw(family, operations, rng)
    text = demonstration(chain, rng)
    running = totals(family, chain.prompt)
    assert extract_boxed(text) == str(running[-1])
    start, steps = read_prompt(chain.prompt)
    before = [start, *running[:-1]]
    direct = ""
    short = "".join(f"{label}{value}" for label, value in zip(LABELS, running, strict=False))
    long = "".join(f"{LABELS[i]}{before[i]}{sign}{digit}={running[i]}" for i, (sign, digit) in enumerate(steps))
    assert steps_of(text) in (direct, short, long)


@pytest.mark.parametrize("family", FAMILIES)
def test_styles_and_noise_have_the_stated_shares(family):
    rng = random.Random(5)
    chains = [draw(family, 4, rng) for _ in range(4000)]
    clean = [steps_of(demonstration(c, rng)) for c in chains]
    share = [sum(x == "" for x in clean), sum("=" in x for x in clean)]
    assert share[0] / 4000 == pytest.approx(0.2, abs=0.03)
    assert share[1] / 4000 == pytest.approx(0.4, abs=0.03)
    noisy = [demonstration(c, rng, noise=0.25) for c in chains]
    right = sum(extract_boxed(t) == str(c.answer) for t, c in zip(noisy, chains, strict=True)) / 4000
    # four steps, each right with 3/4 (and a wrong digit of mod10 is the right one in one case of ten), and luck
    assert 0.75**4 - 0.03 < right < 0.75**4 + 0.12
    assert all(steps_of(t) is not None for t in noisy)
    if family == "mod10":
        assert all(0 <= int(extract_boxed(t)) <= 9 for t in noisy)


@given(st.sampled_from(FAMILIES), st.integers(1, 8), st.integers(0, 10**6))
@settings(max_examples=200)
def test_noisy_demonstrations_carry_their_error_on(family, operations, seed):
    """Each equation starts from the result before it, and the box holds the last result."""
    rng = random.Random(seed)
    chain = draw(family, operations, rng)
    text = demonstration(chain, rng, noise=0.5)
    equations = re.findall(r"[a-h](-?\d+)([+-])(\d)=(-?\d+)", steps_of(text))
    if "=" in text:
        assert len(equations) == operations
        assert int(equations[0][0]) == chain.start
        for a, b in zip(equations, equations[1:], strict=False):
            assert a[3] == b[0]
        assert extract_boxed(text) == equations[-1][3]
        assert [(s, int(d)) for _, s, d, _ in equations] == list(chain.steps)


def test_a_number_of_operations_named_twice_is_drawn_twice_as_often():
    def counts(operations: tuple[int, ...]) -> dict[int, int]:
        problems = generate(GeneratedSpec(family="mod10", operations=operations, problems=240), "train")
        got = Counter(round(8 * (p.difficulty or 0)) for p in problems)
        assert len({p.prompt for p in problems}) == 240
        return dict(got)

    assert counts((2, 5)) == {2: 120, 5: 120} and counts((2, 5, 5)) == {2: 80, 5: 160}
    # one operation has 175 training problems: what is left falls to the other
    short = counts((1, 1, 1, 5))
    assert 165 < short[1] <= 175 and short[5] == 240 - short[1]


def test_what_a_family_says_of_itself_is_not_taken_for_a_lack_of_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(self: object, operations: int, rng: random.Random) -> None:
        raise UserError("data: the package of this family is not installed: install it")

    monkeypatch.setattr(type(make_family("mod10")), "draw", draw)
    with pytest.raises(UserError, match="is not installed: install it"):
        generate(GeneratedSpec(family="mod10", operations=(1, 2), problems=4), "train")


def test_a_set_of_the_package_is_made_once_a_process_and_a_users_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def counted(spec: GeneratedSpec, *more: Any) -> list[Problem]:
        made.append(spec.family)
        return generate(spec, *more)

    monkeypatch.setattr("eprli_lab.data.families.generate", counted)
    (tmp_path / "my_digits.py").write_text(
        "from eprli_lab.data.families import Mod10Chains\nclass Mine(Mod10Chains):\n    name = 'mine'\n"
    )
    monkeypatch.chdir(tmp_path)

    def load(family: str, seed: int = 1913) -> list[Problem]:
        return load_suite("x", SuiteSpec(generated=GeneratedSpec(family=family, problems=12, seed=seed)))

    first = load("mod10")
    first.reverse()  # the list is the caller's own
    assert load("mod10") == first[::-1] and made == ["mod10"]
    assert load("mod10", seed=1914) != load("mod10") and made == ["mod10"] * 2
    assert load("my_digits:Mine") == load("my_digits:Mine") and made[2:] == ["my_digits:Mine"] * 2
