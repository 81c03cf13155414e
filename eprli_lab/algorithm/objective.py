"""The loss of a token by its objective's name, what an objective may ask for, and which tokens it holds back.

An objective is a function `(logp_new, logp_old, advantages, clip_low, clip_high)` on flat token tensors [T] that gives
losses [T]; one that has a parameter `context` is also given an ObjectiveContext.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from eprli_lab.config.extensions import resolve
from eprli_lab.records import CovarianceSettings


@dataclass(frozen=True)
class ObjectiveContext:
    """What an objective may ask beside the tokens that it is given: those of some whole sequences, all together."""

    sequence: Tensor  # int64 [T]: number, from 0, of the sequence that a token belongs to
    generator: torch.Generator  # on the CPU; its seed is another one at every call
    covariance: CovarianceSettings


def takes_context(function: Callable[..., Any]) -> bool:
    """Has the objective a parameter `context`?"""
    try:
        return "context" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # of C, or nothing that can be called: another check says so
        return False


@lru_cache(maxsize=64)
def _objective(name: str) -> tuple[Callable[..., Tensor], bool]:
    function = resolve("objective", name)
    return function, takes_context(function)


def token_losses(
    name: str,
    logp_new: Tensor,
    logp_old: Tensor,
    advantages: Tensor,
    clip_low: float,
    clip_high: float,
    context: ObjectiveContext,
) -> Tensor:
    """Losses [T] of the objective of this name (registered, or an import path)."""
    function, wants = _objective(name)
    more = {"context": context} if wants else {}
    return function(logp_new, logp_old, advantages, clip_low, clip_high, **more)
