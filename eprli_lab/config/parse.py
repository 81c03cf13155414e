"""A plain tree to a spec, or one sentence."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ValidationError

from eprli_lab.config.backend import BACKENDS
from eprli_lab.config.own import pointed
from eprli_lab.config.spec import RunSpec, TrackingSpec
from eprli_lab.config.values import check_values
from eprli_lab.errors import UserError, nearest, reason, shortened


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


def parse_tracking(key: str, **values: Any) -> TrackingSpec:
    """Where runs are logged. Raises UserError; `key`: by what name the user gives the URI."""
    try:
        return TrackingSpec(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = key if first["loc"] == ("uri",) else f"tracking.{'.'.join(map(str, first['loc']))}"
        raise UserError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None


def parse_json(text: str | bytes, where: str) -> RunSpec:
    """The spec that a JSON text holds; `where` it stands, for messages. Raises UserError."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: more digits than Python reads, too
        raise UserError(f"{where}: holds no JSON ({reason(error)}): take the spec as it was written") from None
    if not isinstance(tree, dict):
        raise UserError(f"{where}: holds no spec, but {shortened(repr(tree))}: take the spec as it was written")
    return parse_spec(tree)


def parse_spec(tree: dict[str, Any]) -> RunSpec:
    """Validate a plain tree. Raises UserError with one sentence that names the key, the value, the rule, and the file
    of ./conf that set it where one did."""
    try:
        return _validated(tree)
    except UserError as error:
        raise UserError(pointed(str(error), tree)) from None


def _validated(tree: dict[str, Any]) -> RunSpec:
    check_values(tree)
    try:
        return RunSpec.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        loc = first["loc"][:-2] if first["loc"][-1:] == ("[key]",) else first["loc"]  # the message has the name
        if loc[:1] == ("backend",) and len(loc) > 1 and loc[1] in BACKENDS:
            kind, loc = str(loc[1]), (loc[0], *loc[2:])
        where = shortened(".".join(str(p) for p in loc)) or "config"
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
            message = f"{message[0].lower()}{message[1:]}, not {shortened(repr(first['input']))}"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise UserError(f"{where}: {message}{more}") from None
