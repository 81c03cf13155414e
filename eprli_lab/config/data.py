"""Policies, problems and suites: the config of what a run reads."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from eprli_lab.config.extensions import FamilyName, FormatName
from eprli_lab.config.fields import AsTuple, FileLabel, Fraction, Label, Later, Name, Positive, Strict
from eprli_lab.records import Sampling

COLDEST = 0.01  # vLLM lifts a temperature between 0 and this one, silently


def check_temperature(value: float) -> None:
    """Raises ValueError for what vLLM would change."""
    if 0.0 < value < COLDEST:
        raise ValueError(
            f"temperature {value} would be lifted to {COLDEST} by vLLM: set 0 (greedy) or at least {COLDEST}"
        )


class WarmstartSpec(Strict):
    """The seeded recipe that makes the initial policy of a generated family: SFT, then noisy demonstrations."""

    seed: int = 0
    steps: Positive
    batch: Positive = 96  # demonstrations a step
    learning_rate: Annotated[float, Field(gt=0.0, lt=1.0)] = 3e-3
    noisy_steps: Annotated[int, Field(ge=0)] = 120
    noisy_learning_rate: Annotated[float, Field(gt=0.0, lt=1.0)] = 1e-3
    noise: Fraction = 0.25  # probability that a step's result is wrong, carried on
    family: Annotated[FamilyName | None, Later(None)] = None  # whose worked answers are shown; null: data's own


class LoraSpec(Strict):
    """LoRA (arXiv 2106.09685): low-rank adapters are trained, the model that they stand on is not."""

    rank: Positive
    alpha: Positive = 16  # what an adapter adds is scaled by alpha / rank
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0  # 0, see below
    targets: Annotated[Literal["all-linear"] | tuple[str, ...], AsTuple] = "all-linear"  # or names such as q_proj
    merged: bool = False  # a checkpoint holds the merged model too, whole, beside the adapter

    @model_validator(mode="after")
    def _one_function(self) -> LoraSpec:
        if self.dropout > 0.0:
            raise ValueError(
                f"dropout {self.dropout} would train another function than the one that is sampled: set dropout=0"
            )
        if not self.targets:
            raise ValueError("targets is empty: name linear modules of the model's layers, or all-linear")
        return self


class ModelSpec(Strict):
    """The initial policy: any causal LM of `transformers` (path or id), or a config that is warm-started."""

    name: Label
    path: str | None = None  # directory or Hugging Face id
    config: dict[str, Any] | None = None  # keyword arguments of a transformers config, with `model_type`
    warmstart: WarmstartSpec | None = None
    # Of a model built from config, by character: 32 entries, or 104 (printable ASCII and the line feed).
    tokenizer: Annotated[Literal["arithmetic", "text"], Later("arithmetic")] = "arithmetic"
    dtype: Literal["float32", "bfloat16"] = "float32"
    trust_remote_code: bool = False
    lora: Annotated[LoraSpec | None, Later(None)] = None  # null: every weight is trained

    @model_validator(mode="after")
    def _one_source(self) -> ModelSpec:
        if (self.path is None) == (self.config is None):
            raise ValueError("give either path (a trained checkpoint) or config (to be warm-started), not both")
        if self.config is not None and self.warmstart is None:
            raise ValueError("a model built from config needs a warmstart recipe")
        if self.path is not None and self.tokenizer != "arithmetic":
            raise ValueError("tokenizer is read from model.path: leave it at arithmetic")
        if self.config is not None and "model_type" not in self.config:
            raise ValueError("config needs model_type, the transformers architecture, for instance qwen3")
        return self


class ColumnsSpec(Strict):
    """Names of the columns of a data file. Dots reach into structs (`reward_model.ground_truth`)."""

    prompt: str = "problem"  # a string, or a list of chat messages {role, content}
    answer: str = "answer"  # a string, a number, a list of answers, a worked solution that ends with one
    id: str | None = "id"  # null: the row number
    difficulty: str | None = None  # in [0, difficulty_scale]
    difficulty_scale: Annotated[float, Field(gt=0.0)] = 1.0  # what the column calls 1 (some data sets count to 100)
    solution: Annotated[str | None, Later(None)] = None  # a worked solution, as text; hints are made of it
    # What a high value of the difficulty column says: a hard problem, or one that was often solved.
    difficulty_is: Annotated[Literal["difficulty", "pass_rate"], Later("difficulty")] = "difficulty"
    # What a list of answers says: each of them is right, or all of them together are the answer.
    answers_mean: Annotated[Literal["any", "all"], Later("any")] = "any"


class SourceSpec(Strict):
    """A real data set: local files (docs/data.md), or a Hugging Face id read with `datasets`."""

    path: str  # a file, a folder or pattern of shards, an id
    split: str = "train"
    name: str | None = None  # configuration of a Hugging Face data set
    columns: ColumnsSpec = ColumnsSpec()
    prompt_template: str = "{prompt}"  # for plain-text prompts
    limit: Annotated[int, Field(ge=1)] | None = None  # first rows only
    format: Annotated[FormatName | None, Later(None)] = None  # where its answers stand; null: verify.format

    @model_validator(mode="after")
    def _holds_the_problem(self) -> SourceSpec:
        if "{prompt}" not in self.prompt_template:
            raise ValueError("prompt_template does not hold {prompt}, so no problem would be asked: put it in")
        return self


class GeneratedSpec(Strict):
    """A seeded family of arithmetic chains; difficulty d = operations / max_operations."""

    family: FamilyName
    # Which numbers of operations are drawn, in turn: one that is named twice is drawn twice as often.
    operations: Annotated[tuple[Positive, ...], AsTuple] = (1, 2, 3, 4, 5, 6, 7, 8)
    problems: Annotated[int, Field(ge=1, le=1_000_000)] = 4096  # distinct training problems
    seed: int = 0

    @model_validator(mode="after")
    def _ops(self) -> GeneratedSpec:
        if not self.operations or max(self.operations) > 8:
            raise ValueError("operations must name at least one number from 1 to 8")
        return self


class DataSpec(Strict):
    """Training problems: exactly one of `generated` and `source`."""

    name: FileLabel
    generated: GeneratedSpec | None = None
    source: SourceSpec | None = None
    # Pass rates written by `eprli-lab difficulty`; package:NAME, one that came with the package.
    difficulty_file: str | None = None
    # What d(q) is: the label that a problem has, or the share of the training problems with prompts no longer than its.
    difficulty_by: Annotated[Literal["label", "prompt_length"], Later("label")] = "label"
    label_noise: Fraction = 0.0  # share of the training problems whose difficulties are shuffled among themselves
    # Training problems with longer prompts (as rendered) are left out and counted; null: none.
    max_prompt_tokens: Annotated[Annotated[int, Field(ge=1)] | None, Later(None)] = None
    max_bad_rows: Annotated[int, Field(ge=0), Later(0)] = 0  # rows that cannot be used are left out, up to so many
    allow_overlap: Annotated[bool, Later(False)] = False  # problems that a suite has too may be trained on

    @model_validator(mode="after")
    def _one(self) -> DataSpec:
        if (self.generated is None) == (self.source is None):
            raise ValueError("give exactly one of generated and source")
        if self.difficulty_by == "prompt_length":
            if self.difficulty_file is not None:
                raise ValueError(
                    "difficulty_by is 'prompt_length', so difficulty_file would not be read: leave one of them out"
                )
            return self
        if self.source is not None and self.source.columns.difficulty is None and self.difficulty_file is None:
            raise ValueError(
                "a data source needs a difficulty: name source.columns.difficulty, or measure it with "
                "eprli-lab difficulty and set difficulty_file"
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
    samples: Annotated[int, Field(ge=1, le=100_000)] = 4  # k: responses a problem
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 1.0  # 0: greedy, one sample a problem
    top_p: Annotated[float, Field(gt=0.0, le=1.0), Later(1.0)] = 1.0
    top_k: Annotated[int, Field(ge=0), Later(0)] = 0  # 0: all tokens
    min_p: Annotated[float, Field(ge=0.0, le=1.0), Later(0.0)] = 0.0
    stop: Annotated[tuple[str, ...], AsTuple, Later(())] = ()  # strings that end a response and are left out of it
    max_response_tokens: Positive = 76
    seed: int = 4242
    boundary_problems: Annotated[int, Field(ge=0)] = 64  # first problems of a suite used between start and end; 0: all
    curve_points: Annotated[int, Field(ge=0, le=1000)] = 3  # extra evaluations, equally spaced over the budget
    # Truncated responses are gone on with, up to so many tokens in all, to see which were on their way to a right
    # answer; null: they are not. A measurement: nothing is trained on what comes behind the limit.
    continue_truncated: Annotated[Positive | None, Later(None)] = None

    @model_validator(mode="after")
    def _some(self) -> EvaluationSpec:
        if not self.suites:
            raise ValueError("suites is empty: name at least one evaluation suite")
        check_temperature(self.temperature)
        if self.temperature == 0.0 and self.samples != 1:
            raise ValueError(f"temperature 0 draws the same response every time: set samples=1, not {self.samples}")
        if any(not s for s in self.stop):
            raise ValueError("stop holds an empty string, which every response holds: leave it out")
        if self.continue_truncated is not None and self.continue_truncated <= self.max_response_tokens:
            raise ValueError(
                f"continue_truncated: {self.continue_truncated} tokens in all do not go beyond max_response_tokens, "
                f"{self.max_response_tokens}: raise it"
            )
        return self

    def sampling(self) -> Sampling:
        """How a suite is sampled."""
        return Sampling(
            self.samples, self.max_response_tokens, self.temperature, self.top_p, self.top_k, self.min_p, self.stop
        )
