"""Command lines as nobody should type them: every key of the composed config with values of every kind."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from hostile import typed
from hypothesis import strategies as st

from eprli_lab.cli.words import config_groups, sweep_names
from eprli_lab.config.backend import OpenRLHFSpec
from eprli_lab.config.compose import compose_spec
from eprli_lab.config.data import LoraSpec, SourceSpec
from eprli_lab.config.spec import flatten
from eprli_lab.sweeping.space import SearchSpec
from eprli_lab.sweeping.spec import StudySpec

FILES = {  # of the directory in which commands are tried
    "rows.jsonl": '{"id": "a", "problem": "1+1?", "answer": "2", "difficulty": 0.3}\n'
    '{"id": "b", "problem": "2+2?", "answer": "4", "difficulty": 0.9}\n',
    "mine.py": "def reward(problem, responses, correct, level):\n    return [float(c) for c in correct]\n",
    "broken.py": "def x(:\n",
    "ends.py": "raise SystemExit(3)\n",
    "sweeps/two.yaml": "# @package _global_\ndefaults:\n  - override /hydra/sweeper: ablation\n"
    "study:\n  name: two\n  question: which?\n  claim: none\n  baseline: l1\n  seeds: [0]\n"
    "  arms:\n    l1:\n      overrides: [curriculum=l1]\n    l2:\n      overrides: [curriculum=l2]\n",
    "sweeps/searched.yaml": "# @package _global_\ndefaults:\n  - override /hydra/sweeper: ablation\n"
    "study:\n  name: searched\n  question: which?\n  claim: none\n  baseline: l2\n  seeds: [0]\n"
    "  arms:\n    l2:\n      overrides: [curriculum=l2]\n"
    "  search:\n    space:\n      optim.learning_rate: tag(log, interval(1e-4, 1e-3))\n"
    "      algorithm.temperature: choice(0.5, 1.0)\n",
}
COMMANDS = ("data", "difficulty", "warmstart", "report", "table", "check", "status", "sweeps", "doctor", "upload", "calibrate")  # fmt: skip
OWN_KEYS = (
    *("k", "out", "limit", "preset", "only", "sweep", "study", "baseline", "margin", "formats", "format", "columns"),
    *("compare", "arms", "engine", "openrlhf", "tracking.uri", "tracking.experiment", "study.storage"),
)
BARE = ("levels", "two", "nope", "", "rows.jsonl", "-m", "--engine", "--help", "-h", "--", "--cfg", "job", "--info", "--run", "--multirun", "--resolve",
        "--package", "--nope", "seed", "~seed", "~optim", "~data", "~nope", "~curriculum.levels.l2", "buffer", "sharing", "=", "==", "=x", "+", "~", "+=", "\x00", "é", "a" * 251,
        "--config-name", "--config-name=nope", "--config-dir=nope", "--config-path=nope", "--config-dir=sweeps", "--experimental-rerun=nope", "-c", "--cfg=nope", "--info=nope", "*", "a b")  # fmt: skip
SIGNS = ("", "", "", "", "", "", "+", "++", "~")


def make_files(directory: Path) -> None:
    """The files that some of the words name."""
    for name, content in FILES.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(content)


@cache
def keys() -> tuple[str, ...]:
    """Every key of the composed config and its nodes, of a study, of Hydra's own; wrong ones beside them."""
    flat: dict[str, Any] = compose_spec([]).flat()
    for part, spec in (
        ("backend", OpenRLHFSpec),
        ("data.source", SourceSpec),
        ("model.lora", LoraSpec),
        ("study", StudySpec),
        ("study.search", SearchSpec),
    ):
        flat |= flatten({part: {name: None for name in spec.model_fields}})
    flat |= {
        f"data.source.columns.{n}": None
        for n in (
            "prompt",
            "answer",
            "id",
            "difficulty",
            "difficulty_scale",
            "difficulty_is",
            "solution",
            "answers_mean",
        )
    }
    nodes = {".".join(key.split(".")[: i + 1]) for key in flat for i in range(key.count("."))}
    groups = {group.name for group in config_groups()} | {
        "sweep",
        "curriculum/level",
        "evaluation/suite",
        "hydra/launcher",
        "hydra/sweeper",
        "hydra/job_logging",
    }
    groups |= {"curriculum/level@curriculum.levels.l3", "data@", "@data", "model@data", "sweep@x"}
    hydra = {
        f"hydra.{n}"
        for n in (
            "mode",
            "run.dir",
            "verbose",
            "job.name",
            "job.num",
            "output_subdir",
            "searchpath",
            "launcher.n_jobs",
            "launcher._target_",
            "sweep.dir",
            "job.env_set",
            "callbacks",
            "runtime.output_dir",
            "sweeper._target_",
            "sweeper.max_batch_size",
        )
    }
    wrong = {"sed", "optim.lr", "curriculum.levels.l9.group_size", "a.b.c", "seed.x", "optim.betas.0", "optim.betas[0]", "hydra", "_target_", "data.name.x", "evaluation.suites.é", "curriculum.levels.l2/x",
             ".", "a..b", ".seed", "seed.", "/seed", "model.config.initializer_range", "model.config.vocab_size", "curriculum.levels.*.clip.high", "force", "confirm", "trials", "study.arms.l2.overrides", "study.search.space.seed", "study.search.space.optim.learning_rate"}  # fmt: skip
    return tuple(sorted({*flat, *nodes, *groups, *hydra, *wrong}))


def override() -> st.SearchStrategy[str]:
    """One word: a key of every kind with a value of every kind."""
    sign = st.sampled_from(SIGNS)
    usual = st.builds(lambda s, k, v: f"{s}{k}={v}", sign, st.sampled_from(keys()), typed())
    group = st.builds(
        "{}={}".format,
        st.sampled_from([g.name for g in config_groups()]),
        st.sampled_from([*(n for g in config_groups() for n in g.values()), *sweep_names()]),
    )
    return st.one_of(*[usual] * 8, group, st.sampled_from(BARE))


def run_words() -> st.SearchStrategy[list[str]]:
    """Words of one run."""
    return st.lists(override(), min_size=1, max_size=3).flatmap(_sometimes_twice).map(lambda w: ["run", *w])


def sweep_words() -> st.SearchStrategy[list[str]]:
    """Words of a sweep."""
    name = st.sampled_from(
        (
            "sweep=two",
            "sweep=two",
            "sweep=two",
            "sweep=searched",
            "sweep=searched",
            "sweep=smoke",
            "sweep=nope",
            "sweep=",
            "sweep=null",
            "sweep=two,searched",
            "sweep=[two]",
            "",
        )
    )
    study = st.builds(
        "study.{}={}".format,
        st.sampled_from(
            sorted({*StudySpec.model_fields, *(f"search.{n}" for n in SearchSpec.model_fields), "job", "home"})
        ),
        typed(),
    )
    words = st.lists(override() | study, max_size=3)
    return st.builds(lambda n, w: ["run", "-m", *([n] if n else []), *w], name, words)


def command_words() -> st.SearchStrategy[list[str]]:
    """Words of the smaller commands."""
    own = st.builds("{}={}".format, st.sampled_from(OWN_KEYS), typed())
    words = st.lists(st.one_of(own, own, override(), st.sampled_from(BARE)), max_size=3)
    return st.builds(lambda c, w: [c, *w], st.sampled_from(COMMANDS), words)


def any_words() -> st.SearchStrategy[list[str]]:
    return st.one_of(run_words(), run_words(), sweep_words(), command_words())


def _sometimes_twice(words: list[str]) -> st.SearchStrategy[list[str]]:
    return st.sampled_from((words, words, words, [*words, words[0]]))
