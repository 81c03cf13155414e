"""The first prompt of each level and suite, and where training and evaluation ask differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from eprli_lab.backends.local.policy import check_source
from eprli_lab.backends.pretrained import read_generation_config
from eprli_lab.backends.tokenization import stop_tokens
from eprli_lab.data.conversation import at_level, conversation
from eprli_lab.data.duplicates import FRAME, shared_length
from eprli_lab.escaping import one_line, visible
from eprli_lab.records import Problem
from eprli_lab.training.difficulty import measured_otherwise
from eprli_lab.training.problems import RunProblems, encoder_of
from eprli_lab.training.programs import refuse_idle, sandbox_notes

if TYPE_CHECKING:
    from eprli_lab.config.data import SourceSpec
    from eprli_lab.config.prompts import PromptsSpec
    from eprli_lab.config.spec import RunSpec

LOOKED_AT = 256  # problems of a level or suite that are compared among themselves
WIDTH = 100  # characters of a prompt that are printed
VARIES = "(varies)"


@dataclass(frozen=True)
class FirstPrompt:
    """The prompt of the first problem of a level or suite."""

    where: str  # "level l1", "suite aime24"
    problem: str  # id
    text: str
    tokens: int
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Frame:
    """Everything in the prompts of a level or suite that is not the problem."""

    system: str  # '': none
    turns: str  # further turns before the question
    before: str  # in the last user message, before the problem
    after: str  # and behind it


@dataclass(frozen=True)
class PromptReport:
    """What a run asks, to be shown before it starts."""

    template: bool  # the prompts are rendered by the model's chat template
    prompts: tuple[FirstPrompt, ...]  # levels, then suites
    warnings: tuple[str, ...]  # where training and evaluation ask differently, or labels are another policy's
    left_out: tuple[str, ...]  # problems that were left out, and those that suites share

    def lines(self) -> list[str]:
        """For a terminal: one line a prompt, then the notes."""
        kind = "the model's chat template" if self.template else "plain text"
        width = max(len(p.where) for p in self.prompts)
        out = [f"first prompts ({kind})"]
        out += [f"  {p.where:<{width}}  {p.tokens:>5} tokens  {_short(p.text)}" for p in self.prompts]
        return [*out, *(f"warning: {one_line(note)}" for note in self.notes())]

    def notes(self) -> list[str]:
        """What was left out, and where training and evaluation ask differently."""
        return [*self.left_out, *self.warnings]

    def content(self) -> dict[str, Any]:
        """Plain data, for prompts.json."""
        return asdict(self)


def prompt_report(spec: RunSpec, problems: RunProblems) -> PromptReport:
    """First prompts, and a warning for each way in which a level and a suite differ around the problem itself."""
    encoder = encoder_of(spec)
    firsts, frames = [], {}
    for name, level in spec.curriculum.levels.items():
        asked = at_level(problems.strata.levels[name][:LOOKED_AT], level.prompts)
        firsts.append((f"level {name}", asked[0]))
        frames[f"level {name}"] = frame(asked, spec.prompts, spec.data.source)
    for name, suite in spec.evaluation.suites.items():
        asked = problems.suites[name][:LOOKED_AT]
        firsts.append((f"suite {name}", asked[0]))
        frames[f"suite {name}"] = frame(asked, spec.prompts, suite.source)
    prompts = []
    for where, problem in firsts:
        ids = tuple(encoder.encode(problem))
        prompts.append(FirstPrompt(where, problem.id, encoder.text(problem), len(ids), ids))
    everything = [p for of in (problems.strata.levels, problems.suites) for some in of.values() for p in some]
    refuse_idle(spec.verify, everything)
    programs = sandbox_notes(spec.verify, everything)
    warnings = (*differences(frames), *endless_turns(spec), *measured_otherwise(spec), *programs)
    return PromptReport(encoder.template is not None, tuple(prompts), warnings, problems.left_out)


def endless_turns(spec: RunSpec) -> tuple[str, ...]:
    """A sentence where the chat template ends a turn with a token at which no response would end."""
    encoder = encoder_of(spec)
    end = encoder.turn_end()
    if end is None or spec.model.path is None:  # the tokenizer of a warm-started policy has no template
        return ()
    where = check_source(spec.model, None)
    assert where is not None
    if end in stop_tokens(encoder.tokenizer, read_generation_config(where)):
        return ()
    token = encoder.tokenizer.convert_ids_to_tokens(end)
    return (
        f"prompts: the chat template ends a turn with {token}, which neither the tokenizer nor the generation config "
        "names as an end of sequence: a response in the template's form would go on to its limit; add it to "
        "eos_token_id in the model's generation_config.json",
    )


def frame(problems: Sequence[Problem], prompts: PromptsSpec, source: SourceSpec | None) -> Frame:
    """What stands around these problems: the config's part as it is written, and what all of a file's texts share.

    The second is how an instruction inside a data set's own questions is seen: at least 16 characters, up to a space
    or line's end, at the beginning or end of at least 8 problems.
    """
    conversations = [conversation(p, prompts) for p in problems]
    systems = {c[0][1] if c[0][0] == "system" else "" for c in conversations}
    turns = {"\n".join(f"{role}: {text}" for role, text in c[:-1] if role != "system") for c in conversations}
    texts = [c[-1][1] for c in conversations]
    templated = source is not None and not problems[0].messages
    before, _, after = (source.prompt_template if source and templated else "{prompt}").partition("{prompt}")
    after += prompts.suffix if problems[0].suffix is None else problems[0].suffix
    texts = [t.removeprefix(before).removesuffix(after) for t in texts]
    if source is not None and len(set(texts)) >= FRAME[0]:
        start, end = _shared(texts), _shared([t[::-1] for t in texts])[::-1]
        before, after = before + start, end + after
    system, further = (next(iter(s)) if len(s) == 1 else VARIES for s in (systems, turns))
    return Frame(system, further, before, after)


def differences(frames: dict[str, Frame]) -> tuple[str, ...]:
    """A sentence for each pair of levels and suites that are asked differently; equal ones are named together."""
    levels, suites = (_by_frame(frames, kind) for kind in ("level", "suite"))
    out = []
    for a, asked in levels.items():
        for b, evaluated in suites.items():
            parts = [
                f"{what}: {_quoted(x)} against {_quoted(y)}"
                for what, x, y in (
                    ("the system prompt", a.system, b.system),
                    ("the turns before the question", a.turns, b.turns),
                    ("the text before the problem", a.before, b.before),
                    ("the text after the problem", a.after, b.after),
                )
                if x != y
            ]
            if parts:
                out.append(f"prompts: {_named(asked)} and {_named(evaluated)} differ in {'; in '.join(parts)}")
    return tuple(out)


def _by_frame(frames: dict[str, Frame], kind: str) -> dict[Frame, list[str]]:
    out: dict[Frame, list[str]] = {}
    for where, value in frames.items():
        if where.startswith(kind):
            out.setdefault(value, []).append(where)
    return out


def _named(places: list[str]) -> str:
    kind = places[0].partition(" ")[0]
    names = ", ".join(p.partition(" ")[2] for p in places)
    return f"{kind}{'s' if len(places) > 1 else ''} {names}"


def _shared(texts: Sequence[str]) -> str:
    """What all texts begin with, up to a space or line's end; '' where it is too short to be an instruction."""
    common = texts[0][: shared_length(texts)]
    cut = max(common.rfind(" "), common.rfind("\n")) + 1
    return common[:cut] if len(common[:cut].strip()) >= FRAME[1] else ""


def _quoted(text: str) -> str:
    return _short(repr(text), 60) if text else "none"


def _short(text: str, width: int = WIDTH) -> str:
    """On one line, its middle left out where it is long."""
    line = visible(text).replace("\n", "\\n")
    if len(line) <= width:
        return line
    half = (width - 5) // 2
    return f"{line[:half]} ... {line[-half:]}"
