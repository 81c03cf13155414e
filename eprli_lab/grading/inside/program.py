"""Runs an untrusted program, or the tests of one: lines of JSON in, lines of JSON out, on one file descriptor.

The process is locked before it reads anything. A program is asked call by call and answers with plain values; what is
expected of it never comes into its process. Tests that are Python themselves (`check(candidate)`) run in a process of
their own, where `candidate` asks the program's.
"""

from __future__ import annotations

import builtins
import json
import os
import random
from collections.abc import Callable
from typing import Any

from eprli_lab.grading.inside.codec import decode, encode

PIPE = 3


class Lines:
    """Messages on PIPE."""

    def __init__(self) -> None:
        self.rest = b""

    def read(self) -> dict[str, Any]:
        """The next message. Raises EOFError when the other end is closed."""
        parts = [self.rest]
        while b"\n" not in parts[-1]:
            parts.append(os.read(PIPE, 1 << 16))
            if not parts[-1]:
                raise EOFError
        line, _, self.rest = b"".join(parts).partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def send(self, message: dict[str, Any]) -> None:
        """One message."""
        line = json.dumps(message).encode() + b"\n"
        while line:
            line = line[os.write(PIPE, line) :]


def serve() -> None:
    """What the first message asks for; ends when it is done or the other end is closed."""
    random.seed(0)
    lines = Lines()
    lines.send({"locked": True})
    first = lines.read()
    if "test" in first:
        lines.send({"passed": _tests(lines, first)})
    else:
        _program(lines, first)


def _run(source: str, names: dict[str, Any], file: str) -> None:
    exec(compile(source, file, "exec"), names)


def _program(lines: Lines, first: dict[str, Any]) -> None:
    """Run its text, then answer calls of its function."""
    names: dict[str, Any] = {"__name__": "__program__"}
    try:
        _run(first["source"], names, "<program>")
        function = names[first["entry"]]
    except BaseException as error:
        lines.send({"raised": type(error).__name__})
        return
    lines.send({"ready": True})
    while True:
        positional, named = lines.read()["call"]
        try:
            reply = {"value": encode(function(*decode(positional), **decode(named)))}
        except BaseException as error:
            reply = {"raised": type(error).__name__}
        lines.send(reply)


def _tests(lines: Lines, first: dict[str, Any]) -> bool:
    """Does `check(candidate)` of the tests end without an exception?"""
    names: dict[str, Any] = {"__name__": "__tests__"}
    try:
        _run(first["before"], names, "<before>")
        names[first["entry"]] = _candidate(lines)
        _run(first["test"], names, "<test>")
        names["check"](names[first["entry"]])
    except BaseException:
        return False
    return True


def _candidate(lines: Lines) -> Callable[..., Any]:
    def candidate(*arguments: Any, **named: Any) -> Any:
        lines.send({"call": [encode(list(arguments)), encode(named)]})
        reply = lines.read()
        if "value" in reply:
            return decode(reply["value"])
        kind = getattr(builtins, str(reply["raised"]), None)
        raise kind() if isinstance(kind, type) and issubclass(kind, Exception) else RuntimeError()

    return candidate
