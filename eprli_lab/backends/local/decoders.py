"""Decoders: the forward pass of sampling with its KV cache; prefill once a prompt, finished rows compacted away.

`Qwen3Decoder` computes the Qwen3 layers on fused weights (the default policies; about 3x `generate()`), `AnyDecoder`
calls any transformers causal LM with its own cache. Sampler and trainer log-probabilities agree as far as float32 goes:
2e-7 nats on average on the default policies, about 1e-5 at the worst of 10,000 tokens (either is as far from the same
policy in float64).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from eprli_lab.backends.local.heads import accepted
from eprli_lab.backends.local.lora import adapted, merged_weight
from eprli_lab.errors import UserError


class Decoder(Protocol):
    """Holds the KV cache of one batch."""

    def prefill(self, prompts: Sequence[Sequence[int]], n: int, new_tokens: int) -> Tensor:
        """Read the prompts, repeat each n times; next-token logits [P * n, V], float32."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """Append one token a row; next-token logits."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Forget every row that is not in `rows`."""
        ...


@dataclass(frozen=True)
class _Layer:
    """Fused weights of one layer, [inputs, outputs]; norms are None where they are within what follows them."""

    qkv: Tensor
    out: Tensor
    gate_up: Tensor
    down: Tensor
    qk_norm: Tensor  # [heads + kv, D]
    before: Tensor | None  # the layer norm before attention
    between: Tensor | None  # the one before the MLP


class Qwen3Decoder:
    """The Qwen3 forward pass on fused weights. Prompts are padded on the left, so all rows write at the same place."""

    @torch.no_grad()
    def __init__(self, model: Any) -> None:
        self.config, self.device = model.config, model.device
        c = self.config
        self.heads, self.kv, self.width = c.num_attention_heads, c.num_key_value_heads, c.head_dim
        self.embedding, self.eps = model.model.embed_tokens.weight.detach(), c.rms_norm_eps
        self.inverse = model.model.rotary_emb.inv_freq.float()
        self.layers = [self._layer(layer) for layer in model.model.layers]
        self.head, self.norm = self._after(model.model.norm.weight, model.lm_head.weight)

    def _layer(self, layer: Any) -> _Layer:
        a, mlp = layer.self_attn, layer.mlp
        qkv = torch.cat([merged_weight(m) for m in (a.q_proj, a.k_proj, a.v_proj)])
        gate_up = torch.cat([merged_weight(m) for m in (mlp.gate_proj, mlp.up_proj)])
        qkv, before = self._after(layer.input_layernorm.weight, qkv)
        gate_up, between = self._after(layer.post_attention_layernorm.weight, gate_up)
        qk_norm = torch.cat([a.q_norm.weight.expand(self.heads, -1), a.k_norm.weight.expand(self.kv, -1)])
        out, down = (merged_weight(m).t().contiguous() for m in (a.o_proj, mlp.down_proj))
        return _Layer(qkv, out, gate_up, down, qk_norm, before, between)

    def _after(self, norm: Tensor, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        """(a linear layer's weight, the norm before it): in float32 as one, in a narrow type rounding would show."""
        if weight.dtype == torch.float32:
            return (weight * norm).t().contiguous(), None
        return weight.detach().t().contiguous(), norm.detach()

    @staticmethod
    def fits(model: Any) -> bool:
        """Plain Qwen3: no sliding window, no biases, default rotary embedding.

        Not with adapters in bfloat16: rounding would swallow what they add to the fused weights, and the trainer
        computes with all of it.
        """
        c = model.config
        if c.model_type != "qwen3" or (adapted(model) and model.dtype != torch.float32):
            return False
        kinds = set(getattr(c, "layer_types", None) or ["full_attention"])
        rope = getattr(c, "rope_parameters", None) or {}
        plain = kinds == {"full_attention"} and not getattr(c, "attention_bias", False) and c.hidden_act == "silu"
        return plain and rope.get("rope_type", "default") == "default"

    def prefill(self, prompts: Sequence[Sequence[int]], n: int, new_tokens: int) -> Tensor:
        longest, count = max(len(p) for p in prompts), len(prompts)
        total = longest + new_tokens
        ids = torch.tensor([[0] * (longest - len(p)) + list(p) for p in prompts], device=self.device)
        padding = torch.tensor([longest - len(p) for p in prompts], device=self.device)
        angles = torch.outer(torch.arange(total, device=self.device).float(), self.inverse)
        dtype = self.embedding.dtype
        self.cos = torch.cat([angles, angles], -1).cos().to(dtype)
        self.sin = torch.cat([-angles, angles], -1).sin().to(dtype)  # the sign is that of the half that is turned
        shape = (len(self.layers), count * n, self.kv, total, self.width)
        self.k = torch.zeros(shape, dtype=dtype, device=self.device)
        self.v = torch.zeros_like(self.k)
        hidden = torch.arange(total, device=self.device)[None] < padding[:, None]
        mask = torch.zeros(count, 1, 1, total, dtype=dtype, device=self.device)
        mask = mask.masked_fill_(hidden[:, None, None], float("-inf"))
        later = torch.ones(longest, longest, dtype=torch.bool, device=self.device).triu_(1)
        seen = mask[..., :longest].masked_fill(later, float("-inf"))  # [count, 1, longest, longest]
        seen.diagonal(dim1=-2, dim2=-1).zero_()  # padding sees itself, so that no row is empty
        positions = (torch.arange(longest, device=self.device)[None] - padding[:, None]).clamp_(min=0)
        x = F.embedding(ids, self.embedding)
        for i, layer in enumerate(self.layers):
            q, k, v = self._attended(x, layer, self.cos[positions][:, :, None], self.sin[positions][:, :, None])
            self.k[i, :, :, :longest] = k.transpose(1, 2).repeat_interleave(n, 0)
            self.v[i, :, :, :longest] = v.transpose(1, 2).repeat_interleave(n, 0)
            q, k, v = (t.transpose(1, 2) for t in (q, k, v))
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)
            x = self._rest(x, a.transpose(1, 2).reshape(count, longest, -1), layer)
        self.slot = longest  # where all rows write next
        self.padding, self.mask = padding.repeat_interleave(n), mask.repeat_interleave(n, 0)
        return self._logits(x[:, -1]).repeat_interleave(n, 0)

    def step(self, tokens: Tensor) -> Tensor:
        rows, groups, slot = len(tokens), self.heads // self.kv, self.slot
        position = slot - self.padding
        cos, sin = self.cos[position][:, None], self.sin[position][:, None]
        mask = self.mask[..., : slot + 1].expand(rows, 1, groups, slot + 1)
        x = F.embedding(tokens, self.embedding)
        for i, layer in enumerate(self.layers):
            q, k, v = self._attended(x, layer, cos, sin)
            self.k[i, :, :, slot], self.v[i, :, :, slot] = k, v
            query = q.reshape(rows, self.kv, groups, self.width)  # grouped queries share their key-value head
            keys, values = self.k[i, :, :, : slot + 1], self.v[i, :, :, : slot + 1]
            a = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
            x = self._rest(x, a.reshape(rows, -1), layer)
        self.slot = slot + 1
        return self._logits(x)

    def keep(self, rows: Tensor) -> None:
        self.k, self.v = self.k[:, rows], self.v[:, rows]
        self.padding, self.mask = self.padding[rows], self.mask[rows]

    def _attended(self, x: Tensor, layer: _Layer, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys (both normalized and turned to their position) and values of x [..., H]: [..., heads, D]."""
        fused = F.rms_norm(x, x.shape[-1:], layer.before, self.eps) @ layer.qkv
        fused = fused.view(*x.shape[:-1], -1, self.width)
        qk, v = fused.split([self.heads + self.kv, self.kv], -2)
        qk = F.rms_norm(qk, (self.width,), None, self.eps) * layer.qk_norm
        half = self.width // 2
        qk = torch.addcmul(qk * cos, torch.cat([qk[..., half:], qk[..., :half]], -1), sin)
        q, k = qk.split([self.heads, self.kv], -2)
        return q, k, v

    def _rest(self, x: Tensor, a: Tensor, layer: _Layer) -> Tensor:
        """Output projection and the gated MLP, with their residuals."""
        x = _add(x, a, layer.out)
        gate, up = (F.rms_norm(x, x.shape[-1:], layer.between, self.eps) @ layer.gate_up).chunk(2, -1)
        return _add(x, F.silu(gate).mul_(up), layer.down)

    def _logits(self, x: Tensor) -> Tensor:
        return (F.rms_norm(x, x.shape[-1:], self.norm, self.eps) @ self.head).float()


def _add(x: Tensor, a: Tensor, weight: Tensor) -> Tensor:
    """x + a weight."""
    flat = torch.addmm(x.reshape(-1, x.shape[-1]), a.reshape(-1, a.shape[-1]), weight)
    return flat.view(x.shape)


class AnyDecoder:
    """Any transformers causal LM through its own forward pass and cache; prompts padded on the left."""

    def __init__(self, model: Any) -> None:
        self.model, self.device = model, model.device

    def prefill(self, prompts: Sequence[Sequence[int]], n: int, new_tokens: int) -> Tensor:
        from transformers import DynamicCache

        longest = max(len(p) for p in prompts)
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        self.mask = torch.zeros_like(ids)
        for i, p in enumerate(prompts):
            ids[i, longest - len(p) :] = torch.tensor(p)
            self.mask[i, longest - len(p) :] = 1
        self.mask = self.mask.to(self.device)
        self.cache = DynamicCache(config=self.model.config)
        if not all(hasattr(layer, "batch_select_indices") for layer in self.cache.layers):
            raise UserError(
                f"model.path: {self.model.config.model_type} keeps a recurrent state instead of a key-value cache; "
                "the local backend cannot sample from it: use a model with attention in every layer"
            )
        logits = self._forward(ids.to(self.device), (self.mask.cumsum(-1) - 1).clamp(min=0))
        self.cache.batch_repeat_interleave(n)
        self.mask = self.mask.repeat_interleave(n, 0)
        return logits.repeat_interleave(n, 0)

    def step(self, tokens: Tensor) -> Tensor:
        self.mask = F.pad(self.mask, (0, 1), value=1)
        return self._forward(tokens[:, None], self.mask.sum(-1, keepdim=True) - 1)

    def keep(self, rows: Tensor) -> None:
        self.cache.batch_select_indices(rows)
        self.mask = self.mask[rows]

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        optional = {"position_ids": positions, "logits_to_keep": 1}
        out = self.model(
            input_ids=ids,
            attention_mask=self.mask,
            past_key_values=self.cache,
            use_cache=True,
            **accepted(self.model, optional),
        )
        logits: Tensor = out.logits
        return logits[:, -1].float()


def decoder_for(model: Any) -> Decoder:
    """The fastest decoder that computes this model."""
    return Qwen3Decoder(model) if Qwen3Decoder.fits(model) else AnyDecoder(model)
