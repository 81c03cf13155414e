"""What can be known of the OpenRLHF backend without OpenRLHF; and, where it is installed, its own functions beside ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import REPO
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.algorithm.advantage import advantages
from eprli_lab.algorithm.length_terms import soft_overlong
from eprli_lab.algorithm.loss import clipped_objective, k3, sequence_weights
from eprli_lab.algorithm.seeding import derive_seed
from eprli_lab.backends.model_shape import shape_of
from eprli_lab.backends.openrlhf import flag_check, reaper
from eprli_lab.backends.openrlhf.dry_run import describe_launch, inert
from eprli_lab.backends.openrlhf.engine import step_settings
from eprli_lab.backends.openrlhf.estimate import estimate, fit, hours, memory
from eprli_lab.backends.openrlhf.flags import Flag, flags, refuse_unsupported
from eprli_lab.backends.openrlhf.rows import Row, pad, pad_microbatches, shard_by_tokens
from eprli_lab.backends.openrlhf.versions import check_versions, installed
from eprli_lab.backends.token_loss import context_for, corrected_losses
from eprli_lab.backends.update_stats import UpdateStats
from eprli_lab.config.compose import compose_spec
from eprli_lab.config.curriculum import LevelSpec
from eprli_lab.errors import UserError
from eprli_lab.records import CorrectionSettings, CovarianceSettings, UpdateSettings

pytestmark = pytest.mark.slow  # one of many

with_openrlhf = pytest.mark.skipif(
    installed("openrlhf") is None, reason="OpenRLHF is not installed in this environment"
)
PRESETS = [
    "experiment=one_gpu",
    "experiment=one_gpu_24gb",
    "experiment=one_gpu_lora",
    "experiment=eprli_1p5b",
    "experiment=eprli_4b",
    "experiment=eprli_7b",
    "experiment=eprli_mimo_7b",
    "backend=openrlhf_cpu",
]


def flag(spec: Any, name: str) -> tuple[str, ...] | None:
    found = [f[1:] for f in flags(spec, "policy", "run") if f[0] == name]
    return found[0] if found else None


@pytest.mark.parametrize(
    ("override", "name", "value"),
    [
        ("curriculum.levels.l1.clip.high=0.37", "--actor.eps_clip_low_high", ("0.2", "0.37")),
        ("curriculum.levels.l1.group_size=8", "--rollout.n_samples_per_prompt", ("8",)),
        ("curriculum.levels.l1.inner_iterations=3", "--train.max_epochs", ("3",)),
        ("curriculum.levels.l1.max_response_tokens=31", "--rollout.max_new_tokens", ("31",)),
        ("curriculum.levels.l2.max_response_tokens=200", "--data.max_len", ("264",)),
        ("algorithm.advantage=mean_only", "--algo.advantage.estimator", ("dr_grpo",)),
        ("algorithm.aggregation=sequence_mean", "--actor.loss_agg_mode", ("seq-mean-token-mean",)),
        ("algorithm.kl_coef=0.01", "--algo.kl.estimator", ("k3",)),
        ("algorithm.objective=cispo", "--actor.policy_loss_type", ("ppo",)),  # ours stands in its place
        ("algorithm.entropy_coef=0.01", "--actor.entropy_coef", ("0.01",)),
        ("algorithm.is_correction=tis", "--algo.advantage.is_correction_mode", ("clip",)),
        ("algorithm.is_correction=tis", "--algo.advantage.is_correction_threshold", ("0.0", "2.0")),
        ("algorithm.is_correction=icepop", "--algo.advantage.is_correction_mode", ("mask",)),
        ("algorithm.is_correction=icepop", "--algo.advantage.is_correction_threshold", ("0.5", "5.0")),
        ("optim.max_grad_norm=0.5", "--actor.max_norm", ("0.5",)),
        ("backend.zero_stage=3", "--ds.zero_stage", ("3",)),
        ("seed=7", "--train.seed", ("7",)),
        ("backend.flags=['--ds.zpg 2']", "--ds.zpg", ("2",)),
    ],
)
def test_a_value_becomes_its_flag(override: str, name: str, value: tuple[str, ...]) -> None:
    assert flag(compose_spec(["backend=openrlhf_cpu", override]), name) == value


def test_gspo_is_their_gspo() -> None:
    spec = compose_spec(["backend=openrlhf_cpu", "algorithm.objective=gspo", "algorithm.aggregation=sequence_mean"])
    assert flag(spec, "--actor.policy_loss_type") == ("gspo",)
    assert flag(spec, "--actor.loss_agg_mode") == ("seq-mean-token-mean",)
    assert flag(compose_spec(["backend=openrlhf_cpu"]), "--algo.advantage.is_correction_level") is None


def test_no_warm_up_from_zero_and_no_schedule_that_wraps() -> None:
    spec = compose_spec(["backend=openrlhf_cpu"])
    assert flag(spec, "--actor.lr_scheduler") == ("constant",) and flag(spec, "--actor.lr_warmup_ratio") == ("0",)
    assert flag(spec, "--train.batch_size") == flag(spec, "--train.micro_batch_size") == ("1",), "no short last batch"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["backend.flags=['--actor.adam.lr 1']"], "backend.flags: --actor.adam.lr 1 is set by the run's own config"),
        (
            ["backend.flags=['--actor.aux_loss_coef 0.1']"],
            "--actor.aux_loss_coef would do nothing in a run whose",
        ),
        (["backend.flags=['--actor.policy_loss_type gspo']"], "is set by the run's own config"),
        (
            ["backend.flags=['--actor.dual_clip 3']", "algorithm.objective=cispo"],
            "--actor.dual_clip is of OpenRLHF's own loss, and algorithm.objective=cispo stands in its place",
        ),
        (["backend.flags=['--ds.zpgg 2']"], "did you mean '--ds.zpg'?"),
        (["backend.flags=[hello]"], "backend.flags: hello is set by the run's own config (or is no flag)"),
        (["algorithm.aggregation=sequence_mean", "algorithm.kl_coef=0.1"], "averages the KL term over tokens"),
        (
            ["algorithm.reward_density=implicit"],
            "algorithm.reward_density: the implicit process reward model is the local",
        ),
        (
            ["algorithm.aggregation=sequence_mean", "algorithm.entropy_coef=0.1"],
            "averages the entropy term over tokens",
        ),
        (["algorithm.aggregation=sequence_mean", "algorithm.entropy_target=0.1"], "with entropy_target use token_mean"),
        (["model.dtype=bfloat16"], "model.dtype: OpenRLHF's precision is backend.param_dtype"),
    ],
)
def test_what_cannot_be_honoured_is_refused(overrides: list[str], words: str) -> None:
    with pytest.raises(UserError) as caught:
        refuse_unsupported(compose_spec(["backend=openrlhf_cpu", *overrides]))
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["backend=openrlhf", "backend.engine_gpus=3"], "backend: engine_gpus 3 does not divide the 8 GPUs"),
        (["backend=openrlhf", "backend.attention=eager"], "backend: packing needs flash attention"),
        (["backend=openrlhf_cpu", "backend.adam_offload=true"], "a rehearsal goes without them"),
        (["backend=openrlhf", "+backend.zero_stge=2"], "backend.zero_stge: unknown key (did you mean 'zero_stage'?)"),
        (["+backend.devic=cpu"], "backend.devic: unknown key (did you mean 'device'?)"),
        (["backend.kind=trl"], "backend.kind: is none of local, openrlhf"),
        (["backend=openrlhf", "backend.zero_stage=4"], "backend.zero_stage:"),
    ],
)
def test_a_bad_backend_is_one_sentence(overrides: list[str], words: str) -> None:
    with pytest.raises(UserError) as caught:
        compose_spec(overrides)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_dry_run_and_address_do_not_change_the_fingerprint_but_what_computes_does() -> None:
    def fingerprint(*more: str) -> str:
        return compose_spec(["backend=openrlhf_cpu", *more]).fingerprint()

    base = fingerprint()
    assert base == fingerprint("backend.dry_run=true") == fingerprint("backend.ray_address=auto")
    assert base != fingerprint("backend.zero_stage=3") != compose_spec([]).fingerprint()


@pytest.mark.skipif(installed("openrlhf") is not None, reason="OpenRLHF is installed here")
def test_a_missing_package_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(UserError, match=r"backend: openrlhf, deepspeed, vllm not installed: pip install"):
        check_versions(False)


def test_an_unknown_version_warns(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("eprli_lab.backends.openrlhf.versions.installed", lambda package: "9.9")
    assert check_versions(False) == "9.9"
    assert "OpenRLHF 9.9 is not among the versions known to work (0.11.2)" in caplog.text


def test_bounds_that_cannot_bind_are_said_to() -> None:
    drop = "curriculum.levels.l1.admission.surplus=drop"
    told = inert(compose_spec(["backend=openrlhf_cpu", drop]))
    assert len(told) == 1 and told[0].startswith("l1: one optimizer step an update on fresh groups")
    assert inert(compose_spec(["backend=openrlhf_cpu", drop, "curriculum.levels.l1.inner_iterations=2"])) == []


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_describes_its_launch(preset: str) -> None:
    text = describe_launch(compose_spec([preset]))
    assert (
        "nothing was started" in text
        and "--actor.num_gpus_per_node" in text
        and re.search("l2: d <= 1.0, G=(8|16),", text)
    )
    assert "DOES NOT FIT" not in text and (
        re.search("GPU-hours of an H100: (about|below) ", text) or "needs no GPU" in text
    )


def test_the_estimate_is_its_formula() -> None:
    spec = compose_spec(["experiment=eprli_1p5b", "backend.microbatch_tokens=20000", "budget.amount=1000000"])
    found = shape_of(spec.model)
    # a layer: q and o 1536^2 each, k and v 1536 x 256 each, three of 1536 x 8960; one embedding
    p = 28 * (2 * 1536 * 1536 + 2 * 1536 * 256 + 3 * 1536 * 8960) + 151_936 * 1536
    assert found is not None and found.parameters == p == 1_543_569_408
    assert found.cache_bytes == 28_672, "keys and values of 28 layers, 256 wide, 2 bytes each"
    parts = memory(spec, found)
    assert parts["weights"] == 2 * p and parts["gradients"] == 2 * p / 8
    assert parts["master weights and Adam"] == 12 * p / 8
    assert parts["activations"] == 20_000 * (2 * 1536 * 28 + 34 * 1536)
    assert parts["logits"] == 20_000 * 14 * 151_936
    assert sum(parts.values()) == pytest.approx(51.1e9, rel=0.01)
    on_80 = fit(spec, found, 80e9)
    assert on_80.train == sum(parts.values()) + 1.2e9, "a sleeping engine keeps so much"
    assert on_80.rollout == 0.6 * 80e9 + 2 * p + 2.2e9
    assert on_80.sequences == pytest.approx((48e9 - 2 * p - 2e9) / (28_672 * (1024 + 16_384)))  # 86
    rollout, training = hours(spec, 1.54e9)
    assert rollout == pytest.approx(1e6 * 2 * 1.54e9 / (0.05 * 989e12) / 3600)
    assert training == pytest.approx(1e6 * 8 * 1.54e9 / (0.35 * 989e12) / 3600)
    assert any("fits" in line for line in estimate(spec))


def test_adapters_are_counted_and_what_does_not_fit_is_said() -> None:
    found = shape_of(compose_spec(["experiment=one_gpu"]).model)
    assert found is not None
    # of rank 16: a layer's q and o 3072 each, k and v 1792 each, gate, up and down 10,496 each
    assert found.adapter_parameters(16, "all-linear") == 28 * 16 * (2 * 3072 + 2 * 1792 + 3 * 10_496) == 18_464_768
    assert found.adapter_parameters(8, ("q_proj", "v_proj")) == 28 * 8 * (3072 + 1792)
    small = compose_spec(["experiment=one_gpu_24gb"])
    fits = {gpu: fit(small, shape_of(small.model), gpu).fits for gpu in (80e9, 24e9, 12e9)}
    assert fits == {80e9: True, 24e9: True, 12e9: False}
    big = compose_spec(["experiment=one_gpu", "model.name=qwen3-8b", "model.path=Qwen/Qwen3-8B"])
    text = "\n".join(estimate(big))
    assert text.count("too small") == 2 and "DOES NOT FIT: lower microbatch_tokens" in text
    starved = compose_spec(["experiment=one_gpu", "backend.engine_memory=0.06"])
    assert "raise engine_memory" in "\n".join(estimate(starved))


def test_sizes_in_names_are_told_apart() -> None:
    model = compose_spec(["experiment=one_gpu"]).model
    sizes = {"Qwen/Qwen3-1.7B": 1.72e9, "Qwen/Qwen3-0.6B": 0.596e9, "x/y-7b": 7.61e9, "meta/Llama-3.2-3B": 3.09e9}
    for path, parameters in sizes.items():
        found = shape_of(model.model_copy(update={"name": "any", "path": path}))
        assert found is not None and found.parameters == pytest.approx(parameters, rel=0.01), path
    assert shape_of(model.model_copy(update={"name": "any", "path": "x/y-70b"})) is None
    for path in ("XiaomiMiMo/MiMo-7B-Base", "XiaomiMiMo/MiMo-7B-SFT", "XiaomiMiMo/MiMo-7B-RL"):
        found = shape_of(model.model_copy(update={"name": "any", "path": path}))
        assert found is not None and (found.layers, found.keys) == (36, 1024), path
        # with the layer for multi-token prediction, which is not counted: 7.83e9 of the published weights
        layer = (found.parameters - 2 * found.vocabulary * found.hidden) / 36
        assert found.parameters + layer + 2 * 4096**2 == pytest.approx(7.83e9, rel=0.005)


def test_a_model_without_a_gate_is_counted_from_its_config(tmp_path: Path) -> None:
    config = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50_257}
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    found = shape_of(compose_spec(["model=path", f"model.path={tmp_path}"]).model)
    assert found is not None and found.parameters == pytest.approx(124e6, rel=0.01)  # GPT-2 small


def test_the_size_of_a_shipped_policy_comes_from_its_config() -> None:
    found = shape_of(compose_spec(["backend=openrlhf_cpu"]).model)
    assert found is not None and found.parameters == pytest.approx(1.0e5, rel=0.1)
    assert (found.hidden, found.layers) == (64, 2)


# ------------------------------------------------------------------------------------------------ rows and ranks


@given(st.lists(st.integers(2, 90), min_size=1, max_size=40), st.integers(1, 8))
def test_dealing_loses_no_row_and_balances_tokens(lengths: list[int], ranks: int) -> None:
    shards = shard_by_tokens(lengths, list(range(len(lengths))), ranks)
    assert sorted(i for h in shards for i in h) == list(range(len(lengths)))
    loads = [sum(lengths[i] for i in h) for h in shards]
    assert max(loads) - min(loads) <= max(lengths)


def test_with_a_correction_the_ratio_is_to_the_trainer() -> None:
    one = row([7, 8, 9, 1], 2, [-0.5, -0.25], 2.0)
    one.trainer = np.array([-0.75, -0.125], dtype=np.float32)
    fields = pad([(one, True)], 0)["fields"]
    assert fields["action_log_probs"].tolist() == [[0.0, -0.75, -0.125]]
    assert fields["rollout_log_probs"].tolist() == [[0.0, -0.5, -0.25]]


def test_ranks_are_levelled_with_rows_that_do_not_count() -> None:
    assert pad_microbatches([[[0, 1], [2]], [[3]]]) == [[[0, 1], [2]], [[3], [-4]]]
    assert pad_microbatches([[[5]], [[]]]) == [[[5]], [[-6]]], "a rank without rows of its own goes through somebody's"


def row(tokens: list[int], prompt: int, logprobs: list[float], advantage: float) -> Row:
    a = np.full(len(logprobs), advantage, dtype=np.float32)
    return Row(np.array(tokens), prompt, np.array(logprobs, dtype=np.float32), a, True)


def test_rows_are_padded_so_that_position_t_minus_1_predicts_token_t() -> None:
    members = [(row([7, 8, 9, 1], 2, [-0.5, -0.25], 2.0), True), (row([7, 1], 1, [-1.0], -3.0), False)]
    made = pad(members, 0)
    fields = made["fields"]
    assert fields["sequences"].tolist() == [[7, 8, 9, 1], [7, 1, 0, 0]]
    assert fields["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert fields["action_mask"].tolist() == [[False, True, True], [False, False, False]]
    assert fields["action_log_probs"].tolist() == [[0.0, -0.5, -0.25], [-1.0, 0.0, 0.0]]
    assert fields["advantages"].tolist() == [[0.0, 2.0, 2.0], [-3.0, 0.0, 0.0]]
    assert made["current"].tolist() == [True, False] and fields["base_action_log_probs"] is None
    assert fields["rollout_log_probs"] is None


@pytest.mark.parametrize(
    ("aggregation", "tokens"), [("token_mean", 10.0), ("sequence_mean", 10.0), ("constant", 3 * 76.0)]
)
def test_constant_is_a_token_mean_with_another_divisor(aggregation: Any, tokens: float) -> None:
    how = UpdateSettings(0.2, 0.28, 1, 1, aggregation, 76, 0.0, 1.0, 1e-3, 1.0, 0)
    assert step_settings(how, [2, 3, 5], 4)["normalise"] == {"batch_num_tokens": tokens, "global_batch_size": 3.0}


def test_ranks_merge_to_what_one_would_have_measured() -> None:
    new, old, a = torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-1.5, -1.0, -0.5]), torch.tensor([1.0, -1.0, 0.0])
    whole, parts = UpdateStats(), [UpdateStats(), UpdateStats()]
    for sums, part in [(whole, slice(0, 3)), (parts[0], slice(0, 1)), (parts[1], slice(1, 3))]:
        sums.tokens_seen(new[part], old[part], a[part], 0.2, 0.28)
        sums.entropy_seen(torch.ones(3)[part])
        sums.compare(new[part], old[part])
        sums.weights_seen(new[part], old[part], new[part] > old[part])
        sums.step(0.5, 2.0)
    parts[0].merge(parts[1])
    assert parts[0].terms() == whole.terms() and whole.terms().clip_fraction_high == 1.0


# ------------------------------------------------------------------------------------------------ the reward file


def test_the_reward_file_says_what_the_grader_says(shared_data: Path) -> None:
    from eprli_lab.backends.openrlhf import reward_function as openrlhf_reward
    from eprli_lab.config.spec import VerifySpec
    from eprli_lab.grading.grader import Grader

    cases = [json.loads(line) for line in (shared_data / "grading_cases.jsonl").read_text().splitlines()]
    labels = [c["gold"] if len(c["gold"]) > 1 else c["gold"][0] for c in cases]
    out = openrlhf_reward.reward_func(["q:" + c["response"] for c in cases], ["q:"] * len(cases), labels)
    with Grader(VerifySpec()) as grader:
        grades = grader.grade([(c["response"], tuple(c["gold"])) for c in cases])
    assert out["scores"].tolist() == [float(g.correct) for g in grades]


def test_the_reward_file_grades_and_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    from eprli_lab.backends.openrlhf import reward_function as openrlhf_reward

    queries = ["q: 1/2? \\boxed{0.5}", "q: \\boxed{7}", "q: no answer"]
    out = openrlhf_reward.reward_func(queries, ["q:"] * 3, ["\\frac{1}{2}", 8, "9"])
    assert out["scores"].tolist() == [1.0, 0.0, 0.0] == out["rewards"].tolist()
    monkeypatch.setenv("EPRLI_REWARD", "linear:0.5:100")
    out = openrlhf_reward.reward_func(queries[:1], ["q:"], ["0.5"])
    assert out["scores"].tolist() == [1.0] and out["rewards"].item() == pytest.approx(1.0 - 0.5 * 17 / 100)
    missing = ["", None, float("nan"), [], "None"]
    out = openrlhf_reward.reward_func(["q: \\boxed{None}", "q: \\boxed{}"] * 5, ["q:"] * 10, missing * 2)
    assert out["scores"].tolist() == [0.0] * 10 and out["extra_logs"]["grading_failed"].tolist() == [1.0] * 10
    out = openrlhf_reward.reward_func(["<s>q \\boxed{7}? no", "\\boxed{7}"], ["q \\boxed{7}?", "q"], ["7", "7"])
    assert out["scores"].tolist() == [0.0, 0.0], "a box of the prompt, and a query without its prompt"
    assert out["extra_logs"]["grading_failed"].tolist() == [0.0, 1.0]
    mixed = [{"answer": 4, "format": "hash"}, '{"answer": ["4"], "format": "answer_line"}', {"answer": "4"}, "4"]
    said = ["#### 4", "Answer: 4", "\\boxed{4}", "#### 4"]
    out = openrlhf_reward.reward_func([f"q: {s}" for s in said], ["q:"] * 4, mixed)
    assert out["scores"].tolist() == [1.0, 1.0, 1.0, 0.0], "a label may bring its source's format; the last does not"
    out = openrlhf_reward.reward_func(["q: #### 4"], ["q:"], [{"answer": "4", "format": "hsah"}])
    assert out["extra_logs"]["grading_failed"].tolist() == [1.0]
    monkeypatch.setenv("EPRLI_REWARD", "nonsense")
    out = openrlhf_reward.reward_func(queries[:1], ["q:"], ["0.5"])
    assert out["rewards"].tolist() == [0.0] and out["extra_logs"]["grading_failed"].tolist() == [1.0]


# ------------------------------------------------------------------------------------------------ the reaper


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="there is no /proc here")
@pytest.mark.exhaustive
def test_what_a_killed_driver_leaves_is_ended_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "from eprli_lab.backends.openrlhf import reaper\n"
        "reaper.start()\n"
        "inner = 'import os, time; os.setsid(); time.sleep(300)'\n"
        "p = subprocess.Popen([sys.executable, '-c', inner]); print(p.pid, flush=True); time.sleep(300)"
    )
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert driver.stdout is not None
    orphan = int(driver.stdout.readline())
    time.sleep(3 * reaper.LOOK)
    driver.kill()
    driver.wait()
    end = time.monotonic() + 20
    while orphan in reaper.table() and time.monotonic() < end:
        time.sleep(0.2)
    assert orphan not in reaper.table() and bystander.poll() is None
    bystander.kill()


# ------------------------------------------------------------------------------------------------ parity


@pytest.fixture
def theirs() -> Any:
    """OpenRLHF's modules, imported as a rehearsal does."""
    pytest.importorskip("openrlhf", reason="OpenRLHF is not installed in this environment")
    from eprli_lab.backends.openrlhf.rehearsal import install

    install()
    import openrlhf.models
    import openrlhf.models.utils
    from openrlhf.trainer.ppo_utils import length_penalty

    return openrlhf.models, openrlhf.models.utils, length_penalty


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean"])
@pytest.mark.parametrize(("low", "high"), [(0.2, 0.2), (0.2, 0.28), (0.05, 0.9)])
def test_our_objective_is_their_policy_loss(theirs: Any, aggregation: Any, low: float, high: float) -> None:
    torch.manual_seed(0)
    old = torch.randn(4, 6) * 0.1 - 1
    new, adv = old + torch.randn(4, 6) * 0.5, torch.randn(4, 1).expand(4, 6)
    mask = torch.ones(4, 6, dtype=torch.bool)
    mask[0, 3:] = False
    loss = theirs[0].PolicyLoss(low, high, token_level_loss=aggregation == "token_mean")(
        new, old, adv, action_mask=mask
    )
    weights = sequence_weights([3, 6, 6, 6], aggregation, 1)
    w = torch.tensor(weights).repeat_interleave(torch.tensor([3, 6, 6, 6]))
    ours = (clipped_objective(new[mask], old[mask], adv[mask], low, high) * w).sum()
    assert ours.item() == pytest.approx(loss[0].item(), abs=1e-6)
    kl = theirs[1].compute_approx_kl(new, old, kl_estimator="k3")
    assert torch.allclose(k3(new, old), kl, atol=1e-6)


def begun(aggregation: str, objective: str, how: CorrectionSettings | None = None) -> dict[str, Any]:
    """What an actor's loss is told of an update."""
    covariance = CovarianceSettings(clip_share=0.2, clip_low=0.05, kl_share=0.2)
    names: dict[str, Any] = {"aggregation": aggregation, "objective": objective, "covariance": covariance}
    return {"clip_low": 0.2, "clip_high": 0.28, "correction": how or CorrectionSettings(), "seed": 5, **names}


CORRECTIONS = (CorrectionSettings(), CorrectionSettings("tis"), CorrectionSettings("icepop"))
LOSSES = [("gspo", "sequence_mean", 0), ("dppo_tv", "token_mean", 0), ("dppo_tv", "sequence_mean", 0)] + [
    (name, aggregation, c)
    for name in ("ppo_clip", "cispo", "clip_cov", "kl_cov")
    for aggregation in ("token_mean", "sequence_mean")
    for c in range(3)
]


@pytest.mark.parametrize(("name", "aggregation", "correction"), LOSSES)
def test_an_actors_loss_is_the_local_engines(theirs: Any, name: str, aggregation: Any, correction: int) -> None:
    """Loss and gradient on the same tensors: their own gspo, tis and icepop, ours where they have none."""
    from eprli_lab.backends.openrlhf.workers import MeasuredLoss

    how, generator = CORRECTIONS[correction], torch.Generator().manual_seed(0)
    old = torch.randn(4, 6, generator=generator) * 0.1 - 1
    start = old + torch.randn(4, 6, generator=generator) * 0.5
    adv = torch.randn(4, 1, generator=generator).expand(4, 6)
    sampler = old + torch.randn(4, 6, generator=generator)
    mask = torch.ones(4, 6, dtype=torch.bool)
    mask[0, 3:] = False
    loss = MeasuredLoss(0.2, 0.28)
    loss.begin(begun(aggregation, name, how))
    new, flat = start.clone().requires_grad_(), start[mask].clone().requires_grad_()
    more = {"rollout_log_probs": sampler} if how.kind != "none" else {}
    sizes = {"batch_num_tokens": 21.0, "global_batch_size": 4.0, "dp_size": 1}
    value, *_ = loss(new, old, adv, action_mask=mask, **sizes, **more)
    value.backward()
    repeats = torch.tensor([3, 6, 6, 6])
    weights = torch.tensor(sequence_weights(repeats.tolist(), aggregation, 1)).repeat_interleave(repeats)
    about = context_for(torch.arange(4).repeat_interleave(repeats), derive_seed(5, "objective", 0, 1), loss.covariance)
    known, trainer = (sampler[mask], old[mask]) if more else (old[mask], None)
    ours = (corrected_losses(name, flat, known, trainer, adv[mask], (0.2, 0.28), about, how) * weights).sum()
    ours.backward()
    assert ours.item() == pytest.approx(value.item(), abs=1e-6)
    assert torch.allclose(new.grad[mask], flat.grad, atol=1e-6) and not new.grad[0, 3:].any()


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean"])
def test_a_users_objective_stands_in_their_actors_loss(
    theirs: Any, aggregation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the clipped objective gives the loss and gradient of their own; another one does not."""
    from eprli_lab.backends.openrlhf.workers import MeasuredLoss

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    source = """
    import torch


    def copied(new, old, advantages, low, high):
        ratio = (new - old).exp()
        return -torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)


    def unclipped(new, old, advantages, low, high):
        return -(new - old).exp() * advantages
    """
    (tmp_path / "actor_losses.py").write_text(textwrap.dedent(source))
    torch.manual_seed(0)
    old = torch.randn(4, 6) * 0.1 - 1
    start, adv = old + torch.randn(4, 6) * 0.5, torch.randn(4, 1).expand(4, 6)
    mask = torch.ones(4, 6, dtype=torch.bool)
    mask[0, 3:] = False
    found = {}
    for name in ("ppo_clip", "actor_losses:copied", "actor_losses:unclipped"):
        loss = MeasuredLoss(0.2, 0.28)
        loss.begin(begun(aggregation, name))
        new = start.clone().requires_grad_(True)
        value, *rest = loss(new, old, adv, action_mask=mask, batch_num_tokens=21.0, global_batch_size=4.0, dp_size=2)
        value.backward()
        assert len(rest) == 4 and not new.grad[0, 3:].any()
        found[name] = (value.item(), new.grad)
    assert found["actor_losses:copied"][0] == pytest.approx(found["ppo_clip"][0], abs=1e-7)
    assert torch.allclose(found["actor_losses:copied"][1], found["ppo_clip"][1], atol=1e-7)
    assert abs(found["actor_losses:unclipped"][0] - found["ppo_clip"][0]) > 1e-3


@pytest.mark.parametrize(
    ("name", "estimator"), [("group_norm", "group_norm"), ("mean_only", "dr_grpo"), ("rloo", "rloo")]
)
def test_our_advantages_are_theirs(theirs: Any, name: Any, estimator: str) -> None:
    from types import SimpleNamespace as N

    from openrlhf.trainer.ppo_utils import Experience, FixedKLController
    from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker

    rewards = [1.0, 0.0, 0.0, 1.0, 0.3, 1.0, 1.0, 0.9]
    args = N(
        algo=N(advantage=N(estimator=estimator, gamma=1.0, lambd=1.0, no_std_norm=False), kl=N(use_loss=True)),
        rollout=N(n_samples_per_prompt=4, micro_batch_size=4, max_new_tokens=16),
        data=N(max_len=48),
        reward=N(overlong_buffer_len=None, overlong_penalty_factor=1.0, stop_properly_penalty_coef=None, clip_range=(-10, 10)),
        train=N(dynamic_batch_enable=False),
    )  # fmt: skip
    maker = RemoteExperienceMaker(None, None, None, None, FixedKLController(0.0), N(args=args), N(pad_token_id=0))
    made = []
    for r in rewards:
        mask = torch.zeros(1, 5, dtype=torch.long)
        mask[0, 2:] = 1
        made.append(Experience(sequences=torch.arange(6)[None], attention_mask=torch.ones(1, 6, dtype=torch.long), action_mask=mask, rewards=torch.tensor([r]), scores=torch.tensor([r]), prompts=["p"], labels=["l"], response_length=torch.tensor([3]), truncated=torch.tensor([False]), total_length=torch.tensor([6.0]), info={"reward": torch.tensor([r])}))  # fmt: skip
    experiences = maker.split_rollout_samples(made)
    for e in experiences:
        e.kl = torch.zeros_like(e.action_mask, dtype=torch.float32)
        e.action_log_probs = e.kl.clone()
    found = [x for e in maker.compute_advantages_and_returns(experiences) for x in e.advantages[:, -1].tolist()]
    ours = [a for g in (rewards[:4], rewards[4:]) for a in advantages(name, g)]
    assert ours == pytest.approx(found, abs=1e-5)


def test_our_overlong_term_is_their_penalty(theirs: Any) -> None:
    from types import SimpleNamespace as N

    lengths = [1, 5, 6, 7, 8, 9, 10]
    experience = N(
        rewards=torch.ones(7), response_length=torch.tensor(lengths), info={}, truncated=None,
        action_mask=torch.ones(7, 10), sequences=torch.ones(7, 12),
    )  # fmt: skip
    theirs[2].apply_overlong_penalty([experience], 10, 4.0, 0.5)
    level = LevelSpec(quality_threshold=1.0, max_response_tokens=10, overlong_tokens=4)
    ours = [1.0 + 0.5 * t for t in soft_overlong([True] * 7, lengths, level)]
    assert experience.rewards.tolist() == pytest.approx(ours)


@with_openrlhf
def test_the_real_parser_takes_every_flag_of_every_preset_and_names_what_it_does_not_take() -> None:
    """In one process: OpenRLHF's imports take longer than all the parsing. The flags are the GPU's, its stand-ins' not."""
    taken = [flags(compose_spec([preset]), "policy", "run") for preset in PRESETS]
    for more in (
        ["algorithm.kl_coef=0.1"],
        ["algorithm.aggregation=sequence_mean", "algorithm.advantage=rloo", "algorithm.objective=gspo"],
        ["algorithm.is_correction=tis", "algorithm.entropy_coef=0.01"],
        ["algorithm.is_correction=icepop"],
    ):
        taken.append(flags(compose_spec(["backend=openrlhf_cpu", *more]), "policy", "run"))
    known = taken[PRESETS.index("backend=openrlhf_cpu")]
    gone = (*known, ("--actor.adam.learning_rate", "1"))
    bad = tuple(("--ds.zero_stage", "two") if f[0] == "--ds.zero_stage" else f for f in known)
    flag_check.ask([(tuple(emitted), True) for emitted in (*taken, gone, bad)])
    for emitted in taken:
        flag_check.check(tuple(emitted), True)
    with pytest.raises(UserError, match=r"no flag --actor.adam.learning_rate"):
        flag_check.check(gone, True)
    with pytest.raises(UserError, match=r"OpenRLHF refuses its flags: argument --ds.zero_stage: invalid int value"):
        flag_check.check(bad, True)


def test_the_parser_is_asked_once_and_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[tuple[Flag, ...]]] = []

    def answered(asked: Sequence[tuple[Flag, ...]], rehearsal: bool) -> list[str]:
        started.append(list(asked))
        return [f"no {emitted[0][0]}" if "bad" in emitted[0][0] else "" for emitted in asked]

    monkeypatch.setattr(flag_check, "_answered", answered)
    monkeypatch.setattr(flag_check, "_answers", {})
    good, other, bad = (("--good", "1"),), (("--other", "1"),), (("--bad", "1"),)
    flag_check.ask([(good, True), (bad, True), (other, True), (good, True)])
    flag_check.check(good, True)
    flag_check.check(other, True)
    with pytest.raises(UserError, match="no --bad"):
        flag_check.check(bad, True)
    assert started == [[good, bad, other]]
    flag_check.check(good, False)  # what a rehearsal's parser takes, a GPU's may not
    assert started == [[good, bad, other], [good]]


@with_openrlhf
def test_the_dry_run_prints_and_starts_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "eprli_lab.run", "backend=openrlhf_cpu", "backend.dry_run=true"]
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "flags accepted by its parser; nothing was started" in done.stdout
    assert not list(tmp_path.iterdir())
    two_arms = ["sweep=levels", "preset=smoke", "study.only=[l2]"]
    sweep = [*command, "-m", *two_arms]
    done = subprocess.run(sweep, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nothing was started") == 2 and not list(tmp_path.iterdir())


def test_the_published_difficulties_count_to_a_hundred(tmp_path: Path) -> None:
    from eprli_lab.data.load import read_training

    file = tmp_path / "d.jsonl"
    rows = [{"problem": f"{d}?", "answer": "2", "difficulty": d} for d in (0.0, 37.5, 100.0)]
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    spec = compose_spec(
        ["data=deepscaler", f"data.source.path={file}", "evaluation=paper", "model=path", "model.path=x"]
    )
    assert [p.difficulty for p in read_training(spec.data)] == [0.0, 0.375, 1.0]
    file.write_text(json.dumps({"problem": "1+1?", "answer": "2", "difficulty": 101}) + "\n")
    with pytest.raises(UserError, match=r"a difficulty in \[0, 100\] is needed, not 101"):
        read_training(spec.data)


def test_the_words_of_an_actor_that_could_not_start() -> None:
    from eprli_lab.backends.openrlhf.ray_errors import creation_error

    trace = [
        "The actor died because of an error raised in its creation task, ray::Rollout.__init__() (pid=1)",
        'File "vllm_engine.py", line 62, in __init__',
        "engine_args = vllm.AsyncEngineArgs(*args)",
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
        "Value error, max_model_len (4076) is greater than 256",
        "For further information visit https://errors",
    ]
    assert creation_error(trace) == (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig "
        "Value error, max_model_len (4076) is greater than 256"
    )
    assert creation_error([*trace, "RuntimeError: engine core died"]) == "RuntimeError: engine core died"
    assert creation_error(["The actor died", "killed"]) == "killed"
