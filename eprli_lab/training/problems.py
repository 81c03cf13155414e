"""The problems of a run, each with a prompt that its model can answer: long ones left out, or refused by name."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eprli_lab.algorithm.hints import hinted_steps, with_hint
from eprli_lab.config.backend import OpenRLHFSpec
from eprli_lab.data.conversation import at_level
from eprli_lab.data.duplicates import overlap, untemplated
from eprli_lab.data.load import load_suite, load_training
from eprli_lab.data.remeasured import training_problems
from eprli_lab.data.strata import Strata, stratify
from eprli_lab.errors import UserError
from eprli_lab.records import Problem

if TYPE_CHECKING:
    from eprli_lab.backends.prompting import PromptEncoder
    from eprli_lab.config.data import ModelSpec, SourceSpec
    from eprli_lab.config.spec import RunSpec

UNLIMITED = 2**62  # no limit is known: prompts are rendered all the same
# What of a directory makes the ids of a prompt, and the context.
TOKENIZER_FILES = ("*token*", "chat_template*", "vocab*", "merges*", "config.json", "*.model", "*.py")


@dataclass(frozen=True)
class RunProblems:
    """What a run trains and is evaluated on."""

    strata: Strata
    suites: dict[str, list[Problem]]
    left_out: tuple[str, ...]  # sentences on problems that were left out, and on those that suites share


def read_problems(spec: RunSpec) -> RunProblems:
    """Strata and suites of a run. Raises UserError for what cannot be read, or does not fit the model's context."""
    left_out: list[str] = []
    further = spec.evaluation.continue_truncated  # above every limit, where it is set

    def keep(problems: Sequence[Problem]) -> list[Problem]:
        return _short_enough(spec, problems, "training problems", left_out)

    strata = stratify(load_training(spec.data, spec.rng_seed, keep, left_out), spec.curriculum)
    suites = {name: load_suite(name, suite, left_out) for name, suite in spec.evaluation.suites.items()}
    levels: dict[str, list[Problem]] = {}
    moving = spec.curriculum.remeasure.every is not None  # then any problem may come to any level
    for name, level in spec.curriculum.levels.items():
        may_come = training_problems(strata.levels) if moving else strata.levels[name]
        kept = _short_enough(spec, at_level(may_come, level.prompts), f"problems of level {name}", left_out)
        ids = {p.id for p in kept}
        levels[name] = [p for p in strata.levels[name] if p.id in ids]
        if moving:
            strata = dataclasses.replace(
                strata, levels={n: [p for p in ps if p.id in ids] for n, ps in strata.levels.items()}
            )
            levels = {n: [p for p in ps if p.id in ids] for n, ps in levels.items()}
        longest = _with_longest_hint(spec, name, kept) if level.hint.fraction > 0 else kept
        response = further or level.max_response_tokens
        check_context(spec, f"level {name}", longest, response, training=True)
    for name, problems in suites.items():
        response = further or spec.evaluation.max_response_tokens
        check_context(spec, f"suite {name}", problems, response, training=False)
    left_out += check_overlap(spec, levels, suites)
    return RunProblems(dataclasses.replace(strata, levels=levels), suites, tuple(left_out))


def check_overlap(spec: RunSpec, levels: dict[str, list[Problem]], suites: dict[str, list[Problem]]) -> list[str]:
    """Sentences on suites that are trained on, where data.allow_overlap says so; else UserError for the first one.

    Generated problems are parted by a hash, and not looked at.
    """
    training = _bare({p.id: p for problems in levels.values() for p in problems}.values(), spec.data.source)
    sentences = []
    for name, suite in spec.evaluation.suites.items():
        if spec.data.generated is not None and suite.generated is not None:
            continue
        shared = overlap(training, _bare(suites[name], suite.source))
        if not shared:
            continue
        trained, asked = shared[0]
        sentence = (
            f"{len(shared)} of {len(suites[name])} problems of suite {name} are trained on (its problem {asked.id} is "
            f"{trained.id} of the training data: {' '.join(asked.prompt.split())[:60]!r})"
        )
        if not spec.data.allow_overlap:
            raise UserError(
                f"data: {sentence}: take them out of one of the two, or set data.allow_overlap=true, and the report "
                "says so"
            )
        sentences.append(f"data.allow_overlap=true: {sentence}")
    return sentences


def _bare(problems: Iterable[Problem], source: SourceSpec | None) -> list[Problem]:
    return untemplated(list(problems), source.prompt_template if source is not None else "{prompt}")


def _with_longest_hint(spec: RunSpec, level: str, problems: Sequence[Problem]) -> list[Problem]:
    """The problems of a level with as many worked steps as it ever gives. UserError for those that have none."""
    missing = [p.id for p in problems if not p.steps]
    if missing:
        advice = "name the column of worked solutions (data.source.columns.solution)"
        if spec.data.generated is not None:
            advice = f"give the family {spec.data.generated.family} a method `steps`"
        raise UserError(
            f"curriculum.levels.{level}.hint: {len(missing)} of {len(problems)} problems have no worked steps, "
            f"{missing[0]} for one: {advice}, take problems that have some, or set hint.fraction=0"
        )
    share = spec.curriculum.levels[level].hint.fraction
    return [with_hint(p, hinted_steps(share, len(p.steps))) for p in problems]


def keep_short(spec: RunSpec, problems: Sequence[Problem]) -> tuple[list[Problem], list[str]]:
    """Those within data.max_prompt_tokens when asked with the run's prompts, and a sentence on the others."""
    left_out: list[str] = []
    return _short_enough(spec, problems, "training problems", left_out), left_out


def check_context(spec: RunSpec, where: str, problems: Sequence[Problem], response: int, *, training: bool) -> None:
    """Every prompt with a response of `response` tokens must fit the model's context, and the engine's prompt limit.

    Raises UserError with the number of prompts that do not, and the longest.
    """
    encoder, context = encoder_of(spec), context_of_model(_key(spec))
    limits = []
    if isinstance(spec.backend, OpenRLHFSpec):
        limits.append((spec.backend.prompt_tokens, "backend.prompt_tokens"))
    if context is not None:
        limits.append((context - response, f"the model's context of {context} tokens with a response of {response}"))
    for limit, name in limits or [(UNLIMITED, "")]:
        long = [p for p in problems if not encoder.fits(p, limit)]
        if not long:
            continue
        problem = max(long, key=encoder.count)
        most = encoder.count(problem)
        advice = "shorten the responses, or take problems with shorter prompts"
        if limit >= 1 and training:
            advice = f"leave them out with data.max_prompt_tokens={limit}, or shorten the responses"
        if name == "backend.prompt_tokens":
            more = f", or leave them out with data.max_prompt_tokens={limit}" if training else ""
            advice = f"set backend.prompt_tokens={most}{more}"
        subject = f"{len(long)} of {len(problems)} prompts do" if len(problems) > 1 else "the prompt does"
        if problem.hint:  # data.max_prompt_tokens knows nothing of hints: all arms have the same problems
            more = f"set backend.prompt_tokens={most}" if name == "backend.prompt_tokens" else "shorten the responses"
            advice = f"its hint counts: {more}, or lower hint.fraction"
        raise UserError(
            f"{where}: {subject} not fit {name} (the longest has {most} tokens: problem {problem.id}): {advice}"
        )


def check_window(spec: RunSpec) -> None:
    """The engines of OpenRLHF are started for the longest prompt with the longest response. Raises UserError."""
    from eprli_lab.backends.openrlhf.flags import longest_response

    context = context_of_model(_key(spec))
    if isinstance(spec.backend, OpenRLHFSpec) and context is not None:
        room = context - longest_response(spec)
        if spec.backend.prompt_tokens > room:
            raise UserError(
                f"backend.prompt_tokens: prompts of {spec.backend.prompt_tokens} and responses of "
                f"{longest_response(spec)} tokens do not fit the model's context of {context} tokens: "
                + (f"set backend.prompt_tokens={room} or less, or shorten" if room > 0 else "shorten")
                + " the responses"
            )


def encoder_of(spec: RunSpec) -> PromptEncoder:
    """The encoder of a run's prompts; of all runs of this process with the same model and prompts the same one."""
    family = spec.data.generated.family if spec.data.generated else None
    return _encoder(_key(spec), family, spec.prompts.model_dump_json())


def _short_enough(spec: RunSpec, problems: Sequence[Problem], what: str, left_out: list[str]) -> list[Problem]:
    """The problems within data.max_prompt_tokens; a sentence on the others is added to `left_out`."""
    limit = spec.data.max_prompt_tokens
    if limit is None:
        return list(problems)
    encoder = encoder_of(spec)
    fitting = [encoder.fits(p, limit) for p in problems]
    kept = [p for p, fits in zip(problems, fitting, strict=True) if fits]
    long = [p for p, fits in zip(problems, fitting, strict=True) if not fits]
    if long and not kept:
        raise UserError(
            f"data.max_prompt_tokens: none of {len(problems)} {what} has a prompt of at most {limit} tokens (the "
            f"shortest has {min(encoder.count(p) for p in long)}): raise it"
        )
    if long:
        longest = max(long, key=encoder.count)
        left_out.append(
            f"data.max_prompt_tokens={limit}: {len(long)} of {len(problems)} {what} are left out (longest prompt: "
            f"{encoder.count(longest)} tokens, problem {longest.id})"
        )
    return kept


def _key(spec: RunSpec) -> str:
    """What tokenizer and context depend on: the model's config and, of a directory, its files."""
    return json.dumps([spec.model.model_dump(mode="json"), _files(spec.model)], sort_keys=True)


def _files(model: ModelSpec) -> list[tuple[str, int, int]]:
    directory = Path(model.path or "").expanduser()
    if model.path is None or not directory.is_dir():
        return []
    found = {f for pattern in TOKENIZER_FILES for f in directory.glob(pattern)}
    return [(f.name, f.stat().st_mtime_ns, f.stat().st_size) for f in sorted(found)]


@functools.lru_cache(maxsize=8)
def _encoder(key: str, family: str | None, prompts: str) -> PromptEncoder:
    from eprli_lab.backends.pretrained import read_tokenizer
    from eprli_lab.backends.prompting import PromptEncoder
    from eprli_lab.config.data import ModelSpec
    from eprli_lab.config.prompts import PromptsSpec

    model = ModelSpec.model_validate(json.loads(key)[0])
    return PromptEncoder(read_tokenizer(model, family), PromptsSpec.model_validate_json(prompts))


@functools.lru_cache(maxsize=8)
def context_of_model(key: str) -> int | None:
    """Prompt and response tokens of the model that `_key` stands for; None where they are not known."""
    from eprli_lab.backends.pretrained import context_tokens
    from eprli_lab.config.data import ModelSpec

    return context_tokens(ModelSpec.model_validate(json.loads(key)[0]))
