"""AdamW on float32 weights, whatever the policy computes in.

A step of 1e-6 is lost on a bfloat16 weight (8 bits of precision: nothing below 0.4% of it arrives). So where the policy
computes in a lower precision the optimizer holds float32 master copies: gradients are summed up in float32, the masters
are stepped, and the policy gets them rounded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eprli_lab.backends.tensors import read_tensors
from eprli_lab.config.spec import OptimSpec
from eprli_lab.errors import UserError
from eprli_lab.files import read_json

KEYS = ("master", "exp_avg", "exp_avg_sq")  # of a parameter's tensors, by its number: `3.exp_avg`


class MasterAdamW:
    """Of a policy's trainable parameters, in their order."""

    def __init__(self, policy: Any, optim: OptimSpec) -> None:
        self.weights = [p for p in policy.parameters() if p.requires_grad]
        self.masters = [p if p.dtype == torch.float32 else p.detach().float() for p in self.weights]
        for weight, master in zip(self.weights, self.masters, strict=True):
            if master is not weight:
                weight.register_post_accumulate_grad_hook(_into(master))
        self.inner = torch.optim.AdamW(
            self.masters, lr=optim.learning_rate, betas=optim.betas, weight_decay=optim.weight_decay, fused=True
        )

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.inner.zero_grad(set_to_none=True)

    def clip(self, limit: float) -> float:
        """The gradient's norm, before it is scaled down to `limit`."""
        return float(torch.nn.utils.clip_grad_norm_(self.masters, limit))

    def step(self, learning_rate: float) -> None:
        """One step at this rate; the policy's weights follow."""
        for group in self.inner.param_groups:
            group["lr"] = learning_rate
        self.inner.step()
        self._round()

    @torch.no_grad()
    def _round(self) -> None:
        for weight, master in zip(self.weights, self.masters, strict=True):
            if master is not weight:
                weight.copy_(master)

    def state(self) -> tuple[dict[str, Tensor], dict[str, float]]:
        """(tensors, steps): moments, and the masters where they are no weights of the policy, by parameter."""
        tensors: dict[str, Tensor] = {}
        steps: dict[str, float] = {}
        for i, (weight, master) in enumerate(zip(self.weights, self.masters, strict=True)):
            if master is not weight:
                tensors[f"{i}.master"] = master
            if master in self.inner.state:
                own = self.inner.state[master]
                tensors |= {f"{i}.exp_avg": own["exp_avg"], f"{i}.exp_avg_sq": own["exp_avg_sq"]}
                steps[str(i)] = float(own["step"])
        return tensors, steps

    def restore(self, tensors: dict[str, Tensor], steps: dict[str, float]) -> None:
        """Take back what `state` gave. Raises UserError as `check` does."""
        self.check(tensors, steps)
        with torch.no_grad():
            for i, master in enumerate(self.masters):
                if f"{i}.master" in tensors:
                    master.copy_(tensors[f"{i}.master"])
        state = {
            int(i): {
                "step": torch.tensor(step),
                "exp_avg": tensors[f"{i}.exp_avg"],
                "exp_avg_sq": tensors[f"{i}.exp_avg_sq"],
            }
            for i, step in steps.items()
        }
        self.inner.load_state_dict({"state": state, "param_groups": self.inner.state_dict()["param_groups"]})
        self._round()

    def check(self, tensors: dict[str, Tensor], steps: dict[str, float]) -> None:
        """Raises UserError for the state of another precision or model, and for one that is not whole."""
        known = {f"{i}.{key}": master for i, master in enumerate(self.masters) for key in KEYS}
        for name, tensor in tensors.items():
            if name not in known or tensor.shape != known[name].shape:
                raise UserError("the optimizer's state is that of another model")
            if tensor.dtype != torch.float32:
                raise UserError(f"the optimizer's state holds numbers of another kind ({tensor.dtype})")
        for i, (weight, master) in enumerate(zip(self.weights, self.masters, strict=True)):
            if (f"{i}.master" in tensors) != (master is not weight):
                raise UserError("the optimizer's state is that of a run with another model.dtype")
        moments = {name for name in tensors if not name.endswith(".master")}
        if moments != {f"{i}.{key}" for i in steps for key in KEYS[1:]}:
            raise UserError("the optimizer's state has not the moments of the steps that it counts")


def write_optimizer(optimizer: MasterAdamW, folder: Path) -> None:
    """`folder/optimizer.safetensors`: its tensors; `folder/optimizer.json`: its steps."""
    from safetensors.torch import save_file

    tensors, steps = optimizer.state()
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "optimizer.safetensors")
    (folder / "optimizer.json").write_text(json.dumps({"steps": steps}))


def read_optimizer(folder: Path) -> tuple[dict[str, Tensor], dict[str, float]]:
    """What `write_optimizer` wrote: tensors, and AdamW's steps so far by a parameter's number.

    Raises UserError for files that are damaged or hold something else.
    """
    tensors = read_tensors(folder / "optimizer.safetensors")
    path, remedy = folder / "optimizer.json", "it is not a whole checkpoint"
    content = read_json(path, remedy)
    steps = content.get("steps") if isinstance(content, dict) else None
    if not isinstance(steps, dict) or not all(isinstance(v, (int, float)) and v >= 0 for v in steps.values()):
        raise UserError(f"{path} is damaged (no steps of an optimizer): {remedy}")
    return tensors, steps


def _into(master: Tensor) -> Callable[[Tensor], None]:
    """A hook that moves a weight's gradient to its master, in float32, as soon as it is there."""

    def move(weight: Tensor) -> None:
        assert weight.grad is not None
        gradient = weight.grad.float()
        weight.grad = None
        master.grad = gradient if master.grad is None else master.grad.add_(gradient)

    return move
