"""The whole run as one validated, frozen, typed tree.

Every range and every cross-field rule lives here. A config is accepted as it stands or refused with one
sentence; nothing is repaired. Imports neither torch nor Hydra.

Symbols are those of the paper (arXiv 2508.01604, section 3.1.2); see docs/algorithm.md for the table.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, field_validator, model_validator

from eprli_lab.config.backend import NOT_IN_FINGERPRINT, LocalSpec, OpenRLHFSpec
from eprli_lab.config.credentials import hide, is_reference, reveal
from eprli_lab.config.curriculum import CurriculumSpec
from eprli_lab.config.data import COLDEST, DataSpec, EvaluationSpec, ModelSpec, SourceSpec
from eprli_lab.config.extensions import (
    FormatName,
    GraderName,
    is_path,
    source_digests,
    source_files,
)
from eprli_lab.config.fields import AsTuple, Fraction, Label, Later, Positive, RunName, Strict
from eprli_lab.config.implicit import ImplicitSpec
from eprli_lab.config.objective import ObjectiveSpec, check_rewards
from eprli_lab.config.prompts import PromptsSpec
from eprli_lab.config.sandbox import SandboxSpec
from eprli_lab.errors import UserError, nearest

SCHEMA_VERSION = 1
STEPPED = ("int", "mod10")  # families whose worked steps can be checked
BY_STEPS = ("dense", "both")  # reward densities that need such steps
MirrorName = Literal["wandb", "tensorboard", "trackio"]


class AlgorithmSpec(ObjectiveSpec):
    """What is the same at every level."""

    constant_tokens: Annotated[int, Field(ge=1)] | None = None  # null: Len_l (Dr. GRPO); 1: the paper's 1/(P*G)
    # dense: each worked step is rewarded; implicit: each token, by a model that learns from outcomes
    reward_density: Literal["outcome", "dense", "both", "implicit"] = "outcome"
    implicit: Annotated[ImplicitSpec, Later(ImplicitSpec())] = ImplicitSpec()  # idles unless reward_density=implicit
    difficulty_weights: Literal["none", "daro"] = "none"  # of the loss, by the group's accuracy (arXiv 2510.09001)
    daro_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1  # step of the log weights an update
    kl_coef: Annotated[float, Field(ge=0.0, le=100.0)] = 0.0
    temperature: Annotated[float, Field(ge=COLDEST, le=2.0)] = 1.0  # what vLLM takes as it is
    # Responses that met their limit. masked: they get no loss, their reward stays in the baseline (DAPO, section 3.4).
    truncated: Annotated[Literal["as_wrong", "masked"], Later("as_wrong")] = "as_wrong"


class OptimSpec(Strict):
    """AdamW."""

    learning_rate: Annotated[float, Field(gt=0.0, lt=1.0)] = 5e-4
    schedule: Literal["constant", "linear"] = "constant"  # over the whole budget, across levels
    warmup_updates: Annotated[int, Field(ge=0)] = 0
    betas: Annotated[tuple[Fraction, Fraction], AsTuple] = (0.9, 0.95)
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0


class BudgetSpec(Strict):
    """Where a run ends; arms are compared at equal generated tokens by default."""

    unit: Literal["tokens", "updates", "seconds"] = "tokens"
    amount: Annotated[float, Field(gt=0.0)]

    @model_validator(mode="after")
    def _whole(self) -> BudgetSpec:
        if self.unit != "seconds" and (self.amount != int(self.amount) or self.amount < 1):
            raise ValueError(f"amount must be a whole number of {self.unit}, not {self.amount}")
        return self


class VerifySpec(Strict):
    """Grading: where a response says its answer, and whether that is right (docs/grading.md)."""

    format: Annotated[FormatName, Later("boxed")] = "boxed"  # hash, answer_line, tag, last_number, choice_letter
    grader: Annotated[GraderName, Later("boxed")] = "boxed"  # boxed: the conventions of docs/grading.md
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    timeout_seconds: Annotated[float, Field(gt=0.0, le=600.0)] = 5.0  # hard limit for one answer
    symbolic: bool = True  # false: spelling, structure, rational numbers only (the generated families need no more)
    sandbox: Annotated[SandboxSpec, Later(SandboxSpec())] = SandboxSpec()  # of problems whose answers are programs


class TrackingSpec(Strict):
    """Where runs are logged. MLflow's own variables are obeyed where the config names no place (docs/tracking.md)."""

    model_config = ConfigDict(validate_default=True)  # what the variables hold, too

    # or env:NAME, file:PATH; credentials are hidden in it (config/credentials.py)
    uri: str = Field(default_factory=lambda: os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"))
    experiment: Label = Field(default_factory=lambda: os.environ.get("MLFLOW_EXPERIMENT_NAME", "eprli_lab"))
    flush_seconds: Annotated[float, Field(gt=0.0)] = 5.0
    samples_per_step: Annotated[int, Field(ge=0, le=64), Later(4)] = 4  # whole responses that are kept; 0: none
    # wandb, tensorboard, trackio: told the same as MLflow (docs/tracking.md, Mirrors)
    mirror: Annotated[tuple[MirrorName, ...], AsTuple, Later(())] = ()

    @field_validator("mirror", mode="before")
    @classmethod
    def _are_mirrors(cls, v: Any) -> Any:
        names = list(get_args(MirrorName))
        for name in v if isinstance(v, list | tuple) else [v]:
            if name not in names:
                raise ValueError(f"'{name}' is no mirror{nearest(str(name), names)}")
        if not isinstance(v, list | tuple):
            raise ValueError(f"give a list, [{v}]")
        if len(set(v)) < len(v):
            raise ValueError("a mirror stands there twice: name each once")
        return v

    @field_validator("uri")
    @classmethod
    def _is_uri(cls, v: str) -> str:
        schemes = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")
        try:
            uri = reveal(v) if is_reference(v) else v
        except UserError as error:
            raise ValueError(str(error).removeprefix("tracking.uri=").removeprefix("tracking.uri: ")) from None
        scheme, sep, rest = uri.partition("://")
        if not sep or scheme.split("+")[0] not in schemes or not rest:
            shown = v if is_reference(v) or "@" not in v else f"...@{v.rpartition('@')[2]}"
            raise ValueError(
                f"'{shown}' is no tracking URI: use sqlite:///FILE, http(s)://HOST:PORT, or a database URI such as "
                "postgresql://USER@HOST/NAME"
            )
        return hide(v)


class CheckpointSpec(Strict):
    """When state is saved: every so many updates, and always at a level boundary and on Ctrl-C."""

    every_updates: Positive = 10
    keep: Annotated[Positive, Later(2)] = 2  # the newest ones: where the last is damaged, a run goes on from the older


class RunSpec(Strict):
    """One run. `study` and `arm` say where it belongs; they do not change what it computes."""

    seed: Annotated[int, Field(ge=0)] = 0
    replicate: Annotated[int, Field(ge=0)] = 0  # other luck at the same seed: what an A/A arm differs by
    curriculum: CurriculumSpec
    algorithm: AlgorithmSpec = AlgorithmSpec()
    optim: OptimSpec = OptimSpec()
    budget: BudgetSpec
    model: ModelSpec
    data: DataSpec
    evaluation: EvaluationSpec
    prompts: Annotated[PromptsSpec, Later(PromptsSpec())] = PromptsSpec()
    verify: VerifySpec = VerifySpec()
    backend: Annotated[LocalSpec | OpenRLHFSpec, Field(discriminator="kind")] = LocalSpec()
    tracking: TrackingSpec = TrackingSpec()
    checkpoint: CheckpointSpec = CheckpointSpec()
    objective: str = "score"  # the metric that a sweep compares
    study: RunName | None = None
    arm: RunName | None = None
    planned: Annotated[str | None, Later(None)] = None  # by what its plan knows it, where that is not its fingerprint

    @model_validator(mode="after")
    def _steps(self) -> RunSpec:
        generated = self.data.generated
        by_steps = self.algorithm.reward_density in BY_STEPS
        if by_steps and (generated is None or generated.family not in STEPPED):
            raise ValueError(
                "algorithm.reward_density rewards worked steps, and only the families int and mod10 have steps that "
                "can be checked: use outcome"
            )
        return self

    @model_validator(mode="after")
    def _implicit(self) -> RunSpec:
        if self.algorithm.reward_density != "implicit":
            return self
        if self.model.lora is not None:
            raise ValueError(
                "algorithm.reward_density=implicit trains a second policy with all of its weights, and model.lora is "
                "for want of that memory: set model.lora=null, or use outcome"
            )
        if self.curriculum.weights == "separate":
            raise ValueError(
                "algorithm.reward_density=implicit learns from one network's responses, and "
                "curriculum.weights=separate starts another at each level: set shared or snapshot, or use outcome"
            )
        return self

    @model_validator(mode="after")
    def _rewards(self) -> RunSpec:
        common = self.algorithm
        check_rewards(common, common.reward_density, common.difficulty_weights, self.curriculum.levels)
        return self

    @model_validator(mode="after")
    def _hints(self) -> RunSpec:
        hinted = [name for name, level in self.curriculum.levels.items() if level.hint.fraction > 0]
        if hinted and self.algorithm.reward_density in BY_STEPS:
            raise ValueError(
                f"curriculum.levels.{hinted[0]}.hint gives worked steps, which algorithm.reward_density="
                f"{self.algorithm.reward_density} would look for in the response: use outcome, or hint.fraction=0"
            )
        return self

    @model_validator(mode="after")
    def _level_prompts(self) -> RunSpec:
        if self.prompts.template == "none":
            for name, level in self.curriculum.levels.items():
                if level.prompts.system:
                    raise ValueError(
                        f"curriculum.levels.{name}.prompts.system needs a chat template: leave it out, or set "
                        "prompts.template=auto"
                    )
        return self

    @model_validator(mode="after")
    def _goes_on(self) -> RunSpec:
        for name, level in self.curriculum.levels.items():
            if (self.evaluation.continue_truncated or math.inf) <= level.max_response_tokens:
                raise ValueError(
                    f"evaluation.continue_truncated: {self.evaluation.continue_truncated} tokens in all do not go "
                    f"beyond curriculum.levels.{name}.max_response_tokens, {level.max_response_tokens}: raise it above "
                    "every limit that is to be measured"
                )
        return self

    @property
    def checks_steps(self) -> bool:
        """Are the worked steps of responses checked: to reward them, or to see how well they were rewarded?"""
        generated = self.data.generated
        learned = self.algorithm.reward_density == "implicit"
        return self.algorithm.reward_density in BY_STEPS or (
            learned and generated is not None and generated.family in STEPPED
        )

    @property
    def rng_seed(self) -> int:
        """What every random stream of the run starts from: its seed, or with a replicate 31 bits of a hash of both."""
        if self.replicate == 0:
            return self.seed
        return int(hashlib.sha256(f"{self.seed}/{self.replicate}".encode()).hexdigest()[:8], 16) >> 1

    def fingerprint(self) -> str:
        """12 hex digits of what determines the numbers: everything but study, arm, tracking and checkpointing.

        The source of the user's own functions counts. Raises UserError when it cannot be found.
        """
        out: Any = dict.fromkeys(("study", "arm", "planned", "tracking", "checkpoint", "objective"), True)
        tree = self.model_dump(mode="json", exclude=out | {"backend": NOT_IN_FINGERPRINT})
        digests = source_digests(name for _, name in self.extensions().values())
        if digests:
            tree["extensions"] = digests
        text = json.dumps({"schema": SCHEMA_VERSION, **tree}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def format_of(self, source: SourceSpec | None) -> str:
        """The answer format that is read of responses to problems of this source."""
        return (source.format if source is not None else None) or self.verify.format

    def extensions(self) -> dict[str, tuple[str, str]]:
        """Dotted config key -> (kind, registered name or import path) of every extension point of the run."""
        c = self.curriculum
        out = {
            "curriculum.schedule": ("schedule", c.schedule),
            "curriculum.selection": ("sampler", c.selection),
            "algorithm.advantage": ("advantage", self.algorithm.advantage),
            "algorithm.objective": ("objective", self.algorithm.objective),
            "verify.grader": ("grader", self.verify.grader),
            "verify.format": ("format", self.verify.format),
        }
        for name, level in c.levels.items():
            key = f"curriculum.levels.{name}"
            out |= {f"{key}.reward": ("reward", level.reward), f"{key}.length_term": ("length_term", level.length_term)}
            out[f"{key}.admission.rule"] = ("admission", level.admission.rule)
        sources = {"data": self.data.source}
        sources |= {f"evaluation.suites.{name}": suite.source for name, suite in self.evaluation.suites.items()}
        out |= {f"{k}.source.format": ("format", s.format) for k, s in sources.items() if s is not None and s.format}
        generated = {"data": self.data.generated}
        generated |= {f"evaluation.suites.{name}": suite.generated for name, suite in self.evaluation.suites.items()}
        return out | {f"{k}.generated.family": ("family", g.family) for k, g in generated.items() if g is not None}

    def extension_files(self) -> list[Path]:
        """Source files of the user's own functions. Raises UserError when one cannot be found."""
        names = sorted({name for _, name in self.extensions().values() if is_path(name)})
        return [file for name in names for file in source_files(name).values()]

    def flat(self) -> dict[str, Any]:
        """Dotted config path -> value; the MLflow params of the run."""
        return flatten(self.model_dump(mode="json", exclude={"planned"}))


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries to dotted paths; lists stay values."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            out.update(flatten(value, path + "."))
        else:
            out[path] = value
    return out
