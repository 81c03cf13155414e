"""The whole run as one validated, frozen, typed tree.

Every range and every cross-field rule lives here. A config is accepted as it stands or refused with one
sentence; nothing is repaired. Imports neither torch nor Hydra.

Symbols are those of the paper (arXiv 2508.01604, section 3.1.2); see docs/algorithm.md for the table.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from eprli_lab.errors import UserError, nearest

SCHEMA_VERSION = 1

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
AsTuple = BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)  # a list of YAML
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]*$")]


class Strict(BaseModel):
    """Frozen; unknown keys are refused; numbers are not coerced from strings; NaN is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ClipSpec(Strict):
    """eps_l: the ratio may move within [1 - low, 1 + high] (DAPO, arXiv 2503.14476, eq. 8)."""

    low: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    high: Annotated[float, Field(gt=0.0, le=10.0)] = 0.28


class AdmissionSpec(Strict):
    """Which groups enter the buffer, and when a level gives up (DESIGN 2.2 to 2.4)."""

    metric: Literal["accuracy", "reward"] = "accuracy"
    accuracy_min: float = 0.125  # a_min; a bound on the mean shaped reward where metric is 'reward'
    accuracy_max: float = 0.875  # a_max
    max_rounds: Positive = 8  # sampling rounds before an update is skipped
    max_skipped_updates: Positive = 3  # skipped updates in a row before the level ends as starved
    surplus: Literal["carry", "drop", "train"] = "carry"  # what becomes of admitted groups beyond N_l
    max_staleness: Annotated[int, Field(ge=0)] = 2  # updates a carried group may age before it is dropped

    @model_validator(mode="after")
    def _band(self) -> AdmissionSpec:
        if self.accuracy_min > self.accuracy_max:
            raise ValueError(f"accuracy_min {self.accuracy_min} is above accuracy_max {self.accuracy_max}")
        if self.metric == "accuracy" and not (0.0 <= self.accuracy_min and self.accuracy_max <= 1.0):
            raise ValueError("accuracy_min and accuracy_max must lie in [0, 1] while metric is 'accuracy'")
        return self


class LevelSpec(Strict):
    """One level l of the curriculum."""

    quality_threshold: Annotated[float, Field(gt=0.0, le=1.0)]  # Q_l: upper difficulty bound of D_l
    max_response_tokens: Positive  # Len_l
    group_size: Annotated[int, Field(ge=2, le=1024)] = 16  # G_l
    problems_per_round: Positive = 8
    buffer_groups: Positive = 6  # N_l
    inner_iterations: Annotated[int, Field(ge=1, le=64)] = 1  # mu_l
    minibatches: Annotated[int, Field(ge=1, le=64)] = 1  # optimizer steps per pass over the buffer
    clip: ClipSpec = ClipSpec()
    length_term: Literal["none", "linear", "soft_overlong", "group_relative"] = "none"
    length_coef: Annotated[float, Field(ge=0.0, le=100.0)] = 0.0  # K_l
    overlong_tokens: Annotated[int, Field(ge=0)] = 0  # L_cache of DAPO eq. 13
    reward_correct: float = 1.0  # R_l of a correct response
    reward_wrong: float = 0.0  # R_l of a wrong one
    admission: AdmissionSpec = AdmissionSpec()
    budget_weight: Annotated[float, Field(gt=0.0)] = 1.0  # the level's share of the budget is weight / sum

    @model_validator(mode="after")
    def _rules(self) -> LevelSpec:
        if self.length_coef > 0 and self.length_term == "none":
            raise ValueError("length_coef is positive but length_term is 'none': name a term or set length_coef=0")
        if self.length_term == "soft_overlong" and not 0 < self.overlong_tokens <= self.max_response_tokens:
            raise ValueError("soft_overlong needs 0 < overlong_tokens <= max_response_tokens")
        if self.reward_correct <= self.reward_wrong:
            raise ValueError("reward_correct must be above reward_wrong")
        return self


class AdaptiveSpec(Strict):
    """Promotion rule of the `adaptive` schedule."""

    promote_at: Fraction = 0.8  # bar on the moving average of the level's accuracy over all groups
    smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.8  # weight of the past in that average
    min_updates: Positive = 4  # updates at a level before it may be left


class TargetSpec(Strict):
    """The target difficulty of `selection: target` (AdaRFT, arXiv 2504.05520)."""

    start: Fraction = 0.0  # T of the first round
    step: Annotated[float, Field(gt=0.0, le=1.0)] = 0.05  # eta: the most that T moves in a round
    sensitivity: Annotated[float, Field(gt=0.0)] = 2.0  # alpha
    goal: Fraction = 0.5  # beta: the accuracy at which T stays


class CurriculumSpec(Strict):
    """L levels; order of the keys is from easy to hard."""

    schedule: Literal["sequential", "mixed", "adaptive"] = "sequential"
    order: Literal["ascending", "descending"] = "ascending"  # of the levels; descending: hard first
    strata: Literal["band", "cumulative", "all"] = "band"  # D_l: above Q_{l-1} up to Q_l; up to Q_l; up to Q_L
    selection: Literal["uniform", "target", "ramp"] = "uniform"  # which problem of the stratum comes next
    weights: Literal["shared", "per_level"] = "shared"  # shared: pi_high = pi_low = pi_theta (the paper)
    levels: dict[Name, LevelSpec]
    adaptive: AdaptiveSpec = AdaptiveSpec()
    target: TargetSpec = TargetSpec()

    @model_validator(mode="after")
    def _thresholds(self) -> CurriculumSpec:
        if self.weights == "per_level" and self.schedule == "mixed":
            raise ValueError("weights 'per_level' needs levels one after another: use schedule sequential or adaptive")
        if not self.levels:
            raise ValueError("levels is empty: a curriculum needs at least one level")
        pairs = list(self.levels.items())
        for (a, la), (b, lb) in zip(pairs, pairs[1:], strict=False):
            if not la.quality_threshold < lb.quality_threshold:
                raise ValueError(
                    f"quality_threshold must increase from level to level, but {a} has {la.quality_threshold} "
                    f"and {b} has {lb.quality_threshold}"
                )
        return self


class AlgorithmSpec(Strict):
    """What is the same at every level."""

    advantage: Literal["group_norm", "mean_only", "rloo"] = "group_norm"
    aggregation: Literal["token_mean", "sequence_mean", "constant"] = "token_mean"
    constant_tokens: Annotated[int, Field(ge=1)] | None = None  # null: Len_l (Dr. GRPO); 1: the paper's 1/(P*G)
    reward_density: Literal["outcome", "dense", "both"] = "outcome"  # dense: each worked step is rewarded
    difficulty_weights: Literal["none", "daro"] = "none"  # of the loss, by the group's accuracy (arXiv 2510.09001)
    daro_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1  # step of the log weights an update
    kl_coef: Annotated[float, Field(ge=0.0, le=100.0)] = 0.0
    temperature: Annotated[float, Field(gt=0.0, le=10.0)] = 1.0


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


class WarmstartSpec(Strict):
    """The seeded recipe that makes the initial policy of a generated family: SFT, then noisy demonstrations."""

    seed: int = 0
    steps: Positive
    batch: Positive = 96  # demonstrations a step
    learning_rate: Annotated[float, Field(gt=0.0, lt=1.0)] = 3e-3
    noisy_steps: Annotated[int, Field(ge=0)] = 120
    noisy_learning_rate: Annotated[float, Field(gt=0.0, lt=1.0)] = 1e-3
    noise: Fraction = 0.25  # probability that a step's result is wrong, carried on


class ModelSpec(Strict):
    """The initial policy: any causal LM of `transformers` (path or id), or a config that is warm-started."""

    name: str
    path: str | None = None  # directory or Hugging Face id
    config: dict[str, Any] | None = None  # keyword arguments of a transformers config, with `model_type`
    warmstart: WarmstartSpec | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    trust_remote_code: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> ModelSpec:
        if (self.path is None) == (self.config is None):
            raise ValueError("give either path (a trained checkpoint) or config (to be warm-started), not both")
        if self.config is not None and self.warmstart is None:
            raise ValueError("a model built from config needs a warmstart recipe")
        if self.config is not None and "model_type" not in self.config:
            raise ValueError("config needs model_type, the transformers architecture, for instance qwen3")
        return self


class ColumnsSpec(Strict):
    """Names of the columns of a data file. Dots reach into structs (`reward_model.ground_truth`)."""

    prompt: str = "problem"  # a string, or a list of chat messages {role, content}
    answer: str = "answer"  # a string, a number, or a list of accepted answers
    id: str | None = "id"  # null: the row number
    difficulty: str | None = None  # in [0, difficulty_scale]
    difficulty_scale: Annotated[float, Field(gt=0.0)] = 1.0  # what the column calls 1 (some data sets count to 100)


class SourceSpec(Strict):
    """A real data set: a local .jsonl/.json/.parquet file, or a Hugging Face id read with `datasets`."""

    path: str
    split: str = "train"
    name: str | None = None  # configuration of a Hugging Face data set
    columns: ColumnsSpec = ColumnsSpec()
    prompt_template: str = "{prompt}"  # for plain-text prompts
    limit: Annotated[int, Field(ge=1)] | None = None  # first rows only


class GeneratedSpec(Strict):
    """A seeded family of arithmetic chains; difficulty d = operations / max_operations."""

    family: Literal["int", "mod10", "program"]
    operations: Annotated[tuple[Positive, ...], AsTuple] = (
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
    )  # which numbers of operations are drawn
    problems: Positive = 4096  # distinct training problems
    seed: int = 0

    @model_validator(mode="after")
    def _ops(self) -> GeneratedSpec:
        if not self.operations or max(self.operations) > 8:
            raise ValueError("operations must name at least one number from 1 to 8")
        return self


class DataSpec(Strict):
    """Training problems: exactly one of `generated` and `source`."""

    name: str
    generated: GeneratedSpec | None = None
    source: SourceSpec | None = None
    difficulty_file: str | None = None  # pass rates written by `python -m eprli_lab.difficulty`
    label_noise: Fraction = 0.0  # share of the training problems whose difficulties are shuffled among themselves

    @model_validator(mode="after")
    def _one(self) -> DataSpec:
        if (self.generated is None) == (self.source is None):
            raise ValueError("give exactly one of generated and source")
        if self.source is not None and self.source.columns.difficulty is None and self.difficulty_file is None:
            raise ValueError(
                "a data source needs a difficulty: name source.columns.difficulty, or measure it with "
                "python -m eprli_lab.difficulty and set difficulty_file"
            )
        return self


class SuiteSpec(Strict):
    """A fixed evaluation suite: held-out problems of a generated family, or a data file."""

    generated: GeneratedSpec | None = None
    source: SourceSpec | None = None

    @model_validator(mode="after")
    def _one(self) -> SuiteSpec:
        if (self.generated is None) == (self.source is None):
            raise ValueError("give exactly one of generated and source")
        return self


class EvaluationSpec(Strict):
    """The same suites, problems and sampling seeds in every arm."""

    suites: dict[Name, SuiteSpec]
    samples: Positive = 4  # k: responses a problem
    temperature: Annotated[float, Field(gt=0.0, le=10.0)] = 1.0
    max_response_tokens: Positive = 76
    seed: int = 4242
    boundary_problems: Annotated[int, Field(ge=0)] = 64  # first problems of a suite used between start and end; 0: all
    curve_points: Annotated[int, Field(ge=0, le=1000)] = 3  # extra evaluations, equally spaced over the budget

    @model_validator(mode="after")
    def _some(self) -> EvaluationSpec:
        if not self.suites:
            raise ValueError("suites is empty: name at least one evaluation suite")
        return self


class LocalSpec(Strict):
    """The engine in this process: torch, on CPU or CUDA."""

    kind: Literal["local"] = "local"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=1, le=256)] = 1  # torch threads of one run
    sample_batch: Positive = 512  # responses decoded at once
    pack_tokens: Positive = 104  # length of a packed training row (at least the longest sequence is used)
    microbatch_tokens: Positive = 16384  # tokens in one forward and backward pass


class OpenRLHFSpec(Strict):
    """OpenRLHF's actor groups and rollout engines on Ray; all models share the same GPUs."""

    kind: Literal["openrlhf"]
    rehearsal: bool = False  # on CPU, with pretended GPUs and stand-ins for what cannot run there (flash-attn, vLLM)
    nodes: Positive = 1
    gpus_per_node: Positive = 8
    engine_gpus: Positive = 1  # GPUs of one rollout engine (tensor parallel)
    zero_stage: Literal[1, 2, 3] = 2
    param_dtype: Literal["bf16", "fp16"] = "bf16"
    attention: str = "flash_attention_2"
    packing: bool = True  # no padding between sequences of a microbatch; needs flash attention
    gradient_checkpointing: bool = True
    adam_offload: bool = False  # optimizer state and master weights in the memory of the host
    reference_offload: bool = False
    sleep: bool = True  # engines and trainer give their GPU memory back while the other one works
    engine_memory: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5  # share of a GPU's memory that an engine may take
    enforce_eager: bool = False  # no CUDA graphs in the engines
    prefix_caching: bool = False
    prompt_tokens: Positive = 1024  # longest prompt; a longer one is refused
    microbatch_tokens: Positive = 16384  # tokens in one forward and backward pass of one GPU
    start_seconds: Annotated[float, Field(gt=0.0)] = 1800.0  # limit for GPUs to become free and models to load
    ray_address: str | None = None  # null: $RAY_ADDRESS, else a Ray of this run's own on this machine
    flags: Annotated[tuple[str, ...], AsTuple] = ()  # further flags of OpenRLHF, as on its command line
    dry_run: bool = False  # print the launch and start nothing

    @model_validator(mode="after")
    def _fits(self) -> OpenRLHFSpec:
        if self.gpus % self.engine_gpus:
            raise ValueError(
                f"engine_gpus {self.engine_gpus} does not divide the {self.gpus} GPUs (nodes x gpus_per_node): every "
                "GPU holds a part of one rollout engine"
            )
        if self.packing and "flash" not in self.attention:
            raise ValueError(f"packing needs flash attention, not attention={self.attention}: set packing=false")
        if self.rehearsal and (self.packing or self.adam_offload or self.reference_offload):
            raise ValueError("packing, adam_offload and reference_offload need a GPU: a rehearsal goes without them")
        return self

    @property
    def gpus(self) -> int:
        """In all."""
        return self.nodes * self.gpus_per_node


BACKENDS: dict[str, type[Strict]] = {"local": LocalSpec, "openrlhf": OpenRLHFSpec}
NOT_IN_FINGERPRINT = {"dry_run": True, "ray_address": True, "start_seconds": True}  # of a backend


class VerifySpec(Strict):
    """Grading: exact match after normalisation first, math-verify second."""

    processes: Annotated[int, Field(ge=1, le=64)] = 1
    timeout_seconds: Annotated[float, Field(gt=0.0, le=600.0)] = 5.0  # hard limit for one answer
    symbolic: bool = True  # false: exact match only (the generated families need no more)


class TrackingSpec(Strict):
    """Where runs are logged."""

    uri: str = "sqlite:///mlflow.db"
    experiment: str = "eprli_lab"
    flush_seconds: Annotated[float, Field(gt=0.0)] = 5.0

    @field_validator("uri")
    @classmethod
    def _is_uri(cls, v: str) -> str:
        schemes = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")
        scheme, sep, rest = v.partition("://")
        if not sep or scheme.split("+")[0] not in schemes or not rest:
            raise ValueError(
                f"'{v}' is no tracking URI: use sqlite:///FILE, http(s)://HOST:PORT, or a database URI such as "
                "postgresql://USER@HOST/NAME"
            )
        return v


class CheckpointSpec(Strict):
    """When state is saved: every so many updates, and always at a level boundary and on Ctrl-C."""

    every_updates: Positive = 10


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
    verify: VerifySpec = VerifySpec()
    backend: Annotated[LocalSpec | OpenRLHFSpec, Field(discriminator="kind")] = LocalSpec()
    tracking: TrackingSpec = TrackingSpec()
    checkpoint: CheckpointSpec = CheckpointSpec()
    objective: str = "score"  # the metric that a sweep compares
    study: str | None = None
    arm: str | None = None

    @model_validator(mode="after")
    def _steps(self) -> RunSpec:
        generated = self.data.generated
        if self.algorithm.reward_density != "outcome" and (generated is None or generated.family == "program"):
            raise ValueError(
                "algorithm.reward_density rewards worked steps, and only the families int and mod10 have steps that "
                "can be checked: use outcome"
            )
        return self

    @property
    def luck(self) -> int:
        """What every random stream of the run starts from: its seed, or with a replicate 31 bits of a hash of both."""
        if self.replicate == 0:
            return self.seed
        return int(hashlib.sha256(f"{self.seed}/{self.replicate}".encode()).hexdigest()[:8], 16) >> 1

    def fingerprint(self) -> str:
        """12 hex digits of what determines the numbers: everything but study, arm, tracking and checkpointing."""
        out: Any = dict.fromkeys(("study", "arm", "tracking", "checkpoint", "objective"), True)
        tree = self.model_dump(mode="json", exclude=out | {"backend": NOT_IN_FINGERPRINT})
        text = json.dumps({"schema": SCHEMA_VERSION, **tree}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def flat(self) -> dict[str, Any]:
        """Dotted config path -> value; the MLflow params of the run."""
        return flatten(self.model_dump(mode="json"))


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


def _choices(model: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    """Field names that are allowed where an unknown key was found."""
    node: Any = model
    for part in loc[:-1]:
        fields = getattr(node, "model_fields", None)
        if fields is None:
            return []
        if part not in fields:
            # a key of a dict of models (a level's name): the class of its values
            continue
        annotation = fields[part].annotation
        args = [a for a in getattr(annotation, "__args__", ()) if a is not type(None) and a is not str]
        inner = [a for a in args if isinstance(a, type) and issubclass(a, BaseModel)]
        node = inner[0] if inner else annotation
    return list(getattr(node, "model_fields", {}))


def parse_spec(tree: dict[str, Any]) -> RunSpec:
    """Validate a plain tree. Raises UserError with one sentence that names the key, the value and the rule."""
    try:
        return RunSpec.model_validate(_whole_floats(tree))
    except ValidationError as error:
        first = error.errors()[0]
        loc = tuple(p for p in first["loc"] if p != "[key]")
        if loc[:1] == ("backend",) and len(loc) > 1 and loc[1] in BACKENDS:
            kind, loc = str(loc[1]), (loc[0], *loc[2:])
        where = ".".join(str(p) for p in loc) or "config"
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            choices = list(BACKENDS[kind].model_fields) if loc[0] == "backend" else _choices(RunSpec, loc)
            message = f"unknown key{nearest(str(loc[-1]), choices)}"
        elif first["type"] in ("union_tag_invalid", "union_tag_not_found"):
            loc, where = (*loc, "kind"), "backend.kind"
            message = f"is none of {', '.join(BACKENDS)}"
        elif first["type"] == "missing":
            message = "is missing"
        elif not first["msg"].startswith("Value error"):
            message = f"{message[0].lower()}{message[1:]}, not {first['input']!r}"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise UserError(f"{where}: {message}{more}") from None


def _whole_floats(tree: Any) -> Any:
    """YAML writes 1e5 as a string and 30000 as an int: leave ints alone, read '1e5' as the number it is."""
    if isinstance(tree, dict):
        return {k: _whole_floats(v) for k, v in tree.items()}
    if isinstance(tree, list):
        return [_whole_floats(v) for v in tree]
    if isinstance(tree, str):
        head = tree.replace("e", "").replace("-", "").replace("+", "").replace(".", "")
        if head.isdigit() and "e" in tree and tree[0].isdigit():
            return float(tree)
    return tree
