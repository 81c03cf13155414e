"""A user's objective on a few tokens: its form, and that a gradient comes through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from eprli_lab.backends.token_loss import context_for
from eprli_lab.config.extensions import takes_context
from eprli_lab.records import CovarianceSettings


def try_objective(function: Callable[..., Any], clip_low: float, clip_high: float) -> str | list[float]:
    """Losses [4] and gradients [4] of four tokens, one after the other; or what is wrong, in words."""
    new = torch.tensor([-1.0, -0.2, -2.0, -0.7], requires_grad=True)
    old = torch.tensor([-1.1, -0.9, -1.0, -0.7])
    advantages = torch.tensor([1.0, 0.5, -1.0, -0.5])
    before = [t.detach().clone() for t in (new, old, advantages)]
    more: dict[str, Any] = {}
    if takes_context(function):  # two sequences of two tokens
        more["context"] = context_for(torch.tensor([0, 0, 1, 1]), 0, CovarianceSettings())
    loss = function(new, old, advantages, clip_low, clip_high, **more)
    if not isinstance(loss, torch.Tensor) or loss.shape != new.shape:
        shape = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
        return f"answered {shape} for tokens [4]: a tensor of one loss a token is needed"
    if not torch.isfinite(loss).all() or not loss.requires_grad:
        return "answered losses that are not finite, or through which no gradient comes"
    loss.sum().backward()
    if new.grad is None or not torch.isfinite(new.grad).all() or not new.grad.any():
        return "has a gradient that is zero everywhere, or not finite"
    if any(not torch.equal(a.detach(), b) for a, b in zip((new, old, advantages), before, strict=True)):
        return "changes what it is given: make a copy"
    return [*loss.tolist(), *new.grad.tolist()]
