"""Whole groups or an error: what an engine returns, checked where it comes in."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from eprli_lab.errors import EngineError
from eprli_lab.records import Completion, Sampling

ROUNDING = 1e-3  # nats by which a log-probability may be above 0


def check_group(problem: str, group: Sequence[Completion], sampling: Sampling, stops: Collection[int]) -> None:
    """Raises EngineError unless the group of this problem (an id) is one that `sampling` can have given.

    n responses; 1 to max_tokens tokens, each with a finite log-probability; ended by a stop token (or string), or by
    the limit and then exactly there.
    """
    if len(group) != sampling.n:
        raise EngineError(f"whole_groups: problem {problem} came back with {len(group)} of {sampling.n} responses")
    for i, one in enumerate(group):
        fault = _fault(one, sampling, stops)
        if fault:
            raise EngineError(f"{fault[0]}: response {i} to problem {problem} {fault[1]}")


def _fault(one: Completion, sampling: Sampling, stops: Collection[int]) -> tuple[str, str] | None:
    """(name of the check, what is wrong), or None."""
    count = len(one.tokens)
    if not 1 <= count <= sampling.max_tokens:
        return "lengths", f"has {count} tokens where 1 to {sampling.max_tokens} were asked for"
    if len(one.logprobs) != count:
        return "lengths", f"has {len(one.logprobs)} log-probabilities for {count} tokens"
    if not all(math.isfinite(x) and x <= ROUNDING for x in one.logprobs):
        return "log_probabilities", "has a log-probability that is not finite, or above 0"
    if any(t in stops for t in one.tokens[:-1]):
        return "stop_token", "goes on after a stop token"
    if one.finish == "stop" and one.tokens[-1] not in stops and not sampling.stop:
        return "stop_token", "is said to have ended with a stop token, and its last token is none"
    if one.finish == "length" and count != sampling.max_tokens:
        return "stop_reason", f"is said to have met the limit of {sampling.max_tokens} tokens with {count}"
    if one.finish not in ("stop", "length"):
        return "stop_reason", f"ended for the reason {one.finish!r}: only a stop token and the limit are ends"
    return None
