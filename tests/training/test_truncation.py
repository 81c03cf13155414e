"""Truncated responses: masked ones get no loss, and what would have become of them is measured without a trace."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
from conftest import rest_exhaustive
from helpers import ScriptedBackend, group, response, small_spec
from test_train import Log, trainer

from eprli_lab.config.spec import AlgorithmSpec
from eprli_lab.errors import Interrupted, UserError
from eprli_lab.records import Completion, Grade, Group, Problem, Sampling
from eprli_lab.training.batch import difficulty_weights, make_batch
from eprli_lab.training.checkpoint import TABLES, RunStore
from eprli_lab.training.evaluate import evaluate, right_when_continued, rows, scores
from eprli_lab.training.preflight import check_logged
from eprli_lab.training.truncation import valid_truncation

pytestmark = pytest.mark.slow  # one of many

MASKED = AlgorithmSpec(truncated="masked", advantage="mean_only")


def cut_group(correct: list[bool], cut: list[bool], tokens: int = 5) -> Group:
    whole = group(correct, tokens=tokens)
    return dataclasses.replace(whole, responses=tuple(response("x", tokens, truncated=t) for t in cut))


# --- masked ------------------------------------------------------------------------------------------------------


def test_masked_responses_get_no_loss_and_stay_in_the_baseline():
    first = cut_group([True, False, False, False], [False, False, True, True])
    second = cut_group([True, True, False, False], [False, True, True, False], tokens=3)
    batch = make_batch([first, second], MASKED, 0)
    # means over all four: .25 and .5; the cut ones are left out afterwards
    assert batch.advantages == ((0.75,) * 5, (-0.25,) * 5, (0.5,) * 3, (-0.5,) * 3)
    assert batch.groups == (0, 0, 1, 1)
    assert not any(r.truncated for r in batch.responses)
    as_wrong = make_batch([first, second], AlgorithmSpec(advantage="mean_only"), 0)
    assert len(as_wrong.responses) == 8 and as_wrong.advantages[2] == (-0.25,) * 5


def test_without_a_truncated_response_masked_changes_nothing():
    whole = [group([True, False, True]), group([False, True, False], version=-1)]
    plain = AlgorithmSpec()
    assert make_batch(whole, AlgorithmSpec(truncated="masked"), 0) == make_batch(whole, plain, 0)


def test_a_group_of_which_nothing_is_left_is_not_in_the_batch():
    gone = cut_group([True, False], [True, True])
    kept = cut_group([True, False], [False, False])
    assert make_batch([gone, kept], MASKED, 0).groups == (1, 1)
    assert make_batch([gone], MASKED, 0).responses == ()


def test_daro_weighs_what_is_trained_on():
    algorithm = AlgorithmSpec(advantage="mean_only", difficulty_weights="daro", daro_rate=1.0, truncated="masked")
    halved = cut_group([True, False, False, False], [False, True, True, True])  # left: one token of |A| .75
    full = cut_group([True, True, False, False], [False] * 4)  # mean |A| .5
    weights = difficulty_weights([halved, full], algorithm, {})
    assert weights == pytest.approx({"1/4": 1 - 0.75, "2/4": 1 - 0.5})  # log w - rate (w L_mu - 1), from w = 1


class CutOff(ScriptedBackend):
    """Cuts off what `cut` says; a response that was begun is right with probability `later`."""

    def __init__(self, cut, later: float = 0.5, **kw) -> None:
        super().__init__(**kw)
        self.cut, self.later = cut, later
        self.begun: list[tuple[int, int, int]] = []  # (responses, n, max_tokens)

    def sample(self, problems, sampling, *, seed):
        if problems and problems[0].begun:
            self.begun.append((len(problems), sampling.n, sampling.max_tokens))
            assert all(p.begun for p in problems)
            skill, self.skill = self.skill, lambda p, u: self.later
            out = super().sample(problems, sampling, seed=seed)
            self.skill = skill
            self.sampled.pop()
            return out
        groups = super().sample(problems, sampling, seed=seed)
        return [
            tuple(
                dataclasses.replace(r, text="12", truncated=True, tokens=(1,) * 7, logprobs=(-0.5,) * 7)
                if self.cut(i)
                else r
                for i, r in enumerate(g)
            )
            for g in groups
        ]


def test_an_update_of_which_nothing_is_left_is_no_update_and_cannot_go_on_for_ever(tmp_path):
    open_band = [f"curriculum.levels.l{i}.admission={{metric:reward,accuracy_min:-9,accuracy_max:9}}" for i in (1, 2)]
    length = [
        f"curriculum.levels.l{i}.{key}" for i in (1, 2) for key in ("length_term=group_relative", "length_coef=1")
    ]
    spec = small_spec("budget.unit=updates", "budget.amount=5", "algorithm.truncated=masked", *open_band, *length)

    class Lengths(CutOff):  # of unequal lengths, so that an all-wrong group has a spread in its shaped reward
        def sample(self, problems, sampling, *, seed):
            groups = super().sample(problems, sampling, seed=seed)
            return [
                tuple(dataclasses.replace(r, tokens=r.tokens[: 2 + i % 3], logprobs=r.logprobs[: 2 + i % 3])
                      for i, r in enumerate(g))
                for g in groups
            ]  # fmt: skip

    log, backend = Log(), Lengths(lambda i: True)
    run = trainer(spec, tmp_path, backend, log)
    run.run()
    assert backend.updates == run.state.progress.updates == 0 and not log.series("policy/l1/loss")
    assert log.series("buffer/l1/groups/admitted")[0] >= 6  # the buffer was full, and its groups are spent
    assert log.series("buffer/l1/fill_fraction") == [1.0, 1.0, 1.0]  # max_skipped_updates
    assert [s.partition(":")[0] for s in run.starved] == ["level l1 starved", "level l2 starved"]
    assert "raise curriculum.levels.l1.max_response_tokens (now 44)" in run.starved[0]
    # a single response that is left is an update
    trainer(spec, tmp_path / "one", left := Lengths(lambda i: i > 0), Log()).run()
    assert left.updates == 5 and {len(b.responses) for b, _ in left.batches} == {6}


# --- gone on with ------------------------------------------------------------------------------------------------

ON = "evaluation.continue_truncated=80"


def test_the_rate_is_the_share_of_truncated_responses_that_are_right_later(tmp_path):
    backend = CutOff(lambda i: i == 0, skill=lambda p, u: 1.0, later=1.0)
    spec = small_spec(ON)
    run = trainer(spec, tmp_path, backend)
    outcomes = evaluate(backend, run.grader, run.suites, spec.evaluation, full=True)
    # of 2 samples of 8 problems the first is cut off and goes on for 80 - 76 tokens, once
    assert backend.begun == [(8, 1, 4)] * 3
    assert {(o.correct, o.truncated, o.valid_truncated) for o in outcomes} == {(1, 1, 1)}
    assert scores(outcomes)["eval/heldout_hard/valid_truncation_rate"] == 1.0
    assert scores(outcomes)["score"] == 0.5  # a measurement: what is right later is not right
    backend.later = 0.5
    outcomes = evaluate(backend, run.grader, run.suites, spec.evaluation, full=True)
    of_hard = [o for o in outcomes if o.suite == "heldout_hard"]
    rate = sum(o.valid_truncated for o in of_hard) / 8
    assert scores(outcomes)["eval/heldout_hard/valid_truncation_rate"] == rate and 0 < rate < 1
    assert {row["valid_truncated"] for row in rows("final", 3, outcomes)} == {0, 1}
    backend.cut = lambda i: False
    none = evaluate(backend, run.grader, run.suites, spec.evaluation, full=True)
    assert scores(none)["eval/heldout_hard/valid_truncation_rate"] == 0.0


def test_between_start_and_end_and_when_off_nothing_is_gone_on_with(tmp_path):
    backend = CutOff(lambda i: True)
    run = trainer(small_spec(), tmp_path, backend)
    parts = evaluate(backend, run.grader, run.suites, small_spec(ON).evaluation, full=False)
    off = evaluate(backend, run.grader, run.suites, small_spec().evaluation, full=True)
    assert backend.begun == []
    for outcomes in (parts, off):
        assert "valid_truncated" not in rows("x", 1, outcomes)[0]
        assert not any("valid" in name for name in scores(outcomes))


def test_a_response_goes_on_from_its_own_tokens_with_its_own_grade(tmp_path):
    """Each continuation is graded against the problem it belongs to, in order."""
    seen = []

    class Echo:
        def sample(self, problems, sampling, *, seed):
            seen.append((problems, sampling, seed))
            return [(response(f"\\boxed{{{p.begun[0]}}}", 2),) for p in problems]

    cut = [(Problem(f"p{i}", "q?", (answer,)), dataclasses.replace(response("", 3), tokens=(i, 9, 9)))
           for i, answer in enumerate(("0", "7", "2"))]  # fmt: skip
    grader = trainer(small_spec(), tmp_path).grader
    drawn = Sampling(16, 3, 0.5, top_k=4)
    assert right_when_continued(Echo(), grader, cut, drawn, limit=8, seed=5) == [True, False, True]
    ((problems, sampling, seed),) = seen
    assert [p.begun for p in problems] == [(0, 9, 9), (1, 9, 9), (2, 9, 9)]
    assert (sampling, seed) == (Sampling(1, 5, 0.5, top_k=4), 5)
    assert right_when_continued(Echo(), grader, [], drawn, limit=8, seed=5) == [] and len(seen) == 1
    with pytest.raises(ValueError, match="3 tokens cannot be gone on with up to 3"):
        right_when_continued(Echo(), grader, cut, drawn, limit=3, seed=5)


def test_a_run_that_measures_trains_as_the_run_that_does_not(tmp_path):
    """Ledger, samples and every training number are those of the run without."""
    logs, backends = {}, {}
    for name, more in (("off", []), ("on", [ON])):
        backends[name], logs[name] = CutOff(lambda i: i % 3 == 0, later=0.25), Log()
        trainer(small_spec("budget.amount=6000", *more), tmp_path / name, backends[name], logs[name]).run()
    for table in ("ledger", "samples"):
        assert (tmp_path / "off" / f"{table}.jsonl").read_bytes() == (tmp_path / "on" / f"{table}.jsonl").read_bytes()
    more = {k: v for k, v in logs["on"].numbers().items() if "valid_truncation_rate" in k[1]}
    assert {k: v for k, v in logs["on"].numbers().items() if k not in more} == logs["off"].numbers()
    train = [v for (_, name), v in more.items() if name.startswith("train/")]
    sampled = logs["on"].series("train/l1/all/truncation_rate") + logs["on"].series("train/l2/all/truncation_rate")
    assert len(train) == len(sampled) == len(logs["on"].series("time/continue")) > 5
    assert 0.1 < sum(train) / len(train) < 0.4  # .25, over some hundred responses
    assert not logs["off"].series("time/continue")


@pytest.mark.parametrize(
    ("truncated", "continued"), rest_exhaustive([(64, 64), (65, 64), (0, 0), (1, 1), (200, 64)], 2)
)
def test_at_most_so_many_of_a_step_are_gone_on_with_evenly_over_it(tmp_path, truncated, continued):
    class Recorder(ScriptedBackend):
        def sample(self, problems, sampling, *, seed):
            self.first = [p.begun[0] for p in problems]
            return super().sample(problems, sampling, seed=seed)

    cut = [dataclasses.replace(response("", 44, truncated=i < truncated), tokens=(i,) * 44) for i in range(256)]
    groups = [dataclasses.replace(group([False] * 16), responses=tuple(cut[i : i + 16])) for i in range(0, 256, 16)]
    backend = Recorder()
    backend.first = []
    grader = trainer(small_spec(), tmp_path).grader
    out, seconds = valid_truncation(small_spec(ON), backend, grader, "l1", groups, 3)
    assert len(set(backend.first)) == continued == len(backend.first)
    steps = {b - a for a, b in pairwise(backend.first)}
    assert backend.first[:1] == [0][:continued] and (not steps or max(steps) - min(steps) <= 1)
    assert seconds == out["time/continue"] > 0
    rate = out["train/l1/all/valid_truncation_rate"]
    assert rate * continued == round(rate * continued) and (rate > 0.3 if continued > 1 else True)
    assert valid_truncation(small_spec(), backend, grader, "l1", groups, 3) == ({}, 0.0)
    assert valid_truncation(small_spec(ON), backend, grader, "l1", [], 3) == ({}, 0.0)


def test_its_seconds_are_no_training_time(tmp_path, monkeypatch):
    from eprli_lab.training import loop

    monkeypatch.setattr(loop, "valid_truncation", lambda *a: ({}, 1000.0))
    run = trainer(small_spec("budget.amount=2000"), tmp_path)
    run.run()
    assert run.state.progress.seconds < 0 and run.state.wall > 0  # a planted 1,000 s a step are taken out of the step


@pytest.mark.parametrize("more", [["algorithm.truncated=masked"], [ON], ["algorithm.truncated=masked", ON]])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path, more):
    spec = small_spec("budget.amount=5000", "checkpoint.every_updates=3", *more)
    make = lambda: CutOff(lambda i: i % 4 == 0, later=0.4, skill=lambda p, u: min(0.9, 0.3 + 0.02 * u))
    whole, parts = Log(), Log()
    trainer(spec, tmp_path / "whole", make(), whole).run()
    for stop_after in (2, 5, None):
        calls = iter(range(1000))
        stop = (lambda n, c: lambda: next(c) >= n)(stop_after, calls) if stop_after else (lambda: False)
        try:
            trainer(spec, tmp_path / "parts", make(), parts, stop=stop).run()
        except Interrupted:
            assert stop_after is not None
    assert parts.numbers() == whole.numbers()
    for table in TABLES:
        assert RunStore(tmp_path / "parts", "").rows(table) == RunStore(tmp_path / "whole", "").rows(table)


def test_limits_that_cannot_be_gone_beyond_are_refused():
    small_spec("evaluation.continue_truncated=77")
    with pytest.raises(UserError, match="76 tokens in all do not go beyond max_response_tokens, 76: raise it"):
        small_spec("evaluation.continue_truncated=76")
    with pytest.raises(
        UserError, match=r"beyond curriculum\.levels\.l2\.max_response_tokens, 76: raise it above every"
    ):
        small_spec("evaluation.continue_truncated=50", "evaluation.max_response_tokens=20")
    with pytest.raises(UserError, match="algorithm.truncated: input should be 'as_wrong' or 'masked'"):
        small_spec("algorithm.truncated=dropped")


def test_a_rate_that_is_not_measured_is_no_objective():
    rate = "eval/heldout_hard/valid_truncation_rate"
    check_logged("objective", rate, small_spec(ON))
    with pytest.raises(UserError, match="no run logs 'eval/heldout_hard/valid_truncation_rate'"):
        check_logged("objective", rate, small_spec())


def test_what_is_gone_on_with_must_fit_the_model():
    from eprli_lab.backends.openrlhf.flags import longest_response
    from eprli_lab.training.problems import read_problems

    assert [longest_response(small_spec(*more)) for more in ([], [ON])] == [76, 80]  # what engines are started for

    read_problems(small_spec("evaluation.continue_truncated=200"))
    with pytest.raises(UserError, match="context of 256 tokens with a response of 250"):
        read_problems(small_spec("evaluation.continue_truncated=250"))


def test_on_the_cluster_what_was_begun_counts_as_response_and_its_text_is_whole():
    """Prompts there have a limit of their own; a response that was begun stands behind the prompt and is none of it."""
    from collections import defaultdict

    from eprli_lab.backends.local.tokenizer import build_tokenizer, vocabulary
    from eprli_lab.backends.openrlhf.engine import OpenRLHFBackend
    from eprli_lab.backends.tokenization import TokenizerAdapter
    from eprli_lab.config.backend import OpenRLHFSpec

    ids, drawn = vocabulary(), []

    def draw(prompts, sampling, *, seed):
        drawn.extend(prompts)
        return iter([[Completion((ids["7"], ids["}"], ids["<eos>"]), (-0.1,) * 3, "stop")] for _ in prompts])

    backend = object.__new__(OpenRLHFBackend)
    backend.spec = OpenRLHFSpec(kind="openrlhf", prompt_tokens=6)
    backend.adapter, backend.phases, backend.draw = TokenizerAdapter(build_tokenizer()), defaultdict(float), draw
    begun = (ids["a"], ids["7"], ids["\\boxed{"])
    problem = Problem("p", "3a+4?", ("7",), begun=begun)
    ((whole,),) = backend.sample([problem], Sampling(1, 9), seed=0)
    assert whole.text == "a7\\boxed{7}" and len(whole.tokens) == 3
    assert drawn == [[ids["<bos>"], *(ids[c] for c in "3a+4?"), *begun]] and drawn[0] == list(whole.prompt_tokens)
    with pytest.raises(UserError, match="has 7 tokens, more than 6"):
        list(backend.sample([dataclasses.replace(problem, prompt="3a+44?", begun=())], Sampling(1, 9), seed=0))


# --- on the real policy ------------------------------------------------------------------------------------------


def test_the_policy_goes_on_from_the_tokens_and_its_text_is_whole():
    from eprli_lab.backends.build import build_backend
    from eprli_lab.data.load import load_suite

    spec = small_spec()
    backend = build_backend(spec, None)
    problem = load_suite("heldout_hard", spec.evaluation.suites["heldout_hard"])[0]
    ((greedy,),) = backend.sample([problem], Sampling(1, 76, temperature=0.0), seed=0)
    assert len(greedy.tokens) > 9 and not greedy.truncated
    ((cut,),) = backend.sample([problem], Sampling(1, 7, temperature=0.0), seed=0)
    assert cut.truncated and cut.tokens == greedy.tokens[:7]
    begun = dataclasses.replace(problem, begun=cut.tokens)
    ((rest,),) = backend.sample([begun], Sampling(1, 69, temperature=0.0), seed=0)
    assert cut.tokens + rest.tokens == greedy.tokens
    assert rest.text == greedy.text and rest.prompt_tokens == (*greedy.prompt_tokens, *cut.tokens)


def test_a_masked_update_is_the_update_of_the_responses_that_are_left(tmp_path):
    """On the real policy: dropping the responses by hand and masking them give the same weights, bit for bit."""
    import torch
    from safetensors.torch import load_file

    from eprli_lab.algorithm.settings import update_settings
    from eprli_lab.backends.build import build_backend
    from eprli_lab.data.load import load_suite

    spec = small_spec("algorithm.advantage=mean_only", "curriculum.levels.l2.minibatches=2")
    weights = []
    for algorithm in ("by_hand", "masked", "as_wrong"):
        backend = build_backend(spec, None)
        problems = load_suite("heldout_hard", spec.evaluation.suites["heldout_hard"])[:4]
        groups = []
        for p, responses in zip(problems, backend.sample(problems, Sampling(8, 22), seed=1), strict=True):
            right = [i % 2 == 0 for i in range(8)]
            grades = tuple(Grade(c, "exact" if c else "wrong") for c in right)
            groups.append(Group(p, "l2", responses, grades, tuple(map(float, right)), 0, "admitted"))
        assert 0 < sum(r.truncated for g in groups for r in g.responses) < 32
        masked = spec.algorithm.model_copy(update={"truncated": "as_wrong" if algorithm != "masked" else "masked"})
        batch = make_batch(groups, masked, 0)
        if algorithm == "by_hand":
            left = [i for i, r in enumerate(batch.responses) if not r.truncated]
            batch = dataclasses.replace(
                batch, **{f.name: tuple(getattr(batch, f.name)[i] for i in left) for f in dataclasses.fields(batch)}
            )
        backend.update(batch, update_settings(spec, "l2", 1e-3, 0))
        backend.save(where := tmp_path / algorithm)
        weights.append(load_file(where / "policy" / "model.safetensors"))
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])
    assert not all(torch.equal(weights[0][k], weights[2][k]) for k in weights[0])
