"""Conversations in the cells of a data file: the turns that ask, and the solution that follows them."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from eprli_lab.data.conversation import Message
from eprli_lab.data.rows import RowError, parse_json
from eprli_lab.errors import nearest

ROLES = ("system", "user", "assistant")
SPEAKERS = {"human": "user", "gpt": "assistant"} | {role: role for role in ROLES}  # of turns {from, value}
TOOLS = ("tool", "function", "function_call", "function_response", "observation", "ipython")
_BEGINS = re.compile(r"""\s*(\[\s*)?\{\s*["'](role|content|from|value)["']\s*:""")
_PAIRS = (("role", "content"), ("from", "value"))


class Conversation(NamedTuple):
    """What a cell holds."""

    messages: tuple[Message, ...]  # up to the last turn of the user
    solution: str  # what assistant turns behind it say; '' where there are none


def read_conversation(cell: Any) -> Conversation | None:
    """The conversation that a cell holds; None where it is none (a text, a number).

    Read: a list (also an array) of {role, content} or {from, value}; columns {role: [...], content: [...]} of one
    conversation; either as a JSON text. Content is a text, or a list of parts that are all text. Assistant turns behind
    the last question are its solution, no part of the prompt. Raises RowError for what looks like a conversation and
    cannot be asked.
    """
    if isinstance(cell, str):
        cell = _from_json(cell)
    if hasattr(cell, "tolist"):  # an array of numpy
        cell = cell.tolist()
    if isinstance(cell, dict):
        pair = next((p for p in _PAIRS if set(p) <= cell.keys()), None)
        if pair is not None:
            cell = [cell] if isinstance(cell[pair[0]], str) else _from_columns(cell, *pair)
    if not isinstance(cell, list | tuple):
        return None
    if not cell:
        raise RowError("the chat prompt is empty")
    turns = [_turn(turn, number) for number, turn in enumerate(cell, 1)]
    solution = []
    while turns and turns[-1][0] == "assistant":
        solution.append(turns.pop()[1])
    messages = tuple((role, _said(role, content, number)) for number, (role, content) in enumerate(turns, 1))
    for number, (role, _) in enumerate(messages[1:], 2):
        if role == "system":
            raise RowError(f"message {number}: a system message stands first or not at all", "a system message within")
    if not messages:
        raise RowError("the conversation holds no turn of a user: begin it with the user's question", "no question")
    role, said = messages[-1]
    if role != "user" or not said.strip():
        what = "a system message" if role != "user" else "an empty user message"
        raise RowError(f"the conversation ends with {what}: end it with the user's question", "no question")
    return Conversation(messages, "\n".join(_content(s, "the solution") for s in reversed(solution) if s is not None))


def _from_json(text: str) -> Any:
    """The conversation that a text holds as JSON; None for any other text."""
    if not _BEGINS.match(text):
        return None
    try:
        return parse_json(text)
    except RowError:
        if text.lstrip().startswith("["):
            raise RowError(
                "a text that begins like a conversation and is not valid JSON: write it with json.dumps",
                "a conversation that is not valid JSON",
            ) from None
        return None


def _from_columns(cell: dict[str, Any], role: str, content: str) -> list[dict[str, Any]]:
    roles, contents = cell[role], cell[content]
    roles, contents = ([*v] if isinstance(v, list | tuple) or hasattr(v, "tolist") else [] for v in (roles, contents))
    if len(roles) != len(contents):
        raise RowError(
            f"the chat prompt has {len(roles)} roles and {len(contents)} contents", "unequal columns of a conversation"
        )
    return [{"role": r, "content": c} for r, c in zip(roles, contents, strict=True)]


def _turn(turn: Any, number: int) -> tuple[str, Any]:
    """Role and content of a turn, as it stands. Raises RowError."""
    if hasattr(turn, "tolist"):
        turn = turn.tolist()
    where = f"message {number}"
    # a parquet file may give every turn both pairs of keys, one of them null
    pairs = [p for p in _PAIRS if isinstance(turn, dict) and p[0] in turn and (p[1] in turn or "ground_truth" in turn)]
    pair = next((p for p in pairs if turn[p[0]] is not None), pairs[0] if pairs else None)
    if pair is None:
        raise RowError(f"{where}: a chat prompt is a list of {{role, content}}", "a turn that is not {role, content}")
    role = turn[pair[0]]
    if role in TOOLS or _given(turn.get("tool_calls")) or _given(turn.get("function_call")):
        raise RowError(f"{where}: tools are called, and only text can be asked", "tools")
    known = SPEAKERS if pair[0] == "from" else {r: r for r in ROLES}
    if not isinstance(role, str) or role not in known:
        raise RowError(f"{where}: the role {role!r:.80} is unknown{nearest(str(role)[:80], known)}", "an unknown role")
    return known[role], turn.get(pair[1])


def _given(value: Any) -> bool:
    return value is not None and value != [] and value != {} and value != ""


def _said(role: str, content: Any, number: int) -> str:
    if content is None and role == "assistant":
        raise RowError(f"message {number}: an assistant turn before the question says nothing", "an empty turn")
    return _content(content, f"message {number}")


def _content(content: Any, where: str) -> str:
    if hasattr(content, "tolist"):
        content = content.tolist()
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple) or not content:
        raise RowError(f"{where}: the content is no text but {_kind(content)}", "content that is no text")
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else None
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, dict) else None
            said = str(kind or _kind(part))[:80]
            raise RowError(f"{where}: a part of the content is {said}, and only text can be asked", f"content: {said}")
        texts.append(text)
    return "".join(texts)


def _kind(value: Any) -> str:
    return "nothing (null)" if value is None else f"a {type(value).__name__}"
