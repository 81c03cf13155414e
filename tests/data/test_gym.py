"""The sets of reasoning-gym as data families: offered by name, each entry right by its own scorer, the same anywhere."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys

import pytest
from conftest import REPO

from eprli_lab.config.compose import compose_data, compose_spec, hydra_session
from eprli_lab.config.data import GeneratedSpec
from eprli_lab.config.procedural import OFFERED, REFUSED, families
from eprli_lab.config.spec import VerifySpec
from eprli_lab.data.families import generate, make_family
from eprli_lab.data.gym import Source, entry_of, operations_of, score, source_of
from eprli_lab.data.gym_levels import KEPT, configurations, hardest, level_of
from eprli_lab.data.gym_safety import may_be_scored
from eprli_lab.data.load import read_training
from eprli_lab.errors import UserError
from eprli_lab.grading.grader import Grader
from eprli_lab.records import Grade, Problem

HANDFUL = (
    "basic_arithmetic",
    "caesar_cipher",
    "chain_sum",
    "gcd",
    "letter_jumble",
    "list_functions",
    "string_insertion",
)


def levels(name: str) -> list[int]:
    """Each level of a set once, as a number of operations."""
    return sorted({operations_of(name, n) for n in range(1, 9)})


def drawn(name: str, each: int) -> dict[int, list]:
    """So many tasks of each level."""
    family = make_family(f"rg_{name}")
    return {n: [family.draw(n, random.Random(f"{name}-{n}-{i}")) for i in range(each)] for n in levels(name)}


def digests(names: tuple[str, ...], each: int) -> dict[str, str]:
    """Set -> digest of so many tasks of each of its levels."""
    out = {}
    for name in names:
        tasks = [task for of_level in drawn(name, each).values() for task in of_level]
        text = "\n".join(f"{t.prompt}|{t.answer}|{t.checks}|{t.split}" for t in tasks)
        out[name] = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return out


def digests_elsewhere(names: tuple[str, ...], each: int) -> dict[str, str]:
    """The same in another process, whose strings have other hashes."""
    code = f"import json; from test_gym import digests; print('digests', json.dumps(digests({names!r}, {each})))"
    path = os.pathsep.join([str(REPO), str(REPO / "tests"), str(REPO / "tests" / "data")])
    env = {**os.environ, "PYTHONHASHSEED": "271828", "PYTHONPATH": path}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    made: dict[str, str] = json.loads(ran.stdout.rpartition("digests ")[2])
    return made


def grades(problem: Problem, *responses: str, **verify: object) -> list[Grade]:
    with Grader(VerifySpec(**verify)) as grader:  # type: ignore[arg-type]
        return grader.grade([(r, problem.answers) for r in responses], problems=[problem] * len(responses))


def one(name: str, operations: int = 1) -> Problem:
    return generate(GeneratedSpec(family=f"rg_{name}", operations=(operations,), problems=1), "train")[0]


def test_the_names_are_those_of_the_installed_package() -> None:
    from reasoning_gym.factory import DATASETS

    assert set(DATASETS) == {*OFFERED, *REFUSED} and len(OFFERED) == 96 == len(set(OFFERED))
    assert set(KEPT) <= set(OFFERED)


def test_every_name_composes_and_is_listed() -> None:
    from hydra.core.global_hydra import GlobalHydra

    with hydra_session():
        loader = GlobalHydra.instance().config_loader()
        listed = set(loader.get_group_options("data"))
    assert listed >= {*families(""), "int", "gsm8k"} and "rg_boxnet" not in listed
    spec = compose_data(["data=rg_gcd"])
    assert spec.data.name == "rg_gcd" and spec.data.generated == GeneratedSpec(family="rg_gcd", problems=4096)


@pytest.mark.parametrize("name", REFUSED)
def test_a_set_that_is_not_offered_says_why(name: str) -> None:
    with pytest.raises(UserError, match=f"data.generated.family: 'rg_{name}' is refused: this set of reasoning-gym "):
        compose_data([f"data=rg_{name}"])


def test_a_misspelt_name_is_told_the_nearest() -> None:
    with pytest.raises(UserError, match="there is no such data .did you mean 'rg_chain_sum'"):
        compose_data(["data=rg_chain_sun"])


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "reasoning_gym"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    for family in ("rg_chain_sum", "rg_small_gcd", "rg_small"):
        with pytest.raises(UserError, match=r"pip install 'eprli-lab\[tasks\]'"):
            make_family(family)


def test_operations_are_spread_over_the_levels() -> None:
    assert [level_of(n, 4) for n in range(1, 9)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [hardest(n, 4) for n in range(1, 9)] == [2, 2, 4, 4, 6, 6, 8, 8]
    assert [level_of(n, 8) for n in range(1, 9)] == list(range(8)) and {level_of(n, 1) for n in range(1, 9)} == {0}
    assert hardest(1, 1) == 8, "one difficulty: the highest"


def test_levels_raise_what_the_curriculum_raises() -> None:
    made = configurations("chain_sum")
    assert [(c.min_terms, c.max_terms, c.min_digits, c.max_digits) for c in made[:3]] == [
        (2, 2, 1, 1), (3, 3, 2, 2), (4, 4, 3, 3),
    ]  # fmt: skip
    assert len(made) == 8 and len(configurations("gsm_symbolic")) == 1
    assert [c.max_rotation for c in configurations("caesar_cipher")] == [15, 25], "50 is refused by the set itself"
    assert configurations("spell_backward")[-1].min_word_len == 3, "the whole range: no word has 20 letters"


def test_strata_need_a_set_with_levels() -> None:
    data = compose_data(["data=rg_gsm_symbolic", "data.generated.problems=8"]).data
    assert {p.difficulty for p in read_training(data)} == {1.0}
    from eprli_lab.data.strata import stratify

    with pytest.raises(UserError, match="the stratum of l1 is empty"):
        stratify(read_training(data), compose_spec(["curriculum=l2"]).curriculum)


def test_entries_are_made_again_exactly() -> None:
    for name in HANDFUL:
        task = drawn(name, 1)[levels(name)[0]][0]
        again = entry_of.__wrapped__(source_of(task.checks))
        assert (again["question"], again["answer"]) == (task.prompt, task.answer)
        assert score(task.answer, source_of(task.checks)) == 1.0


def test_an_entry_that_would_never_be_made_is_an_error_and_the_others_are_what_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten blocks of different colours, of which there are nine; a number that is squared a dozen times over."""
    with pytest.raises(RuntimeError, match="not made after 100,000 draws"):
        entry_of(Source("arc_1d", 5, 142))
    of_arc, of_numbers = (
        [Source("arc_1d", 5, i) for i in range(100)],
        [Source("number_sequence", 1, i) for i in range(200)],
    )
    hardest = [entry_of(Source("number_sequence", 8, i))["question"] for i in range(300)]
    assert len(set(hardest)) > 250 and max(map(len, hardest)) < 100
    ended = [entry_of(source) for source in (*of_arc, *of_numbers)]
    entry_of.cache_clear()
    numbers = sys.modules["reasoning_gym.cognition.number_sequences"]
    monkeypatch.setattr(sys.modules["reasoning_gym.arc.arc_1d"], "Random", random.Random)
    monkeypatch.setattr(numbers.PatternRule, "apply", numbers.PatternRule.apply.__wrapped__)
    assert [entry_of(source) for source in (*of_arc, *of_numbers)] == ended


def test_the_global_stream_and_stdout_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    state = random.getstate()
    make_family("rg_bf").draw(8, random.Random(3))
    assert random.getstate() == state and capsys.readouterr().out == ""


@pytest.mark.slow
def test_a_handful_is_the_same_in_every_process() -> None:
    assert digests(HANDFUL, 2) == digests_elsewhere(HANDFUL, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chain_sum", "caesar_cipher", "list_functions"])
def test_both_sides_of_the_partition_are_disjoint(name: str) -> None:
    sides = [
        {p.prompt for p in generate(GeneratedSpec(family=f"rg_{name}", problems=24, seed=seed), split)}
        for split in ("train", "heldout")
        for seed in (0, 1)
    ]
    assert not (sides[0] | sides[1]) & (sides[2] | sides[3])


@pytest.mark.slow
def test_a_set_with_few_entries_runs_out_in_one_sentence() -> None:
    spec = GeneratedSpec(family="rg_game_of_life_halting", operations=(8,), problems=50)
    with pytest.raises(UserError, match="has only .* distinct train problems"):
        generate(spec, "train")


@pytest.mark.slow
def test_what_cannot_be_used_is_left_out_and_counted() -> None:
    """intermediate_integration answers some of its questions with the integral that was asked for."""
    data = compose_data(
        ["data=rg_intermediate_integration", "data.generated.problems=8", "data.generated.operations=[6]"]
    ).data
    notes: list[str] = []
    problems = read_training(data, notes=notes)
    assert not any("Integral" in p.answers[0] for p in problems)
    bad = Source("intermediate_integration", 6, 0)
    assert all(isinstance(json.loads(p.checks), list) for p in problems) and bad.checks()
    assert not notes or notes[0].startswith("rg_intermediate_integration: ")


def test_a_set_of_which_nothing_can_be_used_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eprli_lab.data.gym_family.score", lambda answer, source: 0.5)
    with pytest.raises(UserError, match="rg_gcd gives no entry with 2 operations, of 50 tried .its scorer does not"):
        make_family("rg_gcd").draw(1, random.Random(0))
    family = make_family("rg_gcd")
    scores = iter([0.0, 0.9, 1.0])
    monkeypatch.setattr("eprli_lab.data.gym_family.score", lambda answer, source: next(scores))
    family.draw(1, random.Random(0))
    assert family.notes() == [
        "rg_gcd: 2 entries were left out: they could not be made, or their scorer does not call their own answer right"
    ]


@pytest.mark.slow
def test_the_scorer_is_asked_in_the_workers() -> None:
    problem = one("chain_sum")
    gold = problem.answers[0]
    said = grades(
        problem, f"\\boxed{{{gold}}}", f"\\boxed{{0{gold}.0}}" if gold[0] != "-" else f"\\boxed{{{gold}.0}}",
        f"\\boxed{{The answer is {gold}}}", f"\\boxed{{{int(gold) + 1}}}", "\\boxed{}", "\\boxed{\x00\ud800}", gold, "",
    )  # fmt: skip
    assert [g.status for g in said] == ["exact", "exact", "wrong", "wrong", "wrong", "wrong", "no_answer", "no_answer"]
    assert said[0].answer == gold and score(f"The answer is {gold}", source_of(problem.checks)) > 0
    assert [g.correct for g in grades(problem, f"#### {gold}", f"\\boxed{{{gold}}}", format="hash")] == [True, False]


@pytest.mark.slow
def test_hostile_answers_are_wrong_or_late_and_run_nothing(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "written"
    code = f"open('{file}', 'w')"
    for name in ("n_queens", "string_insertion", "spiral_matrix", "binary_matrix", "countdown", "puzzle24"):
        problem = one(name)
        hostile = [
            f"\\boxed{{[{code}]}}",
            f"\\boxed{{{code}}}",
            f"\\boxed{{__import__('pathlib').Path('{file}').touch()}}",
        ]
        assert [g.status for g in grades(problem, f"\\boxed{{{problem.answers[0]}}}", *hostile)] == [
            "exact",
            *["wrong"] * 3,
        ]
        assert not file.exists(), name
    late = grades(one("countdown"), "\\boxed{9**9**9**9}", timeout_seconds=1.0)
    assert [g.status for g in late] in (["timeout"], ["wrong"], ["error"])


@pytest.mark.slow
def test_a_scorer_that_raises_is_an_error_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with Grader(VerifySpec()) as grader:
        problem = one("gcd")
        broken = Problem(
            id="broken",
            prompt="",
            answers=("1",),
            difficulty=None,
            verifier="reasoning_gym",
            checks='["no_set", 1, 1, false]',
        )
        both = grader.grade(
            [("\\boxed{1}", ("1",)), (f"\\boxed{{{problem.answers[0]}}}", problem.answers)], [broken, problem]
        )
        assert [g.status for g in both] == ["error", "exact"] and grader.counters["error"] == 1


@pytest.mark.parametrize(
    "answer", ["lambda: 0", "().__class__", "x.diff", "exec(1)", "'a'", "[1]", "x; y", "9" * 30_000, "Integral(x, x)"]
)
def test_only_formulas_come_to_what_parses_formulas(answer: str) -> None:
    assert not may_be_scored("simple_integration", answer) and may_be_scored("gcd", answer)


@pytest.mark.parametrize(
    "answer", ["x**2/2 + C", "-sin(3*x) + exp(x)/2 - 1.5*x^2", "(3 + 4)*2 - 1", "sqrt(X) + log(x)"]
)
def test_formulas_do(answer: str) -> None:
    assert may_be_scored("simple_integration", answer)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_every_set_is_right_by_its_own_scorer_and_the_same_in_every_process() -> None:
    """One entry a level; `drawn` refuses what its scorer does not call right."""
    sets = tuple(n for n in OFFERED if n not in ("knight_swap", "sokoban"))
    assert digests(sets, 1) == digests_elsewhere(sets, 1)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_levels_of_every_set_differ() -> None:
    for name in OFFERED:
        made = configurations(name)
        assert len({repr(c) for c in made}) == len(made) == len(levels(name)), name


def test_a_level_whose_questions_are_all_on_the_other_side_is_left_to_the_others() -> None:
    """coin_flip asks 8 questions at its first level, none of them held out: drawing on would never end."""
    with pytest.raises(UserError, match="has only 0 distinct heldout problems with \\[1\\]"):
        generate(GeneratedSpec(family="rg_coin_flip", operations=(1,), problems=2), "heldout")
    problems = generate(GeneratedSpec(family="rg_coin_flip", operations=(1, 3), problems=2), "heldout")
    assert {p.difficulty for p in problems} == {3 / 8}
