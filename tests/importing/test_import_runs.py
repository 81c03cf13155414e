"""A log becomes a run: our names where the meaning is equal, the score that was asked for, what is missing said."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from conftest import REPO

from eprli_lab.errors import UserError
from eprli_lab.importing.dialects import OPENRLHF, TRL, VERL, beside, dialect_of, evaluations, renamed
from eprli_lab.importing.runs import ImportedRun, read_run, read_score_runs, with_settings
from eprli_lab.importing.settings import read_settings
from eprli_lab.reporting.imported import PAIRED, import_notes
from eprli_lab.tracking import names
from eprli_lab.tracking.imported import TAG, ImportRecord, record_of
from eprli_lab.training.metrics import in_catalogue

LOGS = REPO / "tests" / "data_samples" / "foreign"


def lines(path: Path, *rows: dict[str, float]) -> Path:
    """JSON lines as verl's file logger writes them; a row's step is its place."""
    path.write_text("".join(json.dumps({"step": i, "data": row}) + "\n" for i, row in enumerate(rows)))
    return path


def refused(*arguments: object, **options: object) -> str:
    with pytest.raises(UserError) as error:
        read_run(*arguments, **options)  # type: ignore[arg-type]
    return str(error.value)


def test_every_name_of_ours_is_in_the_catalogue():
    for mapping in (TRL, VERL, OPENRLHF):
        assert all(map(in_catalogue, mapping))


def test_a_real_run_of_trl():
    run = read_run("trl", [LOGS / "trl" / "seed0"], "grpo", 0)
    rows = json.loads((LOGS / "trl/seed0/trainer_state.json").read_text())["log_history"]
    of = {row["step"]: row for row in rows if "reward" in row}
    ours = {
        "train/whole/all/reward/mean": "reward", "train/whole/all/response_tokens/mean": "completions/mean_length",
        "train/whole/all/truncation_rate": "completions/clipped_ratio", "policy/whole/entropy": "entropy",
        "optim/lr": "learning_rate", "optim/grad_norm": "grad_norm", "time/step": "step_time",
    }  # fmt: skip
    for metric, key in ours.items():
        assert run.metrics[metric] == {step: row[key] for step, row in of.items()}, metric
    assert run.metrics["imported/num_tokens"][16] == of[16]["num_tokens"]  # prompts count there, so it is not ours
    assert names.TOKENS not in run.metrics and run.metrics[names.UPDATES][16] == 16.0
    assert run.metrics["imported/clip_ratio/low_mean"][16] == 0.0
    evaluated = {row["step"]: row for row in rows if "eval_reward" in row}
    assert run.metrics[names.SCORE] == {step: row["eval_reward"] for step, row in evaluated.items()}
    assert run.metrics[names.accuracy("eval")] == run.metrics[names.SCORE]
    lengths = {step: row["eval_completions/mean_length"] for step, row in evaluated.items()}
    assert run.metrics[names.evaluation("eval", "response_tokens")] == lengths
    assert run.record.score == "eval_reward" and run.record.suites == {"eval": "eval_reward"}
    assert run.record.absent == (
        "generated tokens", "clip fractions by the advantage's sign", "which groups were admitted",
        "outcomes of single problems", "the configuration",
    )  # fmt: skip
    assert run.record.notes == ("the score is a mean reward: an accuracy only where the reward is 0 or 1",)
    assert all(not name.startswith("imported/") or name[9:] for name in run.metrics)


def test_a_real_run_of_openrlhf():
    run = read_run("openrlhf", [LOGS / "openrlhf" / "seed0"], "openrlhf", 0)
    assert run.record.suites == {"heldout": "eval/eval_heldout_pass1"} and run.ends()[1] == 0.640625
    assert math.isnan(run.ends()[0]) and sorted(run.metrics[names.SCORE]) == [4, 8, 12, 16]
    assert run.metrics[names.evaluation("heldout", "pass_at_k")][16] == 0.828125
    assert run.metrics[names.evaluation("heldout", "response_tokens")][16] == pytest.approx(12.2109375)
    assert run.metrics["train/whole/all/reward/mean"][16] == 0.640625
    assert run.metrics["policy/whole/entropy"][16] == pytest.approx(0.1995, abs=1e-4)
    assert run.metrics["optim/grad_norm"][16] == pytest.approx(1.0369, abs=1e-4)
    assert run.metrics["optim/lr"][16] == pytest.approx(1e-3) and "imported/train/ppo_clip_ratio" in run.metrics
    assert run.record.notes == ("the score is a mean reward: an accuracy only where the reward is 0 or 1",)


def test_verl(tmp_path):
    rows = [
        {"val-core/openai/gsm8k/acc/mean@4": 0.25, "val-core/math/acc/mean@4": 0.5, "val-aux/math/reward/mean@4": 0.5},
        {"actor/entropy": 0.75, "critic/rewards/mean": 0.5, "response_length/clip_ratio": 0.125, "actor/ppo_kl": 0.01},
        {"val-core/openai/gsm8k/acc/mean@4": 0.5, "val-core/math/acc/mean@4": 0.625},
    ]
    run = read_run("verl", [lines(tmp_path / "m.jsonl", *rows)], "dapo", 3)
    assert run.metrics[names.accuracy("openai_gsm8k")] == {0: 0.25, 2: 0.5}
    assert run.metrics[names.SCORE] == {0: 0.375, 2: 0.5625} and run.ends() == (0.375, 0.5625)
    assert run.metrics["policy/whole/entropy"] == {1: 0.75}
    assert run.metrics["train/whole/all/reward/mean"] == {1: 0.5}
    assert run.metrics["train/whole/all/truncation_rate"] == {1: 0.125}
    assert run.metrics["imported/actor/ppo_kl"] == {1: 0.01}
    assert run.metrics["imported/val-aux/math/reward/mean_at_4"] == {0: 0.5}
    assert run.record.score == "mean over suites"
    filtered = rows[1] | {"train/num_gen_batches": 2.0}
    run = read_run("verl", [lines(tmp_path / "f.jsonl", *rows, filtered)], "dapo", 3)
    assert run.metrics["train/whole/admitted/reward/mean"] == {1: 0.5, 3: 0.5}  # those that the filter kept


def test_openrlhf_keys():
    keys = ["eval/eval_math_pass1", "eval/eval_math_pass4", "eval/eval_math_response_length_mean", "train/reward",
            "eval/eval_math_truncated_rate", "train/rollout/reward_mean", "train/kl"]  # fmt: skip
    assert evaluations("openrlhf", keys) == {"math": "eval/eval_math_pass1"}
    assert renamed("openrlhf", keys) == {"train/rollout/reward_mean": "train/whole/all/reward/mean"}
    assert beside("openrlhf", "eval/eval_math_pass1", keys) == {
        "response_tokens": "eval/eval_math_response_length_mean", "truncation_rate": "eval/eval_math_truncated_rate",
        "pass_at_k": "eval/eval_math_pass4",
    }  # fmt: skip


def test_the_names_of_trl_in_wandb():
    keys = ["train/reward", "train/entropy", "eval/reward", "eval/completions/mean_length", "train/loss"]
    assert dialect_of("wandb-export", keys) == "trl" and dialect_of("verl", keys) == "verl"
    assert evaluations("trl", keys) == {"eval": "eval/reward"}
    assert renamed("trl", keys)["train/entropy"] == "policy/whole/entropy"
    assert beside("trl", "eval/reward", keys) == {"response_tokens": "eval/completions/mean_length"}
    assert evaluations("trl", ["eval_math_reward", "eval_gsm_reward", "eval_rewards/f/mean"]) == {
        "gsm": "eval_gsm_reward", "math": "eval_math_reward",
    }  # fmt: skip
    assert dialect_of("wandb-export", ["actor/entropy", "val-core/m/acc/mean@1"]) == "verl"
    assert dialect_of("wandb-export", ["train/actor_lr", "eval/eval_m_pass1"]) == "openrlhf"


def test_a_score_is_named_where_the_log_has_no_evaluation(tmp_path):
    file = lines(tmp_path / "m.jsonl", {"actor/entropy": 0.5, "critic/rewards/mean": 0.25})
    sentence = refused("verl", [file], "a", 0)
    assert "has no evaluation that could be the score" in sentence and "actor/entropy, critic/rewards/mean" in sentence
    run = read_run("verl", [file], "a", 0, score="critic/rewards/mean")
    assert run.metrics[names.SCORE] == {0: 0.25} and not run.record.suites
    assert "may have been measured on problems that were trained on" in run.record.notes[0]
    assert "accuracies by suite" in run.record.absent
    assert "(did you mean 'critic/rewards/mean'?)" in refused("verl", [file], "a", 0, score="critic/reward/mean")
    assert "it has actor/entropy, critic/rewards/mean" in refused("verl", [file], "a", 0, suites={"x": "zzz"})
    assert "is no name" in refused("verl", [file], "a", 0, suites={"a/b": "actor/entropy"})
    assert "is no name" in refused("verl", [file], "a b", 0)


def test_a_score_is_a_finite_number(tmp_path):
    key = "val-core/m/acc/mean@1"
    assert "is nan at step 1" in refused("verl", [lines(tmp_path / "m.jsonl", {key: 0.5}, {key: math.nan})], "a", 0)
    apart = [{key: 0.5}, {"val-core/n/acc/mean@1": 0.5}]
    assert "were never evaluated at the same step" in refused("verl", [lines(tmp_path / "n.jsonl", *apart)], "a", 0)
    percent = read_run("verl", [lines(tmp_path / "p.jsonl", {key: 25.0})], "a", 0)
    assert "scores from 25 to 25 are no fractions" in percent.record.notes[0]
    two = {key: 0.5, "actor/x@y": 1.0, "actor/x_at_y": 1.0}
    assert "two keys would be the metric imported/actor/x_at_y" in refused("verl", [lines(tmp_path / "k", two)], "a", 0)


def scores(path: Path, text: str, arm: str | None = None, seed: int | None = None) -> list[ImportedRun]:
    path.write_text(text)
    return read_score_runs(path, arm, seed)


def test_a_table_of_scores(tmp_path):
    text = "arm,seed,suite,score\na,0,x,0.5\na,0,y,0.25\na,1,x,0.5\na,1,y,0.75\n"
    runs = scores(tmp_path / "s.csv", text)
    assert [(run.arm, run.seed, run.metrics[names.SCORE]) for run in runs] == [
        ("a", 0, {1: 0.375}),
        ("a", 1, {1: 0.625}),
    ]
    assert names.UPDATES not in runs[0].metrics and math.isnan(runs[0].ends()[0])
    assert {"the score before training", "updates"} <= set(runs[0].record.absent)
    assert scores(tmp_path / "t.csv", "score,step\n0.25,0\n0.5,9\n", "b", 7)[0].metrics == {
        names.SCORE: {0: 0.25, 9: 0.5}, names.UPDATES: {0: 0.0, 9: 9.0},
    }  # fmt: skip


FAULTS = [
    ("arm,seed,suite,score\na,0,x,nan\n", None, None, "score=nan is no finite number"),
    ("arm,seed,suite,score\na,0,x,1\na,0,x,1\n", None, None, ":3: a seed 0 has this score twice"),
    ("arm,seed,suite,score\na,0,x,1\na,1,y,1\n", None, None, "a seed 0 has no score of suite y"),
    ("seed,score\n0,1\n", None, None, "the file has no column arm: say it with --arm"),
    ("arm,seed,score\na,0,1\na,1,1\n", None, 0, ":3: seed=1, and --seed 0 was given"),
    ("arm,seed,score\na b,0,1\n", None, None, "is no name"),
    ("arm,seed,suite,score\na,0,x/y,1\n", None, None, "is no name"),
]


@pytest.mark.parametrize(("text", "arm", "seed", "sentence"), FAULTS)
def test_faults_of_a_table_of_scores(tmp_path, text, arm, seed, sentence):
    with pytest.raises(UserError) as error:
        scores(tmp_path / "s.csv", text, arm, seed)
    assert sentence in str(error.value)


def test_names_that_mlflow_takes():
    assert names.imported("val-core/a@b/mean@8") == "imported/val-core/a_at_b/mean_at_8"
    assert names.imported("/x//../y?(z)/") == "imported/x/y__z_"


def test_what_a_report_says():
    base = {"source": "trl", "files": {"f": "0"}, "score": "eval_reward", "suites": {"eval": "eval_reward"}}
    first = ImportRecord(**base, absent=("updates", "the configuration"), notes=("f: was cut",))
    second = first.model_copy(update={"notes": ()})
    tags = [{TAG: record.model_dump_json()} for record in (first, second)]
    notes = import_notes([("a", 0, tags[0]), ("b", 1, tags[1]), ("ours", 0, {})])
    assert notes == [
        "a, b: imported from TRL, which logged nothing of updates and the configuration: what is made of these is left "
        "out or shown as -",
        "a, b: the score is eval_reward",
        "a seed 0: f: was cut",
        PAIRED,
    ]
    assert import_notes([("ours", 0, {})]) == [] and record_of({TAG: "{}"}) is None


def test_a_configuration_that_the_user_names(tmp_path):
    def read(text: str) -> dict[str, str]:
        file = tmp_path / "config"
        file.write_text(text)
        return read_settings(file)

    assert read('{"lr": 1e-6, "trainer": {"kind": "grpo", "tags": [1, 2]}}') == {
        "config.lr": "1e-06", "config.trainer.kind": "grpo", "config.trainer.tags": "[1, 2]",
    }  # fmt: skip
    assert read("beta: {desc: null, value: 0.1}\na:\n  b: ${c}\n") == {"config.beta": "0.1", "config.a.b": "${c}"}
    assert read('{"wandb_api_key": "abcdefgh12345678"}')["config.wandb_api_key"] != "abcdefgh12345678"
    for text, sentence in (
        ("", "is empty"),
        ("[1]", "holds no keys"),
        ("{", "is neither"),
        ("a: [", "is n"),
        ("5", ""),
    ):
        with pytest.raises(UserError) as error:
            read(text)
        assert sentence in str(error.value)
    run = with_settings(read_run("trl", [LOGS / "trl" / "seed0"], "a", 0), {"config.lr": "1"})
    assert run.params == {"config.lr": "1"} and "the configuration" not in run.record.absent
