"""From hidden states to log-probabilities without the logits of all tokens at once.

[T, V] of 3,000 tokens at a vocabulary of 152,000 is 1.8 GB in float32, and a plain log-softmax with its gradient holds
it three and a half times. Here a few tokens' logits live at a time; the backward pass computes them again.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ELEMENTS = 2**25  # of the logits that live at once (128 MB in float32)


@dataclass(frozen=True)
class Head:
    """The last step of a causal LM: logits = cap * tanh((W h + b) / cap), or W h + b without a cap."""

    body: Any  # the module whose last hidden states are h
    weight: Tensor  # [V, H]
    bias: Tensor | None  # [V]
    cap: float | None  # config.final_logit_softcapping

    def logits(self, hidden: Tensor) -> Tensor:
        """Float32 logits [T, V] of hidden states [T, H]."""
        found = F.linear(hidden, self.weight, self.bias).float()
        return found if self.cap is None else found.div_(self.cap).tanh_().mul_(self.cap)


@torch.no_grad()
def head_of(model: Any) -> Head | None:
    """The model's head, or None where its logits are made in another way (tried on three tokens)."""
    body, linear = getattr(model, model.base_model_prefix, None), model.get_output_embeddings()
    if body is None or type(linear) is not torch.nn.Linear:
        return None
    cap = getattr(model.config, "final_logit_softcapping", None)
    head = Head(body, linear.weight, linear.bias, cap)
    ids = torch.arange(3, device=model.device)[None]
    hidden = getattr(body(input_ids=ids, use_cache=False), "last_hidden_state", None)
    if hidden is None or hidden.shape[-1] != linear.weight.shape[1]:
        return None
    whole = model(input_ids=ids, use_cache=False).logits[0].float()
    return head if torch.allclose(head.logits(hidden[0]), whole, rtol=1e-3, atol=1e-5) else None


def accepted(module: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of the arguments that the module's forward pass takes (some models take no position_ids)."""
    names = _parameters(type(module).forward)
    return {k: v for k, v in arguments.items() if k in names}


@lru_cache(maxsize=64)
def _parameters(forward: Callable[..., Any]) -> frozenset[str]:
    """Names: looked up once a class, as a decoder asks with every token."""
    return frozenset(inspect.signature(forward).parameters)


def token_scores(
    head: Head, hidden: Tensor, targets: Tensor, temperature: float, entropy_gradient: bool = False
) -> tuple[Tensor, Tensor]:
    """(log-probabilities of the targets [T], with a gradient; entropies [T]) of hidden states [T, H], nats.

    A gradient comes through the entropies where it is asked for.
    """
    apply: Any = _Scores.apply
    found: tuple[Tensor, Tensor] = apply(hidden, head.weight, head.bias, targets, head, temperature, entropy_gradient)
    return found


class _Scores(torch.autograd.Function):
    """log softmax(logits / temperature)[target], a chunk of tokens at a time, forward and backward."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        head: Head,
        temperature: float,
        entropy_gradient: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.head, ctx.temperature, ctx.targets, ctx.entropic = head, temperature, targets, entropy_gradient
        found, entropies = hidden.new_empty(len(hidden), dtype=torch.float32), []
        cuts, scores = _cuts(len(hidden), len(weight)), None
        for cut in cuts:
            logits = head.logits(hidden[cut])
            logits = logits if temperature == 1.0 else logits.div_(temperature)
            scores = logits.sub_(logits.logsumexp(-1, keepdim=True))
            found[cut] = scores.gather(1, targets[cut, None])[:, 0]
            entropies.append(-(scores.exp().mul_(scores)).sum(-1))
        # a single chunk is kept for the backward pass: a small vocabulary pays for no second computation
        ctx.save_for_backward(hidden, scores if len(cuts) == 1 and head.cap is None else None)
        entropy = torch.cat(entropies)
        if not entropy_gradient:
            ctx.mark_non_differentiable(entropy)
        return found, entropy

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, of_entropy: Tensor) -> Any:
        head: Head = ctx.head
        hidden, kept = ctx.saved_tensors
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        to_hidden = torch.empty_like(hidden) if wants_hidden else None
        to_weight = torch.zeros_like(head.weight, dtype=torch.float32) if wants_weight else None
        to_bias = torch.zeros_like(head.bias, dtype=torch.float32) if wants_bias and head.bias is not None else None
        for cut in _cuts(len(hidden), len(head.weight)):
            scale, slope = gradient[cut, None] / ctx.temperature, None
            if kept is None:
                logits = head.logits(hidden[cut])
                slope = None if head.cap is None else 1 - (logits / head.cap) ** 2  # of the cap, at its result
                logits = logits if ctx.temperature == 1.0 else logits.div_(ctx.temperature)
                found = torch.softmax(logits, -1)
            else:
                found = kept.exp()
            from_entropy = None
            if ctx.entropic:
                scores = kept if kept is not None else logits.log_softmax(-1)
                from_entropy = entropy_slope(found, scores).mul_(of_entropy[cut, None] / ctx.temperature)
            found = found.mul_(-scale)
            found.scatter_add_(1, ctx.targets[cut, None], scale)
            found = found if from_entropy is None else found.add_(from_entropy)
            found = found if slope is None else found.mul_(slope)
            low = found.to(head.weight.dtype)
            if to_hidden is not None:
                to_hidden[cut] = low @ head.weight
            if to_weight is not None:
                if low.dtype == torch.float32:
                    to_weight.addmm_(low.T, hidden[cut])
                else:
                    to_weight += low.T @ hidden[cut]
            if to_bias is not None:
                to_bias += found.sum(0)
        cast = [None if x is None else x.to(head.weight.dtype) for x in (to_weight, to_bias)]
        return to_hidden, *cast, None, None, None, None


def entropy_slope(probabilities: Tensor, scores: Tensor) -> Tensor:
    """dH / dz [T, V] of the entropy by the logits: -p (log p + H); `scores` are log p. Where p is 0 it is 0."""
    weighted = (probabilities * scores).nan_to_num_(0.0)
    return weighted.sum(-1, keepdim=True).mul(probabilities).sub_(weighted)


def _cuts(tokens: int, vocabulary: int) -> list[slice]:
    step = max(1, ELEMENTS // vocabulary)
    return [slice(i, i + step) for i in range(0, tokens, step)]
