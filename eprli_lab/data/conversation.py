"""The conversation that asks a problem, made from it and the prompts of a run or level (chat.py: read from a file)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from eprli_lab.config.prompts import LevelPromptsSpec, PromptsSpec
from eprli_lab.errors import UserError
from eprli_lab.records import Problem

Message = tuple[str, str]  # (role, content)
NO_OVERRIDE = LevelPromptsSpec()


def at_level(problems: Sequence[Problem], prompts: LevelPromptsSpec) -> list[Problem]:
    """The problems as this level asks them; the very same ones where it says nothing of its own."""
    if prompts == NO_OVERRIDE:
        return list(problems)
    return [dataclasses.replace(p, system=prompts.system, suffix=prompts.suffix) for p in problems]


def system_of(problem: Problem, prompts: PromptsSpec) -> str:
    """The system prompt that the level, or else the run, puts before the problem; '': none."""
    return prompts.system if problem.system is None else problem.system


def suffix_of(problem: Problem, prompts: PromptsSpec) -> str:
    """What the level, or else the run, puts behind the problem; '': nothing."""
    return prompts.suffix if problem.suffix is None else problem.suffix


def conversation(problem: Problem, prompts: PromptsSpec) -> list[Message]:
    """The messages of a prompt: a plain-text problem is one user message; the suffix ends the last user message.

    Raises UserError where a system prompt was asked for and the problem brings one of its own.
    """
    messages = list(problem.messages) or [("user", problem.prompt)]
    system = system_of(problem, prompts)
    if system and any(role == "system" for role, _ in messages):
        raise UserError(
            f"prompts.system: problem {problem.id} of {problem.source or 'the data'} brings a system message of its "
            "own, and a prompt has one: leave prompts.system out, or take the message out of the data"
        )
    last = max((i for i, (role, _) in enumerate(messages) if role == "user"), default=len(messages) - 1)
    role, content = messages[last]
    messages[last] = (role, content + suffix_of(problem, prompts))
    return [("system", system), *messages] if system else messages
