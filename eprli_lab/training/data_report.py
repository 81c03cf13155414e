"""What a run would read of its training data, as a record: columns, problems, strata, prompts; nothing is started."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eprli_lab.config.compose import UNMEASURED
from eprli_lab.data.conversation import conversation
from eprli_lab.data.files import Loaded, read_source
from eprli_lab.data.load import labelled, read_training
from eprli_lab.data.strata import stratify
from eprli_lab.errors import UserError
from eprli_lab.grading.formats import asked_for
from eprli_lab.records import Problem
from eprli_lab.training.preflight import asked_texts, format_fault
from eprli_lab.training.problems import encoder_of, keep_short

if TYPE_CHECKING:
    from eprli_lab.config.data import ColumnsSpec
    from eprli_lab.config.spec import RunSpec

ANY_NUMBER = 1 << 62  # of bad rows: all are looked at, whatever a run would allow
ROLES = ("prompt", "answer", "id", "difficulty", "solution")


@dataclass(frozen=True)
class DataReport:
    """What `data` of a spec gives."""

    source: str  # path, id or family
    rows: int | None  # that were read; None: generated
    problems: int  # that may be trained on
    columns: tuple[tuple[str, str], ...]  # (name, what it is used as; '': not)
    left_out: tuple[tuple[str, int, str], ...]  # (reason, rows, the first of them)
    repeated: int  # rows that repeat a problem with the same answers
    notes: tuple[str, ...]
    difficulty: tuple[float, float, float] | None  # least, median, greatest; None: of none
    difficulty_from: str
    strata: tuple[tuple[str, str, int], ...]  # (level, its bounds, problems)
    format: str  # that is read
    asked: tuple[tuple[str, int], ...]  # (format that prompts ask for; '': none, prompts)
    longest: tuple[int, str, str]  # (length, unit, problem)
    first: str  # prompt of the first problem
    first_answers: tuple[str, ...]
    faults: tuple[str, ...]  # for which a run would be refused


def data_report(spec: RunSpec, *, with_model: bool) -> DataReport:
    """The record of `spec.data`. `with_model`: prompts as the model's tokenizer has them, else as plain text.

    Raises UserError where nothing can be read at all.
    """
    source, faults, notes = spec.data.source, list[str](), list[str]()
    loaded = None
    if source is None:
        problems = read_training(spec.data)
    else:
        loaded = read_source(source, "data.source", ANY_NUMBER)
        problems = loaded.problems
        if len(loaded.bad) > spec.data.max_bad_rows:
            faults.append(
                f"{len(loaded.bad)} rows cannot be used: mend them, or leave them out with "
                f"data.max_bad_rows={len(loaded.bad)}"
            )
    if with_model:
        problems, notes = keep_short(spec, problems)
    elif spec.data.max_prompt_tokens is not None:
        notes.append("data.max_prompt_tokens needs a tokenizer: give model=path model.path=DIR")
    problems, strata = _with_strata(spec, problems, faults)
    fault = format_fault(spec, "the training data", "data", source, problems)
    known = sorted(p.difficulty for p in problems if p.difficulty is not None)
    text, longest = _prompts(spec, problems, with_model)
    asked = Counter(", ".join(asked_for(t).values()) for t in asked_texts(spec, problems))
    return DataReport(
        source=source.path if source else f"generated: {spec.data.generated.family}",  # type: ignore[union-attr]
        rows=loaded.rows if loaded else None,
        problems=len(problems),
        columns=_columns(loaded.columns, source.columns) if loaded and source else (),
        left_out=_reasons(loaded) if loaded else (),
        repeated=loaded.repeated if loaded else 0,
        notes=tuple(notes),
        difficulty=(known[0], statistics.median(known), known[-1]) if known else None,
        difficulty_from=_difficulty_from(spec),
        strata=strata,
        format=spec.format_of(source),
        asked=tuple(asked.most_common()),
        longest=longest,
        first=text(problems[0]),
        first_answers=problems[0].answers,
        faults=(*faults, *([fault] if fault else [])),
    )


def _with_strata(
    spec: RunSpec, problems: list[Problem], faults: list[str]
) -> tuple[list[Problem], tuple[tuple[str, str, int], ...]]:
    """The problems with their difficulties, and the levels that they fall into; what is wrong goes to `faults`."""
    if spec.data.difficulty_file == UNMEASURED:
        if any(p.difficulty is None for p in problems):
            return problems, ()
    else:
        try:
            problems = labelled(problems, spec.data, spec.rng_seed)
        except UserError as error:
            faults.append(str(error))
            return problems, ()
    try:
        levels = stratify(problems, spec.curriculum)
    except UserError as error:
        faults.append(str(error))
        return problems, ()
    below, out = "", []
    for name, level in spec.curriculum.levels.items():
        top = spec.curriculum.levels[name].quality_threshold
        bounds = (
            "all levels' problems" if spec.curriculum.strata == "all" else f"{below}d <= {level.quality_threshold:g}"
        )
        out.append((name, bounds, len(levels.levels[name])))
        below = f"{top:g} < " if spec.curriculum.strata == "band" else ""
    return problems, (*out, *([("", "above the last level", levels.left_out)] if levels.left_out else []))


def _columns(found: Sequence[str], used: ColumnsSpec) -> tuple[tuple[str, str], ...]:
    """What each column is used as; a struct by the parts that are."""
    roles: dict[str, list[str]] = {name: [] for name in found}
    for role in ROLES:
        path = getattr(used, role)
        if path is None:
            continue
        name = path if path in roles else path.partition(".")[0]
        more = f" ({path.removeprefix(name + '.')})" if path != name else ""
        if role == "difficulty" and used.difficulty_is == "pass_rate":
            more += " (a pass rate)"
        roles.setdefault(name, []).append(role + more)
    return tuple((name, ", ".join(said)) for name, said in roles.items())


def _reasons(loaded: Loaded) -> tuple[tuple[str, int, str], ...]:
    first = {row.reason: row.place for row in reversed(loaded.bad)}
    return tuple(
        (reason, count, first[reason]) for reason, count in Counter(r.reason for r in loaded.bad).most_common()
    )


def _difficulty_from(spec: RunSpec) -> str:
    data = spec.data
    if data.difficulty_by == "prompt_length":
        return "the prompt's length"
    if data.difficulty_file not in (None, UNMEASURED):
        return str(data.difficulty_file)
    if data.source is None:
        return "the number of operations"
    column = data.source.columns.difficulty
    return f"column {column}" if column else "nothing yet: measure it with eprli-lab difficulty"


def _prompts(
    spec: RunSpec, problems: Sequence[Problem], with_model: bool
) -> tuple[Callable[[Problem], str], tuple[int, str, str]]:
    """How a prompt is written, and the longest of them."""
    if with_model:
        encoder = encoder_of(spec)
        longest = max(problems, key=encoder.count)
        return encoder.text, (encoder.count(longest), "tokens", longest.id)

    def text(problem: Problem) -> str:
        turns = conversation(problem, spec.prompts)
        return turns[0][1] if len(turns) == 1 else "\n".join(f"{role}: {said}" for role, said in turns)

    longest = max(problems, key=lambda p: len(text(p)))
    return text, (len(text(longest)), "characters", longest.id)
