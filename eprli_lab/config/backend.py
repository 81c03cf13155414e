"""The config of the two engines."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from eprli_lab.config.fields import AsTuple, Later, Positive, Strict


class LocalSpec(Strict):
    """The engine in this process: torch, on CPU or CUDA."""

    kind: Literal["local"] = "local"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=1, le=256)] = 1  # torch threads of one run
    sample_batch: Positive = 512  # responses decoded at once
    pack_tokens: Positive = 104  # length of a packed training row (at least the longest sequence is used)
    microbatch_tokens: Positive = 16384  # tokens in one forward and backward pass
    # The decode loop: compiled where a compiler is and the policy is one that it computes (docs/performance.md).
    decode: Annotated[Literal["auto", "compiled", "torch"], Later("auto")] = "auto"


class OpenRLHFSpec(Strict):
    """OpenRLHF's actor groups and rollout engines on Ray; all models share the same GPUs."""

    kind: Literal["openrlhf"]
    rehearsal: bool = False  # on CPU, with pretended GPUs; vLLM as its CPU build
    nodes: Positive = 1
    gpus_per_node: Positive = 8
    engine_gpus: Positive = 1  # GPUs of one rollout engine (tensor parallel)
    zero_stage: Literal[1, 2, 3] = 2
    param_dtype: Literal["bf16", "fp16"] = "bf16"
    attention: str = "flash_attention_2"
    packing: bool = True  # no padding between sequences of a microbatch; needs flash attention
    gradient_checkpointing: bool = True
    adam_offload: bool = False  # optimizer state and master weights in the memory of the host
    reference_offload: bool = False
    sleep: bool = True  # engines and trainer give their GPU memory back while the other one works
    engine_memory: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5  # share of a GPU's memory that an engine may take
    enforce_eager: bool = False  # no CUDA graphs in the engines
    prefix_caching: bool = False
    prompt_tokens: Positive = 1024  # longest prompt; a longer one is refused
    microbatch_tokens: Positive = 16384  # tokens in one forward and backward pass of one GPU
    start_seconds: Annotated[float, Field(gt=0.0)] = 1800.0  # limit for GPUs to become free and models to load
    ray_address: str | None = None  # null: $RAY_ADDRESS, else a Ray of this run's own on this machine
    flags: Annotated[tuple[str, ...], AsTuple] = ()  # further flags of OpenRLHF, as on its command line
    dry_run: bool = False  # print the launch and start nothing

    @model_validator(mode="after")
    def _fits(self) -> OpenRLHFSpec:
        if self.gpus % self.engine_gpus:
            raise ValueError(
                f"engine_gpus {self.engine_gpus} does not divide the {self.gpus} GPUs (nodes x gpus_per_node): every "
                "GPU holds a part of one rollout engine"
            )
        if self.packing and "flash" not in self.attention and not self.rehearsal:
            raise ValueError(f"packing needs flash attention, not attention={self.attention}: set packing=false")
        if self.rehearsal and (self.sleep or self.adam_offload or self.reference_offload):
            raise ValueError("sleep, adam_offload and reference_offload need a GPU: a rehearsal goes without them")
        if self.rehearsal and not self.enforce_eager:
            raise ValueError("a rehearsal has no CUDA graphs: set enforce_eager=true")
        if self.rehearsal and self.engine_gpus > 1:
            raise ValueError("an engine over several GPUs needs NCCL: a rehearsal has engine_gpus=1")
        return self

    @property
    def gpus(self) -> int:
        """In all."""
        return self.nodes * self.gpus_per_node


BACKENDS: dict[str, type[Strict]] = {"local": LocalSpec, "openrlhf": OpenRLHFSpec}
NOT_IN_FINGERPRINT = {"dry_run": True, "ray_address": True, "start_seconds": True, "decode": True}  # of a backend
