"""Plain values as JSON, for both ends of a pipe that one end does not trust.

None, booleans, integers of any size, floats to the bit, complex numbers, texts, bytes, lists, tuples, sets and dicts; a
value of another type is refused, so what is read is never an object with methods of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SMALL = 1 << 53  # larger integers travel in hexadecimal, which has no limit of digits


def encode(value: Any) -> Any:
    """The value as JSON's types. Raises TypeError for a value that is not plain."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, int):
        return int(value) if -SMALL < value < SMALL else {"int": hex(value)}
    if isinstance(value, float):
        return {"float": float.hex(value)}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, list):
        return [encode(v) for v in value]
    if isinstance(value, dict):
        return {"dict": [[encode(k), encode(v)] for k, v in value.items()]}
    for name, kind in (("tuple", tuple), ("set", set), ("frozenset", frozenset)):
        if isinstance(value, kind):
            return {name: [encode(v) for v in value]}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, complex):
        return {"complex": [float.hex(value.real), float.hex(value.imag)]}
    raise TypeError(f"a value of type {type(value).__name__} is not plain")


def decode(value: Any) -> Any:
    """The plain value that was encoded. Raises ValueError for what nothing is encoded as."""
    if isinstance(value, list):
        return [decode(v) for v in value]
    if not isinstance(value, dict):
        return value
    try:
        [(name, inner)] = value.items()
        return _READ[name](inner)
    except RecursionError:
        raise
    except Exception:  # whatever nonsense a program sends, it is the program's, and never ours
        raise ValueError("not an encoded value") from None


_READ: dict[str, Callable[[Any], Any]] = {
    "int": lambda v: int(v, 16),
    "float": float.fromhex,
    "dict": lambda v: {decode(k): decode(w) for k, w in v},
    "tuple": lambda v: tuple(map(decode, v)),
    "set": lambda v: set(map(decode, v)),
    "frozenset": lambda v: frozenset(map(decode, v)),
    "bytes": bytes.fromhex,
    "complex": lambda v: complex(float.fromhex(v[0]), float.fromhex(v[1])),
}
