"""The compiled decode loop (decode.cpp) on the weights of a Qwen3 policy in float32 on the CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from eprli_lab.backends.local.decoders import Qwen3Decoder
from eprli_lab.backends.local.lora import merged_weight
from eprli_lab.records import Completion, Sampling

LANES = 64  # responses that grow side by side: enough for the matrix products, and within the processor's caches
HEAD_MAX = 512  # largest head size


class _Layer(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("qkv", "out", "gate_up", "down", "q_norm", "k_norm")]


class _Model(ctypes.Structure):
    _fields_ = [
        *[
            (name, ctypes.c_int64)
            for name in ("layers", "hidden", "heads", "kv", "width", "inner", "vocabulary", "positions")
        ],
        ("eps", ctypes.c_float),
        ("padding", ctypes.c_float),
        *[(name, ctypes.c_void_p) for name in ("layer", "embedding", "head", "cosine", "sine")],
    ]


class _Job(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("prompts", "n", "max_tokens", "lanes", "top_k", "stops")],
        ("seed", ctypes.c_uint64),
        ("first_row", ctypes.c_uint64),
        *[(name, ctypes.c_double) for name in ("temperature", "top_p", "min_p")],
        *[
            (name, ctypes.c_void_p)
            for name in ("ids", "lengths", "stop", "cancel", "tokens", "logprobs", "ends", "stopped")
        ],
    ]


def unfit(model: Any) -> str:
    """Why the compiled loop does not compute this model, as part of a sentence; empty: it does."""
    if model.device.type != "cpu":
        return f"it runs on the CPU, the policy is on {model.device.type}"
    if model.dtype != torch.float32:
        return f"it computes in float32, the policy is in {str(model.dtype).removeprefix('torch.')}"
    if not Qwen3Decoder.fits(model):
        return f"it computes plain Qwen3 policies, this one ({model.config.model_type}) is none"
    width = model.config.head_dim
    if width % 2 or width > HEAD_MAX:
        return f"it computes even head sizes up to {HEAD_MAX}, not {width}"
    return ""


class CompiledDecoder:
    """Holds a policy's weights as they were, in the layout of the compiled loop. May be used by several threads."""

    @torch.no_grad()
    def __init__(self, model: Any, library: Any) -> None:
        self.library, self.config = library, model.config
        self.panel = int(library.panel_columns())
        layers = []
        for layer in model.model.layers:
            a, mlp = layer.self_attn, layer.mlp
            qkv = torch.cat([merged_weight(m) for m in (a.q_proj, a.k_proj, a.v_proj)])
            gate_up = torch.cat([self._padded(merged_weight(m)) for m in (mlp.gate_proj, mlp.up_proj)])
            layers.append(
                (
                    self._panels(qkv * layer.input_layernorm.weight),
                    self._panels(merged_weight(a.o_proj)),
                    self._panels(gate_up * layer.post_attention_layernorm.weight),
                    self._panels(merged_weight(mlp.down_proj)),
                    a.q_norm.weight.clone(),
                    a.k_norm.weight.clone(),
                )
            )
        self.weights = layers
        self.embedding = model.model.embed_tokens.weight.detach().clone()
        self.head = self._panels(model.lm_head.weight * model.model.norm.weight)
        self.inverse = model.model.rotary_emb.inv_freq.float()
        self.layers = (_Layer * len(layers))(*[_Layer(*[_address(t) for t in layer]) for layer in layers])

    def decode(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        stop_ids: Sequence[int],
        seed: int,
        first_row: int = 0,
        cancel: ctypes.c_int32 | None = None,
    ) -> list[list[Completion]]:
        """n samples a prompt, [P][n], as sampler.decode; no stop strings. Raises ValueError, MemoryError.

        Python's signals wait for the compiled call; who sets `cancel` to 1 meanwhile, in another thread, ends it with a
        RuntimeError.
        """
        if sampling.stop:
            raise ValueError("the compiled loop knows no stop strings")
        rows, longest = len(prompts) * sampling.n, sampling.max_tokens
        lengths = torch.tensor([len(p) for p in prompts])
        ids = torch.tensor([t for p in prompts for t in p])
        stops = torch.tensor(list(stop_ids), dtype=torch.long)
        tokens, logprobs = torch.zeros(rows, longest, dtype=torch.int32), torch.zeros(rows, longest)
        ends, stopped = torch.zeros(rows, dtype=torch.long), torch.zeros(rows, dtype=torch.bool)
        cancel = ctypes.c_int32(0) if cancel is None else cancel
        job = _Job(
            len(prompts), sampling.n, longest, LANES, sampling.top_k, len(stops), seed % 2**64, first_row,
            sampling.temperature, sampling.top_p, sampling.min_p,
            *[_address(t) for t in (ids, lengths, stops)], ctypes.addressof(cancel),
            *[_address(t) for t in (tokens, logprobs, ends, stopped)],
        )  # fmt: skip
        model, tables = self._model(int(lengths.max()) + longest)
        code = self.library.decode(ctypes.addressof(model), ctypes.addressof(job))
        del tables
        if code == 2:
            raise MemoryError("no memory for the keys and values of the responses: set a smaller backend.sample_batch")
        if code == 4:
            raise RuntimeError("cancelled")
        if code:
            raise ValueError(f"the compiled loop refused its arguments (code {code})")
        found = [
            Completion(tuple(row[:end]), tuple(values[:end]), "stop" if ended else "length")
            for row, values, end, ended in zip(
                tokens.tolist(), logprobs.tolist(), ends.tolist(), stopped.tolist(), strict=True
            )
        ]
        return [found[i : i + sampling.n] for i in range(0, rows, sampling.n)]

    def _model(self, positions: int) -> tuple[_Model, tuple[Tensor, Tensor]]:
        """The model for so many positions, and the tables that it points to."""
        c = self.config
        angles = torch.outer(torch.arange(positions).float(), self.inverse)
        cosine, sine = angles.cos(), angles.sin()
        model = _Model(
            len(self.weights), c.hidden_size, c.num_attention_heads, c.num_key_value_heads, c.head_dim,
            c.intermediate_size, self.embedding.shape[0], positions, c.rms_norm_eps, 0.0,
            ctypes.addressof(self.layers), *[_address(t) for t in (self.embedding, self.head, cosine, sine)],
        )  # fmt: skip
        return model, (cosine, sine)

    def _padded(self, weight: Tensor) -> Tensor:
        """[N, K] with rows of zeros up to whole panels."""
        return F.pad(weight, (0, 0, 0, -len(weight) % self.panel))

    def _panels(self, weight: Tensor) -> Tensor:
        """[N, K] as panels [N / panel][K][panel]: what a tile of the matrix product reads lies in one stretch."""
        weight = self._padded(weight.float())
        return weight.view(-1, self.panel, weight.shape[1]).transpose(1, 2).contiguous()


def _address(tensor: Tensor) -> int:
    assert tensor.is_contiguous()
    return tensor.data_ptr()
