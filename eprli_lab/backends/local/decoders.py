"""Decoders: the forward pass of sampling with its KV cache; prefill once a prompt, finished rows compacted away.

`Qwen3Decoder` computes the Qwen3 layers on fused weights (the default policies; about 3x `generate()`), `AnyDecoder`
calls any transformers causal LM with its own cache. Sampler and trainer log-probabilities agree as far as float32 goes:
2e-7 nats on average on the default policies, about 1e-5 at the worst of 10,000 tokens (either is as far from the same
policy in float64).
"""

from __future__ import annotations

from collections.abc import Sequence
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


class Qwen3Decoder:
    """The Qwen3 forward pass on fused weights; right-padded prompts of unequal length, a write position a row."""

    def __init__(self, model: Any) -> None:
        self.config, self.device = model.config, model.device
        c = self.config
        self.heads, self.kv, self.width = c.num_attention_heads, c.num_key_value_heads, c.head_dim
        self.layers = []
        with torch.no_grad():
            for layer in model.model.layers:
                a, mlp = layer.self_attn, layer.mlp
                self.layers.append(
                    (
                        torch.cat([merged_weight(m) for m in (a.q_proj, a.k_proj, a.v_proj)]),
                        merged_weight(a.o_proj),
                        a.q_norm.weight.detach(),
                        a.k_norm.weight.detach(),
                        layer.input_layernorm.weight.detach(),
                        layer.post_attention_layernorm.weight.detach(),
                        torch.cat([merged_weight(m) for m in (mlp.gate_proj, mlp.up_proj)]),
                        merged_weight(mlp.down_proj),
                    )
                )
        self.embedding = model.model.embed_tokens.weight.detach()
        self.norm, self.head = model.model.norm.weight.detach(), model.lm_head.weight.detach()
        self.eps = c.rms_norm_eps
        self.inverse = model.model.rotary_emb.inv_freq.float()

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
        ids = torch.zeros(count, longest, dtype=torch.long)
        for i, p in enumerate(prompts):
            ids[i, : len(p)] = torch.tensor(p)
        lengths = torch.tensor([len(p) for p in prompts], device=self.device)
        ids = ids.to(self.device)
        angles = torch.outer(torch.arange(total, device=self.device).float(), self.inverse)
        angles = torch.cat([angles, angles], -1)
        dtype = self.embedding.dtype
        self.cos, self.sin = angles.cos().to(dtype), angles.sin().to(dtype)
        shape = (len(self.layers), count * n, self.kv, total, self.width)
        self.k = torch.zeros(shape, dtype=dtype, device=self.device)
        self.v = torch.zeros_like(self.k)
        x = F.embedding(ids, self.embedding)
        cos, sin = self.cos[:longest], self.sin[:longest]
        for i, (qkv_w, o_w, q_n, k_n, n1, n2, gu_w, d_w) in enumerate(self.layers):
            h = F.rms_norm(x, x.shape[-1:], n1, self.eps)
            qkv = F.linear(h, qkv_w).view(count, longest, self.heads + 2 * self.kv, self.width)
            q, k, v = (t.transpose(1, 2) for t in qkv.split([self.heads, self.kv, self.kv], 2))
            q = self._rotate(F.rms_norm(q, (self.width,), q_n, self.eps), cos, sin)
            k = self._rotate(F.rms_norm(k, (self.width,), k_n, self.eps), cos, sin)
            self.k[i, :, :, :longest] = k.repeat_interleave(n, 0)
            self.v[i, :, :, :longest] = v.repeat_interleave(n, 0)
            a = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            x = self._rest(x, a.transpose(1, 2).reshape(count, longest, -1), o_w, n2, gu_w, d_w)
        logits = self._logits(x[torch.arange(count, device=self.device), lengths - 1])
        self.position = lengths.repeat_interleave(n)  # where each row writes next
        return logits.repeat_interleave(n, 0)

    def seen(self) -> int:
        """Positions that the cache holds of its longest row."""
        return int(self.position.max())

    def step(self, tokens: Tensor) -> Tensor:
        rows, seen = len(tokens), self.seen() + 1
        groups = self.heads // self.kv
        cos, sin = self.cos[self.position][:, None], self.sin[self.position][:, None]
        hidden = torch.arange(seen, device=self.device)[None] > self.position[:, None]
        mask = torch.zeros(rows, 1, 1, seen, dtype=self.k.dtype, device=self.device)
        mask = mask.masked_fill_(hidden[:, None, None], float("-inf")).expand(rows, 1, groups, seen)
        index = torch.arange(rows, device=self.device)
        x = F.embedding(tokens, self.embedding)
        for i, (qkv_w, o_w, q_n, k_n, n1, n2, gu_w, d_w) in enumerate(self.layers):
            h = F.rms_norm(x, x.shape[-1:], n1, self.eps)
            qkv = F.linear(h, qkv_w).view(rows, self.heads + 2 * self.kv, self.width)
            q, k, v = qkv.split([self.heads, self.kv, self.kv], 1)
            q = self._rotate(F.rms_norm(q, (self.width,), q_n, self.eps), cos, sin)
            k = self._rotate(F.rms_norm(k, (self.width,), k_n, self.eps), cos, sin)
            self.k[i][index, :, self.position] = k
            self.v[i][index, :, self.position] = v
            query = q.view(rows, self.kv, groups, self.width)  # grouped queries share their key-value head
            a = F.scaled_dot_product_attention(query, self.k[i][:, :, :seen], self.v[i][:, :, :seen], attn_mask=mask)
            x = self._rest(x, a.reshape(rows, -1), o_w, n2, gu_w, d_w)
        self.position = self.position + 1
        return self._logits(x)

    def keep(self, rows: Tensor) -> None:
        self.k, self.v, self.position = self.k[:, rows], self.v[:, rows], self.position[rows]

    @staticmethod
    def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin

    def _rest(self, x: Tensor, a: Tensor, o_w: Tensor, n2: Tensor, gu_w: Tensor, d_w: Tensor) -> Tensor:
        """Output projection and the gated MLP, with their residuals."""
        x = x + F.linear(a, o_w)
        gate, up = F.linear(F.rms_norm(x, x.shape[-1:], n2, self.eps), gu_w).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, d_w)

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(F.rms_norm(x, x.shape[-1:], self.norm, self.eps), self.head).float()


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
