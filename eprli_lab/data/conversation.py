"""Conversations: read from the cell of a data file, and made from a problem and the prompts of a run or level."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Any

from eprli_lab.config.prompts import LevelPromptsSpec, PromptsSpec
from eprli_lab.errors import UserError, nearest
from eprli_lab.records import Problem

Message = tuple[str, str]  # (role, content)
ROLES = ("system", "user", "assistant")
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


# ------------------------------------------------------------------ from a data file


def read_conversation(cell: Any, where: str) -> tuple[Message, ...] | None:
    """The messages that a cell holds; None where it is no conversation (a text, a number).

    Read: a list (also an array) of {role, content}; columns {role: [...], content: [...]} of one conversation; either
    as a JSON text. Content is a text, or a list of parts that are all text. `where`: place and column, for messages.
    Raises UserError for what looks like a conversation and cannot be asked.
    """
    if isinstance(cell, str):
        cell = _from_json(cell, where)
    if hasattr(cell, "tolist"):  # an array of numpy
        cell = cell.tolist()
    if isinstance(cell, dict) and {"role", "content"} <= cell.keys():
        cell = [cell] if isinstance(cell["role"], str) else _from_columns(cell, where)
    if not isinstance(cell, list | tuple):
        return None
    if not cell:
        raise UserError(f"{where}: the chat prompt is empty")
    messages = tuple(_message(m, f"{where}: message {i}") for i, m in enumerate(cell, 1))
    for i, (role, _) in enumerate(messages[1:], 2):
        if role == "system":
            raise UserError(f"{where}: message {i}: a system message stands first or not at all")
    role, content = messages[-1]
    if role == "assistant":
        raise UserError(
            f"{where}: the conversation ends with an assistant turn, and a response that goes on from it is not "
            "supported: end it with the user's question"
        )
    if role != "user" or not content.strip():
        what = "a system message" if role != "user" else "an empty user message"
        raise UserError(f"{where}: the conversation ends with {what}: end it with the user's question")
    return messages


def _from_json(text: str, where: str) -> Any:
    """The conversation that a text holds as JSON; None for any other text."""
    if not re.match(r"""\s*(\[\s*)?\{\s*["'](role|content)["']\s*:""", text):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if text.lstrip().startswith("["):
            raise UserError(
                f"{where}: a text that begins like a conversation and is not valid JSON: write it with json.dumps"
            ) from None
        return None


def _from_columns(cell: dict[str, Any], where: str) -> list[dict[str, Any]]:
    roles, contents = cell["role"], cell["content"]
    roles, contents = ([*v] if isinstance(v, list | tuple) or hasattr(v, "tolist") else [] for v in (roles, contents))
    if len(roles) != len(contents):
        raise UserError(f"{where}: the chat prompt has {len(roles)} roles and {len(contents)} contents")
    return [{"role": r, "content": c} for r, c in zip(roles, contents, strict=True)]


def _message(message: Any, where: str) -> Message:
    if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
        raise UserError(f"{where}: a chat prompt is a list of {{role, content}}")
    role = message["role"]
    if role not in ROLES:
        raise UserError(f"{where}: the role {role!r} is unknown{nearest(str(role), ROLES)}")
    return role, _content(message["content"], where)


def _content(content: Any, where: str) -> str:
    if hasattr(content, "tolist"):
        content = content.tolist()
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple) or not content:
        raise UserError(f"{where}: the content is no text but {_kind(content)}")
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else None
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, dict) else None
            raise UserError(f"{where}: a part of the content is {kind or _kind(part)}, and only text can be asked")
        texts.append(text)
    return "".join(texts)


def _kind(value: Any) -> str:
    return "nothing (null)" if value is None else f"a {type(value).__name__}"
