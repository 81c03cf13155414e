"""One uniform number for every token of every response: of the seed, the response's number and the token's, no more.

So what is drawn depends neither on how the work is cut into batches nor on which rows were finished before, and the
compiled loop (compiled/decode.cpp, `uniform_of`) draws from the same numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """The int64 with these 64 bits."""
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


GOLDEN, ROW = _signed(0x9E3779B97F4A7C15), _signed(0xD1342543DE82EF95)
FIRST, SECOND = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def streams(seed: int, first_row: int, rows: int, device: torch.device | str = "cpu") -> Tensor:
    """Keys [rows], int64, of responses number `first_row` and on."""
    start = _mixed(torch.tensor(_signed(seed + GOLDEN), device=device))
    return _mixed(start ^ (torch.arange(first_row, first_row + rows, device=device) * ROW))


def uniform(keys: Tensor, first: int, count: int = 1) -> Tensor:
    """Numbers [R, count] in [0, 1), float64, for tokens number `first` and on of the responses with these keys."""
    steps = torch.arange(first + 1, first + 1 + count, device=keys.device) * GOLDEN
    numbers: Tensor = _shifted(_mixed(keys[:, None] + steps), 11).double() * 2.0**-53
    return numbers


def _mixed(z: Tensor) -> Tensor:
    """The finalizer of splitmix64; int64 products wrap round."""
    z = (z ^ _shifted(z, 30)) * FIRST
    z = (z ^ _shifted(z, 27)) * SECOND
    mixed: Tensor = z ^ _shifted(z, 31)
    return mixed


def _shifted(z: Tensor, by: int) -> Tensor:
    """The bits moved to the right, zeros moved in."""
    moved: Tensor = (z >> by) & (2 ** (64 - by) - 1)
    return moved
