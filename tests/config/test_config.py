"""Every YAML of the repository composes and validates; what is wrong is refused in one sentence, fast."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO
from helpers import small_spec

from eprli_lab.config.compose import compose_spec
from eprli_lab.config.parse import parse_spec
from eprli_lab.config.spec import flatten
from eprli_lab.errors import UserError

MEASURED = ["gsm8k", "verl_gsm8k", "verl_math", "dapo_17k", "numina_math", "openr1_math", "open_reasoner_zero"]
GROUPS = {
    "curriculum": ["l1", "l2", "l3", "l4", "l2_tight", "l3_tight", "paper_l1", "paper_l2", "short_l1", "short_l2"],
    "model": [
        "mod10",
        "mod10_xs",
        "mod10_m",
        "mod10_l",
        "int",
        "program",
        "code",
        "rg_small",
        "ladder",
        "ladder_half",
        "interference",
        "path",
    ],
    "data": [
        "mod10",
        "int",
        "program",
        "code",
        "interference",
        "jsonl",
        "rl_parquet",
        "deepscaler",
        *MEASURED,
        "big_math",
    ],
    "evaluation": [
        "heldout",
        "heldout_long",
        "rungs",
        "conventions",
        "file",
        "benchmarks",
        "math500",
        "paper",
        "humaneval",
        "rg_small",
    ],
    "backend": ["local", "openrlhf", "openrlhf_cpu"],
    "experiment": ["one_gpu", "one_gpu_24gb", "one_gpu_lora", "eprli_1p5b", "eprli_4b", "eprli_7b", "eprli_mimo_7b"],
    "tracking": ["sqlite", "server"],
    "preset": ["smoke", "default", "full"],
}
NEEDS = {  # what a user must give, for files that say ???
    "data=jsonl": ["data.source.path=x.jsonl", "data.difficulty_file=d.jsonl", "evaluation=benchmarks"],
    "data=rl_parquet": ["data.source.path=x.parquet", "data.difficulty_file=d.jsonl", "evaluation=benchmarks"],
    "data=deepscaler": ["evaluation=paper"],
    "data=big_math": ["evaluation=paper"],
    **{f"data={name}": ["evaluation=paper", "data.difficulty_file=d.jsonl"] for name in MEASURED},
    "model=path": ["model.path=somewhere"],
    "evaluation=file": ["evaluation.suites.test.source.path=x.jsonl"],
    "tracking=server": ["tracking.uri=http://127.0.0.1:5000"],
}
NEEDS["data=open_reasoner_zero"].append("data.source.path=orz.json")
PATHS = [f"evaluation.suites.{s}.source.path=x.jsonl" for s in ("aime24", "amc23", "math500")]


def run(*arguments: str, cwd: Path, check: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "eprli_lab.run", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=check,
        env={**os.environ, "PYTHONPATH": str(REPO)},
        timeout=300,
    )


def test_the_list_of_files_is_complete():
    here = {f"{p.parent.name}={p.stem}" for p in (REPO / "conf").glob("*/*.yaml") if p.name != "base.yaml"}
    assert here == {f"{g}={n}" for g, names in GROUPS.items() for n in names}


@pytest.mark.parametrize("choice", [f"{g}={n}" for g, names in GROUPS.items() for n in names])
def test_every_file_composes_and_validates(choice):
    more = NEEDS.get(choice, [])
    if choice == "evaluation=benchmarks" or "evaluation=benchmarks" in more:
        more = [*more, *PATHS]
    assert compose_spec([choice, *more]).seed == 0


SWEEPS = sorted(p.stem for p in (REPO / "sweeps").glob("*.yaml"))
QUICK = ("levels", "thresholds", "aa", "smoke")


@pytest.mark.parametrize(
    ("sweep", "preset"),
    [
        *((sweep, "smoke") for sweep in QUICK),  # every other one too: tests/cli/test_sweeps_command.py
        *((sweep, "default") for sweep in QUICK),
        *(pytest.param(s, "default", marks=pytest.mark.exhaustive) for s in SWEEPS if s not in QUICK),
        *(pytest.param(s, "full", marks=pytest.mark.exhaustive) for s in SWEEPS),
    ],
)
@pytest.mark.slow
def test_every_sweep_composes_under_every_preset(sweep, preset):
    from plans import plan_of

    plan = plan_of(f"sweep={sweep}", f"preset={preset}")
    assert len(plan.runs) == len(plan.arms) * len(plan.spec.seeds)


def test_level_files_hold_only_their_deltas():
    for n in range(1, 5):
        levels = compose_spec([f"curriculum=l{n}"]).curriculum.levels
        assert list(levels) == [f"l{i}" for i in range(1, n + 1)]
        assert list(levels.values())[-1].quality_threshold == 1.0


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["curriculum.levels.l1.quality_threshold=1.0", "curriculum.levels.l2.quality_threshold=0.5"], "must increase"),
        (["curriculum.levels.l1.clip.low=1.5"], "curriculum.levels.l1.clip.low: input should be less than 1, not 1.5"),
        (
            ["curriculum.levels.l1.group_size=1"],
            "curriculum.levels.l1.group_size: input should be greater than or equal to 2",
        ),
        (["budget.amount=-5"], "budget.amount: input should be greater than 0, not -5"),
        (["budget.amount=10.5"], "budget: amount must be a whole number of tokens, not 10.5"),
        (["+curriculum.levels.l1.clip.hihg=0.3"], "curriculum.levels.l1.clip.hihg: unknown key (did you mean 'high'?)"),
        (["curriculum.levels.l1.clip.hihg=0.3"], "unknown key (did you mean 'high'?)"),
        (["curriculum.levels.l9.clip.high=0.3"], "curriculum.levels.l9.clip.high: unknown key"),
        (["tracking.uri=mlflow"], "'mlflow' is no tracking URI"),
        (["curriculum.levels.l1.length_coef=0.5"], "length_coef is positive but length_term is 'none'"),
        (["curriculum.levels.l1.admission.accuracy_min=0.99"], "accuracy_min 0.99 is above accuracy_max 0.875"),
        (
            ["algorithm.advantage=gruop_norm"],
            "algorithm.advantage: 'gruop_norm' is no advantage (did you mean 'group_norm'?), and no package.module:function",
        ),
        (
            ["curriculum.weights=own"],
            "curriculum.weights: input should be 'shared', 'separate' or 'snapshot', not 'own'",
        ),
        (
            ["curriculum.weights=per_level"],
            "curriculum.weights: 'per_level' is now called 'snapshot' (one network; its state at a level's end answers that "
            "level's problems later): take that, or 'separate' for a network of its own at each level",
        ),
        (["curriculum.weights=separate", "curriculum.schedule=mixed"], "needs levels one after another"),
        (["curriculum.selection=ramp"], "curriculum.selection: 'ramp' was a simplification of GanitLLM's curriculum"),
        (
            ["data.difficulty_by=prompt_length", "data.difficulty_file=x"],
            "data: difficulty_by is 'prompt_length', so difficulty_file would not be read",
        ),
        (
            ["curriculum.selection=near"],
            "curriculum.selection: 'near' is no problem sampler (did you mean 'snr'?), and no package.module:function",
        ),
        (["data.label_noise=1.5"], "data.label_noise: input should be less than or equal to 1"),
        (["preset=smok"], "preset=smok: there is no such preset (did you mean 'smoke'?)"),
        (["data=jsonl"], "data.source.path"),
        (["model.path=somewhere"], "give either path"),
    ],
)
def test_bad_configs_are_refused_in_one_sentence(overrides, sentence):
    with pytest.raises(UserError) as error:
        compose_spec(overrides)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_is_repaired_and_nothing_is_mutable():
    spec = small_spec()
    with pytest.raises(Exception, match="frozen"):
        spec.seed = 3
    tree = spec.model_dump(mode="json")
    assert parse_spec(tree) == spec
    with pytest.raises(UserError, match=r"seed: .*valid integer"):
        parse_spec({**tree, "seed": "3"})


def test_fingerprint_follows_what_determines_the_numbers():
    base = small_spec()
    assert small_spec().fingerprint() == base.fingerprint()
    assert small_spec("tracking.uri=sqlite:///other.db").fingerprint() == base.fingerprint()
    assert base.model_copy(update={"study": "s", "arm": "a"}).fingerprint() == base.fingerprint()
    for change in ("seed=1", "replicate=1", "curriculum.levels.l2.clip.high=0.2718", "budget.amount=61000"):
        assert small_spec(change).fingerprint() != base.fingerprint()


def test_a_replicate_has_other_luck_at_the_same_seed():
    assert [small_spec(f"seed={s}").rng_seed for s in (0, 7)] == [0, 7]
    assert (
        small_spec("seed=3", "replicate=2").rng_seed
        == small_spec().model_copy(update={"seed": 3, "replicate": 2}).rng_seed
    )
    base = small_spec()
    drawn = {
        (s, r): base.model_copy(update={"seed": s, "replicate": r}).rng_seed for s in range(20) for r in range(1, 6)
    }
    assert len(set(drawn.values())) == 100 and all(100 < rng_seed < 2**31 for rng_seed in drawn.values())
    assert drawn[0, 1] == int(hashlib.sha256(b"0/1").hexdigest()[:8], 16) // 2
    with pytest.raises(UserError, match="replicate: input should be greater than or equal to 0, not -1"):
        small_spec("replicate=-1")


def test_flat_has_the_dotted_paths():
    flat = small_spec("curriculum.levels.l2.clip.high=0.2718").flat()
    assert flat["curriculum.levels.l2.clip.high"] == 0.2718
    assert flatten({"a": {"b": 1, "c": [1, 2]}, "d": {}}) == {"a.b": 1, "a.c": [1, 2], "d": {}}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-m", "sweep=levls"], "sweep=levls: there is no such sweep (did you mean 'levels'?)"),
        (["sweep=levels"], "add -m to the command line"),
        pytest.param(
            ["-m", "sweep=levels", "study.only=[l5]"], "study.only: there is no arm 'l5'", marks=pytest.mark.exhaustive
        ),
        pytest.param(["-m", "sweep=levels", "study.seeds=[0,0]"], "names a seed twice", marks=pytest.mark.exhaustive),
        pytest.param(
            ["-m", "sweep=levels", "curriculum.levels.l7.group_size=4"],
            "no arm has a level 'l7'",
            marks=pytest.mark.exhaustive,
        ),
        (["curriculum.levels.l1.quality_threshold=0.1"], "the stratum of l1 is empty"),
        (
            ["data=jsonl", "data.source.path=nowhere.jsonl", "data.difficulty_file=x", "evaluation=benchmarks", *PATHS],
            "data.source.path: there is no file nowhere.jsonl",
        ),
        pytest.param(
            ["data=jsonl", "data.source.path=x.jsonl", "data.difficulty_file=x"],
            "name suites of your own",
            marks=pytest.mark.exhaustive,
        ),
        (
            ["-m", "sweep=levels", "curriculum.levels.l3.clip.low=7"],
            "arm l3: curriculum.levels.l3.clip.low: input should",
        ),
        pytest.param(
            ["model=path", "model.path=/nowhere/model"],
            "model.path: /nowhere/model holds no checkpoint",
            marks=pytest.mark.exhaustive,
        ),
        (["objective=scroe"], "objective: no run logs 'scroe' (did you mean 'score'?)"),
        pytest.param(["seed=x"], "seed: input should be a valid integer", marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.slow
def test_the_command_line_refuses_with_exit_code_2(arguments, sentence, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert done.stderr.startswith("eprli_lab: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []  # nothing started


@pytest.mark.slow
def test_a_directory_that_cannot_be_written_is_refused(tmp_path):
    readonly = Path("/sys/kernel")
    if not readonly.is_dir() or (
        (os.statvfs(readonly).f_flag & os.ST_RDONLY) == 0 and os.access(readonly, os.W_OK) and os.getuid()
    ):
        pytest.skip("no read-only directory here")
    done = run(cwd=readonly)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_heavy_imports_are_lazy(tmp_path):
    code = (
        "import sys, eprli_lab.run, eprli_lab.config.parse, eprli_lab.training.metrics, eprli_lab.tracking.run, eprli_lab.tracking.read, eprli_lab.cli.report;"
        "print([m for m in ('torch','transformers','mlflow','optuna','datasets','pandas','matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO, check=True)
    assert done.stdout.strip() == "[]"


# --- prompts


def test_prompts_at_their_defaults_are_no_part_of_a_spec() -> None:
    """They came later: fingerprints, params and directories of runs that do not set them stay."""
    spec = compose_spec([])
    dumped = spec.model_dump(mode="json")
    assert "prompts" not in dumped and "max_prompt_tokens" not in dumped["data"]
    assert all("prompts" not in level for level in dumped["curriculum"]["levels"].values())
    changed = ["prompts.suffix=x", "prompts.template=none", "data.max_prompt_tokens=9"]
    changed += ["curriculum.levels.l1.prompts.suffix=x", "prompts.arguments={enable_thinking: false}"]
    fingerprints = {compose_spec([c]).fingerprint() for c in changed}
    assert len(fingerprints) == 5 and spec.fingerprint() not in fingerprints
    assert compose_spec(["curriculum.levels.l1.prompts.suffix=x"]).flat()["curriculum.levels.l1.prompts.suffix"] == "x"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["prompts.template=none", "prompts.system=x"], "prompts: system needs a chat template"),
        (["prompts.template=none", "prompts.arguments={a: 1}"], "prompts: arguments needs a chat template"),
        (["prompts.template=none", "curriculum.levels.l2.prompts.system=x"], "curriculum.levels.l2.prompts.system needs a chat template"),
        (["prompts.template=chatml"], "prompts.template: input should be 'auto' or 'none', not 'chatml'"),
        (["prompts.arguments={messages: 1}"], "prompts.arguments: 'messages' is no argument of a template"),
        (["prompts.date='1 May'"], "prompts.date: '1 May' is no date: write YYYY-MM-DD"),
        (["prompts.suffix=1"], "prompts.suffix: input should be a valid string, not 1"),
        (["+prompts.sufix=x"], "prompts.sufix: unknown key (did you mean 'suffix'?)"),
        (["data.max_prompt_tokens=0"], "data.max_prompt_tokens: input should be greater than or equal to 1, not 0"),
        (["data=jsonl", "data.source.path=x", "data.source.columns.difficulty=d", "data.source.prompt_template=Hi", "model=path", "model.path=x", "evaluation=paper"], "data.source: prompt_template does not hold {prompt}"),
    ],
)  # fmt: skip
def test_prompts_that_cannot_be_obeyed_are_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        compose_spec(overrides)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_text_that_looks_like_a_number_stays_one():
    """A planned fingerprint of digits and one e was read as a number, once in some hundred studies."""
    tree = compose_spec([]).model_dump(mode="json") | {"planned": "253015577e07", "study": "1e5", "arm": "2e3"}
    spec = parse_spec(tree)
    assert (spec.planned, spec.study, spec.arm) == ("253015577e07", "1e5", "2e3")
    tree["optim"]["learning_rate"] = "1e-4"
    assert parse_spec(tree).optim.learning_rate == 1e-4
