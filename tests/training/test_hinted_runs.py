"""Hints in whole runs: how many steps are given when, that nothing else changes, that no loss falls on them, resume."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from helpers import ScriptedBackend, group, small_spec
from loops import TINY, Killed, Mortal, run, small_levels, tables, trainer

from eprli_lab.config.compose import compose_spec
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError
from eprli_lab.records import Grade, Problem, Sampling
from eprli_lab.training.checkpoint import RunStore
from eprli_lab.training.preflight import check_logged, preflight
from eprli_lab.training.problems import check_context
from eprli_lab.training.samples import sample_rows
from eprli_lab.training.state import group_from_json, group_to_json

pytestmark = pytest.mark.slow  # one of many

L2 = "curriculum.levels.l2.hint"
PROBLEM = Problem("p", "1a+1b+3?", ("5",))
HARD = "data.generated.operations=[6,7,8]"


class Asked(ScriptedBackend):
    """Remembers what it was asked in training, call by call."""

    def __init__(self, skill) -> None:
        super().__init__(skill)
        self.calls: list[list[Problem]] = []

    def sample(self, problems, sampling, *, seed):
        self.calls.append(list(problems))
        return super().sample(problems, sampling, seed=seed)


def hinted(*change: str, base: tuple[str, ...] = ()) -> RunSpec:
    """One level of 6 to 8 operations, groups of 4."""
    sizes = ("group_size=4", "problems_per_round=4", "buffer_groups=3", "admission.surplus=carry")
    level = [f"curriculum.levels.l1.{s}" for s in sizes]
    return small_spec(*TINY, "curriculum=l1", HARD, "budget.amount=1500", *level, *base, *(f"curriculum.levels.l1.hint.{c}" for c in change))  # fmt: skip


def ledger(where: Path) -> list[dict]:
    return RunStore(where, "").rows("ledger")


def by_hint(problem: Problem, updates: int) -> float:
    return 0.6 if problem.hint else 0.02


def test_a_fraction_of_zero_is_no_hint_byte_for_byte(tmp_path: Path) -> None:
    run(hinted(), tmp_path / "without", ScriptedBackend(by_hint))
    run(hinted("fraction=0.0", "when=all_wrong", "fade=linear"), tmp_path / "zero", ScriptedBackend(by_hint))
    assert tables(tmp_path / "zero") == tables(tmp_path / "without")
    assert b'"hint"' not in tables(tmp_path / "zero")["ledger"]
    assert "hint" not in hinted().model_dump(mode="json")["curriculum"]["levels"]["l1"], "fingerprints stay"


def test_a_fading_hint_shrinks_step_by_step(tmp_path: Path) -> None:
    spec, engine = hinted("fraction=1.0", "fade=linear", "fade_until=0.5"), Asked(by_hint)
    log = run(spec, tmp_path, engine)
    spent, seen = 0, set()
    training = [c for c in engine.calls if c[0].id in {r["problem"] for r in ledger(tmp_path)}]
    rows = iter(ledger(tmp_path))
    for call in training:
        share = max(0.0, 1.0 - spent / 1500 / 0.5)
        for problem in call:
            row = next(rows)
            assert row["hint"] == -int(-share * len(problem.steps) // 1), "ceil(h n)"
            assert problem.hint == "".join(problem.steps[: row["hint"]])
            seen.add(row["hint"])
        spent = row["progress_tokens"]
    assert next(rows, None) is None and seen >= {0, 2, 4, 6} and max(seen) == 8
    steps = [v for (_, name), v in log.items() if name == "train/l1/all/hint_steps"]
    assert steps[0] > 5 > steps[-1] == 0.0 and not any(name.endswith("resampled") for _, name in log)


def test_all_wrong_samples_once_more_what_had_nothing_right_and_leaves_the_first_draw_alone(tmp_path: Path) -> None:
    plain, engine = Asked(by_hint), Asked(by_hint)
    run(hinted(), tmp_path / "plain", plain)
    log = run(hinted("fraction=0.5", "when=all_wrong"), tmp_path / "hinted", engine)
    first = next(i for i, c in enumerate(engine.calls) if any(p.hint for p in c))
    rows, without = ledger(tmp_path / "hinted"), ledger(tmp_path / "plain")
    assert [{k: v for k, v in r.items() if k != "hint"} for r in rows[:4]] == without[:4], "the first draw"
    failed = [r["problem"] for r in rows[:4] if r["accuracy"] == 0.0]
    assert 0 < len(failed) and [p.id for p in engine.calls[first]] == failed
    assert [r["problem"] for r in rows[4 : 4 + len(failed)]] == failed
    assert all(r["hint"] == -(-len(p.steps) // 2) for r, p in zip(rows[4:], engine.calls[first], strict=False))
    assert {r["verdict"] for r in rows if r["accuracy"] == 0.0 and r["hint"] == 0} == {"too_hard"}, (
        "it keeps its verdict"
    )
    again = sum(r["hint"] > 0 for r in rows)
    assert again <= sum(r["accuracy"] == 0.0 and r["hint"] == 0 for r in rows)
    values = {name: v for (_, name), v in log.items()}
    assert values["progress/problems"] == len(rows)
    assert values["progress/tokens"] == sum(sum(r["response_tokens"]) for r in rows)
    assert values["progress/tokens"] == pytest.approx(1500, abs=4 * 7), "the budget is kept to about a group"
    shares = [v for (_, name), v in log.items() if name == "train/l1/all/resampled"]
    assert shares[0] > 0.5 and all(0.0 <= v <= 1.0 for v in shares)


@pytest.mark.parametrize("when", ["always", "all_wrong"])
def test_the_budget_is_kept_while_a_fading_hint_leaves_ever_more_to_be_written(tmp_path: Path, when: str) -> None:
    class Worked(ScriptedBackend):
        """A response has a token for each step that was not given."""

        def sample(self, problems, sampling, *, seed):
            left = [len(p.steps) - len(p.hint) // 2 for p in problems]  # terse steps have two characters, as `a7`
            return [
                tuple(dataclasses.replace(r, tokens=(1,) * n, logprobs=(-0.5,) * n) for r in group)
                for group, n in zip(
                    super().sample(problems, sampling, seed=seed), (max(1, n) for n in left), strict=True
                )
            ]

    hint = ("fraction=1.0", "fade=linear", "fade_until=0.8", f"when={when}")
    level = ("curriculum.levels.l1.problems_per_round=16", "curriculum.levels.l1.buffer_groups=8")
    for amount in (3000, 3150, 3300):
        spec = hinted(*hint, base=(*level, f"budget.amount={amount}"))
        run(spec, tmp_path / str(amount), Worked(lambda p, u: 0.5 if p.hint else 0.1))
        spent = sum(sum(r["response_tokens"]) for r in ledger(tmp_path / str(amount)))
        assert spent == pytest.approx(amount, abs=48), "to about a group, of up to 32 tokens"


def test_what_could_not_be_graded_is_not_sampled_again(tmp_path: Path) -> None:
    spec, engine = hinted("fraction=0.5", "when=all_wrong"), Asked(lambda p, u: 0.0)

    class Broken:
        counters: dict = {}
        seconds_lost = 0.0

        def grade(self, pairs, problems=None):
            return [Grade(correct=False, status="error") for _ in pairs]

    made = trainer(spec, tmp_path, engine)
    made.grader = Broken()
    made.run()
    assert {r["verdict"] for r in ledger(tmp_path)} == {"errored"}
    assert not any(p.hint for c in engine.calls for p in c)


@pytest.mark.parametrize("when", ["always", "all_wrong"])
def test_a_kill_and_a_resume_with_hinted_groups_waiting(tmp_path: Path, when: str) -> None:
    spec = hinted("fraction=0.9", "fade=linear", f"when={when}", base=("checkpoint.every_updates=1",))
    whole = Mortal(ScriptedBackend(by_hint))
    run(spec, tmp_path / "whole", whole)
    waiting = False
    for at in range(2, len(whole.calls), 3):
        with pytest.raises(Killed):
            run(spec, tmp_path / str(at), Mortal(ScriptedBackend(by_hint), at))
        for saved in RunStore(tmp_path / str(at), "").checkpoints():
            carried = json.loads((saved / "state.json").read_text())["state"]["buffers"]["l1"]
            waiting |= any(g.get("hinted") for g in carried)
        run(spec, tmp_path / str(at), ScriptedBackend(by_hint))
        assert tables(tmp_path / str(at)) == tables(tmp_path / "whole")
    assert waiting, "else nothing hinted was ever restored"


def test_a_hinted_group_survives_json() -> None:
    plain = group([True, False])
    problem = dataclasses.replace(plain.problem, steps=("a1", "b2"))
    made = dataclasses.replace(plain, problem=dataclasses.replace(problem, hint="a1"), hinted=1)
    assert group_from_json(json.loads(json.dumps(group_to_json(made))), {problem.id: problem}) == made
    assert not {"hint", "hinted"} & group_to_json(plain).keys(), "the layout without hints is what it was"


def test_a_sample_shows_the_hint_it_was_given() -> None:
    plain = group([True])
    made = dataclasses.replace(plain, problem=dataclasses.replace(plain.problem, hint="a2"), hinted=1)
    assert sample_rows(1, [made], 1)[0]["prompt"] == "1a+1?a2"


def test_no_loss_falls_on_a_hint() -> None:
    """The gradient is that of the same ids given as a prompt, and not that of the same ids sampled."""
    import torch
    from engines import backend, same, settings, weights

    from eprli_lab.records import Batch

    given = Problem("h", "1a+2b+3?", ("6",), hint="a3")
    asked = Problem("q", "1a+2b+3?a3", ("6",))

    def trained(problem: Problem, moved: int = 0) -> tuple[list, list]:
        engine = backend()
        drawn = engine.sample([problem], Sampling(8, 20), seed=5)[0]
        if moved:  # the last ids of the prompt as if they had been sampled
            drawn = [
                dataclasses.replace(r, prompt_tokens=r.prompt_tokens[:-moved], tokens=r.prompt_tokens[-moved:] + r.tokens, logprobs=(-0.5,) * moved + r.logprobs)
                for r in drawn
            ]  # fmt: skip
        advantages = tuple(((-1.0) ** i,) * len(r.tokens) for i, r in enumerate(drawn))
        engine.update(Batch(tuple(drawn), advantages, (0,) * 8, (True,) * 8), settings())
        return list(drawn), weights(engine)

    (hinted_rows, hinted_weights), (plain_rows, plain_weights) = trained(given), trained(asked)
    assert hinted_rows == plain_rows and same(hinted_weights, plain_weights)
    assert not hinted_rows[0].text.startswith("a3") or hinted_rows[0].prompt_tokens[-2:] != hinted_rows[0].tokens[:2]
    assert not same(trained(given, moved=2)[1], hinted_weights)
    assert torch.is_tensor(hinted_weights[0])


def test_hints_act_on_the_real_engine_from_the_first_group_on(tmp_path: Path) -> None:
    from test_weights import real

    base = (*TINY, *small_levels(1), HARD, "budget.amount=3000")
    spec = small_spec(*base, "curriculum.levels.l1.hint.fraction=0.9")
    run(small_spec(*base), tmp_path / "without", real(spec))
    run(spec, tmp_path / "with", real(spec))
    with_hints, without = ledger(tmp_path / "with"), ledger(tmp_path / "without")
    assert [r["problem"] for r in with_hints[:4]] == [r["problem"] for r in without[:4]]
    mean = lambda rows: sum(r["accuracy"] for r in rows[:8]) / 8
    assert mean(with_hints) > mean(without) + 0.2
    assert sum(with_hints[0]["response_tokens"]) < sum(without[0]["response_tokens"])


# --- refused before anything starts


def refusal(*change: str) -> str:
    with pytest.raises(UserError) as caught:
        preflight(compose_spec(list(change)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_hints_need_worked_steps(tmp_path: Path) -> None:
    from chat_model import make_untrained, overrides

    solutions = ("One.\nTwo.\n#### 2", "\\boxed{2}", None, "One. Two. So \\boxed{2}")
    rows = [{"id": f"q{i}", "problem": f"{i}a+1?", "answer": "2", "difficulty": 0.5, "solution": s} for i, s in enumerate(solutions)]  # fmt: skip
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    base = [*overrides(make_untrained(tmp_path / "model"), file), "curriculum.levels.l1.hint.fraction=0.5"]
    assert refusal(*base) == (
        "curriculum.levels.l1.hint: 4 of 4 problems have no worked steps, q0 for one: name the column of worked solutions "
        "(data.source.columns.solution), take problems that have some, or set hint.fraction=0"
    )
    assert "2 of 4 problems have no worked steps, q1 for one" in refusal(*base, "data.source.columns.solution=solution")
    file.write_text("".join(json.dumps(r) + "\n" for r in (rows[0], rows[3])))
    preflight(compose_spec([*base, "data.source.columns.solution=solution"]))


def test_the_longest_hint_must_fit_the_context() -> None:
    change = [HARD, "curriculum=l1", "curriculum.levels.l1.max_response_tokens=228"]  # prompts have 20 to 26 tokens
    preflight(compose_spec(change))
    said = refusal(*change, "curriculum.levels.l1.hint.fraction=1.0")
    assert "not fit the model's context of 256 tokens with a response of 228" in said
    assert said.endswith("its hint counts: shorten the responses, or lower hint.fraction")
    preflight(compose_spec([*change[:2], "curriculum.levels.l1.hint.fraction=1.0"]))


def test_and_the_prompt_limit_of_openrlhf() -> None:
    problems = [dataclasses.replace(PROBLEM, hint=h) for h in ("", "a2b5")]
    spec = small_spec("backend=openrlhf", "backend.prompt_tokens=9")  # BOS, `1a+1b+3?`
    check_context(spec, "level l1", problems[:1], 44, training=True)
    said = "level l1: the prompt does not fit backend.prompt_tokens (the longest has 13 tokens: problem p): its hint counts: set "
    with pytest.raises(UserError) as caught:
        check_context(spec, "level l1", problems[1:], 44, training=True)
    assert str(caught.value) == f"{said}backend.prompt_tokens=13, or lower hint.fraction"
    check_context(small_spec("backend=openrlhf", "backend.prompt_tokens=13"), "level l1", problems, 44, training=True)


def test_a_family_without_steps_takes_no_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    from eprli_lab.data import load
    from eprli_lab.data.families import IntChains

    monkeypatch.setattr(load, "_remembered", load._made)
    monkeypatch.setattr(IntChains, "steps", lambda self, task: ())  # as Family's own
    said = refusal(HARD, "curriculum=l1", "curriculum.levels.l1.hint.fraction=0.5")
    assert said.startswith("curriculum.levels.l1.hint: 4096 of 4096 problems have no worked steps, mod10-")
    assert said.endswith(
        "for one: give the family mod10 a method `steps`, take problems that have some, or set hint.fraction=0"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["fraction=1.5"], "curriculum.levels.l2.hint.fraction: input should be less than or equal to 1"),
        (["fade_until=0.0"], "curriculum.levels.l2.hint.fade_until: input should be greater than 0"),
        (["when=never"], "curriculum.levels.l2.hint.when: input should be 'always' or 'all_wrong', not 'never'"),
        (["fraktion=0.5"], "fraktion"),
    ],
)
def test_values_that_are_no_hint(change: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        small_spec(*(f"{'+' if 'k' in c.split('=')[0] else ''}{L2}.{c}" for c in change))
    assert said in str(caught.value)


def test_what_is_logged_of_hints_is_an_objective_only_where_there_are_some() -> None:
    always, again = [f"{L2}.fraction=0.5"], [f"{L2}.fraction=0.5", f"{L2}.when=all_wrong"]
    check_logged("objective", "train/l2/all/hint_steps", small_spec(*always))
    check_logged("objective", "train/l2/all/resampled", small_spec(*again))
    for change, metric in (([], "l2/all/hint_steps"), (always, "l1/all/hint_steps"), (always, "l2/all/resampled")):
        with pytest.raises(UserError, match="no run logs"):
            check_logged("objective", f"train/{metric}", small_spec(*change))


def test_rewarded_steps_cannot_be_given() -> None:
    with pytest.raises(
        UserError, match=r"curriculum\.levels\.l2\.hint gives worked steps, which algorithm\.reward_density=dense"
    ):
        small_spec(f"{L2}.fraction=0.5", "algorithm.reward_density=dense")
    small_spec(f"{L2}.fraction=0.0", "algorithm.reward_density=dense")
