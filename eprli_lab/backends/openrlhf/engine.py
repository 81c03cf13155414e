"""The OpenRLHF engine: our loop in the place of OpenRLHF's controller (interface: backends/base.py)."""

from __future__ import annotations

import math
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eprli_lab.algorithm.seeding import derive_seed
from eprli_lab.backends.batching import microbatches, minibatches
from eprli_lab.backends.manifest import is_whole, new_folder
from eprli_lab.backends.openrlhf import launch
from eprli_lab.backends.openrlhf.checks import check_engines
from eprli_lab.backends.openrlhf.flags import flags, parse, refuse_unsupported
from eprli_lab.backends.openrlhf.ray_errors import ray_sentences
from eprli_lab.backends.openrlhf.rehearsal.vllm_cpu import check_heads
from eprli_lab.backends.openrlhf.rows import Row, pad, pad_microbatches, rows_of, shard_by_tokens
from eprli_lab.backends.openrlhf.versions import check_versions
from eprli_lab.backends.tensors import disk_errors
from eprli_lab.backends.tokenization import TokenizerAdapter
from eprli_lab.backends.update_stats import UpdateStats
from eprli_lab.config.backend import OpenRLHFSpec
from eprli_lab.config.data import LoraSpec
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import NonFiniteError, UserError
from eprli_lab.records import Batch, Completion, LossTerms, Problem, Response, Sampling, UpdateSettings


class OpenRLHFBackend:
    """One policy, trained by OpenRLHF's actor group and sampled by its rollout engines on Ray.

    The old log-probabilities of the clip ratio are the sampler's own, as in the local engine: exact for groups that
    were carried over, and what trainer and sampler disagree on is inside the ratio (`policy/{l}/mismatch_kl`), or in
    the weight of algorithm.is_correction.
    """

    def __init__(self, spec: RunSpec, directory: Path) -> None:
        """Starts Ray and everything on it. Raises UserError; nothing is left running then."""
        assert isinstance(spec.backend, OpenRLHFSpec)
        self.spec = spec.backend
        self.engines: launch.Engines | None = None
        self.asleep: set[str] = set()  # what the engines have given back
        self.phases: dict[str, float] = defaultdict(float)
        check_versions(self.spec.rehearsal)
        refuse_unsupported(spec)
        if self.spec.rehearsal:
            from eprli_lab.backends.openrlhf.rehearsal import install

            install()
        policy, self.tokenizer, generation = initial_policy(spec, directory)
        self.adapter = TokenizerAdapter(self.tokenizer, generation, prompts=spec.prompts, ends=spec.checks_steps)
        self.temperature = spec.algorithm.temperature
        args = parse(flags(spec, policy, directory))
        args.ds.attn_implementation = self.spec.attention  # OpenRLHF writes flash_attention_2 over it where it packs
        try:
            with ray_sentences("could not be started"):
                launch.start_ray(self.spec)
                self.engines = launch.start_engines(args, self.spec, spec.model.trust_remote_code)
                self.asleep = {"weights", "kv_cache"} if self.spec.sleep else set()
                self.checks = check_engines(self)
        except BaseException:
            self.close()
            raise

    # ------------------------------------------------------------------ sampling

    def sample(self, problems: Sequence[Problem], sampling: Sampling, *, seed: int) -> Iterator[tuple[Response, ...]]:
        """n responses for each problem, in order, each group as soon as it and those before it are finished."""
        prompts = [self.adapter.prompt(p) for p in problems]
        for problem, prompt in zip(problems, prompts, strict=True):
            if len(prompt) - len(problem.begun) > self.spec.prompt_tokens:  # what was begun is part of the response
                raise UserError(
                    f"backend.prompt_tokens: the prompt of problem {problem.id} has {len(prompt)} tokens, more than "
                    f"{self.spec.prompt_tokens}: raise the limit or leave the problem out"
                )
        began = time.perf_counter()
        for problem, prompt, group in zip(problems, prompts, self.draw(prompts, sampling, seed=seed), strict=True):
            yield self.adapter.responses(problem, prompt, group, sampling)
        self.phases["rollout"] += time.perf_counter() - began

    def draw(
        self, prompts: Sequence[list[int]], sampling: Sampling, *, seed: int, stops: Sequence[int] | None = None
    ) -> Iterator[list[Completion]]:
        """What the engines answer to prompts of token ids, in order, as it comes; prompt i draws from seed and i.

        `stops`: the stop tokens, where they are not the policy's own.
        """
        import ray

        assert self.engines is not None
        ends = self.adapter.stops if stops is None else list(stops)
        ready: dict[int, list[Completion]] = {}
        given = 0
        with ray_sentences("stopped while sampling"):
            self.wake("weights", "kv_cache")
            streams: Any = {}
            for e, engine in enumerate(self.engines.rollout):
                mine = list(range(e, len(prompts), len(self.engines.rollout)))
                if mine:
                    seeds = [derive_seed(seed, i) for i in mine]
                    stream = engine.sample_groups.options(num_returns="streaming").remote(
                        [prompts[i] for i in mine], seeds, sampling, ends
                    )
                    streams[stream] = mine
            while streams:
                done: list[Any] = ray.wait(list(streams), num_returns=1)[0]
                for stream in list(done):
                    try:
                        i, group = ray.get(next(stream))
                    except StopIteration:
                        del streams[stream]
                        continue
                    place = streams[stream][i]
                    ready[place] = group
                while given in ready:
                    yield ready.pop(given)
                    given += 1
            self._sleep_engines()

    # ------------------------------------------------------------------ training

    def update(self, batch: Batch, settings: UpdateSettings) -> LossTerms:
        """mu_l passes over the batch in minibatches of whole groups, one optimizer step each; then a broadcast.

        After a NonFiniteError this engine is of no more use until `load`.
        """
        rows = rows_of(batch)
        with ray_sentences("stopped while training"):
            assert self.engines is not None
            if settings.kl_coef > 0:
                for row, values in zip(rows, self._read("reference", self.engines.reference, rows), strict=True):
                    row.reference = values
            if settings.correction.kind != "none":  # under the weights before the update
                for row, values in zip(rows, self._read("trainer", self.engines.policy, rows), strict=True):
                    row.trainer = values
            sums = self._train(batch, rows, settings)
            if not (math.isfinite(sums.loss) and math.isfinite(sums.norm)):
                raise NonFiniteError(f"loss {sums.loss} and gradient norm {sums.norm} are not both finite")
            self.broadcast()
        phases, self.phases = dict(self.phases), defaultdict(float)
        return sums.terms(phases)

    def _train(self, batch: Batch, rows: list[Row], settings: UpdateSettings) -> UpdateStats:
        assert self.engines is not None
        began, ranks = time.perf_counter(), self.engines.ranks
        steps: list[list[list[list[int]]]] = []  # [optimizer step][rank][microbatch][row]
        common: list[dict[str, Any]] = []
        rng = random.Random(settings.seed)
        lengths = [len(r.tokens) for r in rows]
        for _ in range(settings.inner_iterations):
            for members in minibatches(batch, settings.minibatches, rng):
                shards = shard_by_tokens(lengths, members, len(ranks))
                parts = [microbatches(batch, shard, self.spec.microbatch_tokens) for shard in shards]
                steps.append(pad_microbatches(parts))
                common.append(step_settings(settings, [len(batch.responses[i].tokens) for i in members], len(ranks)))
        policy, sleep = self.engines.policy, self.spec.sleep
        around = policy.async_run_method("reload_states") if sleep else []  # an actor does in order what it is asked
        refs = []
        for rank, actor in enumerate(ranks):
            mine = [step[rank] for step in steps]
            needed = {i if i >= 0 else -1 - i for step in mine for micro in step for i in micro}
            refs.append(actor.update.remote({i: rows[i] for i in sorted(needed)}, mine, common))
        around += policy.async_run_method("offload_states") if sleep else []
        found = launch.wait([*around, *refs])[len(around) :]
        for other in found[1:]:
            found[0].merge(other)
        self.phases["train"] += time.perf_counter() - began
        first: UpdateStats = found[0]
        return first

    def _read(self, phase: str, group: Any, rows: list[Row]) -> list[Any]:
        """Log-probabilities [|o_i|] of each response under a group of actors, in microbatches dealt to its ranks."""
        began, per = time.perf_counter(), max(1, self.spec.microbatch_tokens // max(len(r.tokens) for r in rows))
        cuts = [list(range(i, min(i + per, len(rows)))) for i in range(0, len(rows), per)]
        while len(cuts) % self.spec.gpus:  # every rank takes part in every pass
            cuts.append(cuts[-1])
        found = self.logprobs(group, [[(rows[i], True) for i in cut] for cut in cuts])
        out: dict[int, Any] = {}
        for cut, values in zip(cuts, found, strict=True):
            out |= {i: line[rows[i].prompt - 1 : len(rows[i].tokens) - 1] for i, line in zip(cut, values, strict=True)}
        self.phases[phase] += time.perf_counter() - began
        return [out[i] for i in range(len(rows))]

    def logprobs(self, group: Any, batches: list[list[tuple[Row, bool]]]) -> list[Any]:
        """[B, T - 1] float32 log-probabilities (nats) of each padded batch under an actor group of OpenRLHF.

        The number of batches is a multiple of the group's ranks.
        """
        padded = [pad(batch, self._pad_id)["fields"] for batch in batches]
        keys = ("sequences", "action_mask", "attention_mask")
        refs = group.async_run_method_batch("forward", **{k: [p[k] for p in padded] for k in keys})
        return [one.float().numpy() for part in launch.wait(refs) for one in part]

    @property
    def _pad_id(self) -> int:
        return int(self.tokenizer.pad_token_id or 0)

    def broadcast(self) -> None:
        """The trainer's weights to every engine, by OpenRLHF's own broadcast."""
        assert self.engines is not None
        began = time.perf_counter()
        self.wake("weights")
        launch.wait(self.engines.policy.async_run_method("broadcast_to_vllm"))
        self.phases["broadcast"] += time.perf_counter() - began

    def wake(self, *tags: str) -> None:
        """What the engines have given back is theirs again."""
        wanted = [t for t in tags if t in self.asleep]
        if wanted and self.engines is not None:
            launch.wait([e.wake_up.remote(tags=wanted) for e in self.engines.rollout])
            self.asleep -= set(wanted)

    def _sleep_engines(self) -> None:
        if self.spec.sleep and self.engines is not None:
            launch.wait([e.sleep.remote() for e in self.engines.rollout])
            self.asleep = {"weights", "kv_cache"}

    # ------------------------------------------------------------------ state

    def save(self, path: Path) -> None:
        """`path/policy`: a Hugging Face checkpoint; `path/optimizer-<rank>.*`: the trainer's state, rank by rank."""
        assert self.engines is not None
        with ray_sentences("stopped while saving"):
            launch.wait(self.engines.policy.async_run_method("save_state", str(path.resolve())))

    def load(self, path: Path) -> None:
        """Restore what `save` wrote, in the trainer and the engines. Raises UserError for another layout."""
        assert self.engines is not None
        with ray_sentences("stopped while loading"):
            launch.wait(self.engines.policy.async_run_method("load_state", str(path.resolve())))
            self.broadcast()

    def close(self) -> None:
        """Nothing of the run is left on Ray."""
        launch.stop(self.engines)
        self.engines = None


def step_settings(settings: UpdateSettings, lengths: Sequence[int], ranks: int) -> dict[str, Any]:
    """Of one optimizer step over responses of these lengths (tokens), on all ranks together.

    `constant` is OpenRLHF's token mean with another divisor, B C in the place of the number of tokens.
    """
    tokens = len(lengths) * settings.constant_tokens if settings.aggregation == "constant" else sum(lengths)
    return {
        "clip_low": settings.clip_low,
        "clip_high": settings.clip_high,
        "aggregation": settings.aggregation,
        "objective": settings.objective,
        "entropy_coef": settings.entropy_coef,
        "covariance": settings.covariance,
        "correction": settings.correction,
        "seed": settings.seed,
        "learning_rate": settings.learning_rate,
        "kl_coef": settings.kl_coef,
        "normalise": {"batch_num_tokens": float(tokens), "global_batch_size": float(len(lengths))},
        "ranks": ranks,
    }


def initial_policy(spec: RunSpec, directory: Path) -> tuple[str, Any, Any]:
    """(directory or id, tokenizer, generation config). A policy that ships with the package is first written out.

    Raises UserError for a model that brings code of its own, unless model.trust_remote_code says yes: OpenRLHF would
    run it unasked.
    """
    from transformers import AutoConfig, AutoTokenizer

    from eprli_lab.backends.local.policy import check_source, load_policy
    from eprli_lab.backends.pretrained import read_generation_config

    where = check_source(spec.model, spec.data.generated.family if spec.data.generated else None)
    if where is None:
        where = str((directory / "initial").resolve())
        if not is_whole(Path(where)):
            assert spec.data.generated is not None
            model, tokenizer = load_policy(spec.model, spec.data.generated.family)
            with new_folder(Path(where)) as half, disk_errors(half):
                model.save_pretrained(half)
                tokenizer.save_pretrained(half)
    trust = spec.model.trust_remote_code
    try:
        config = AutoConfig.from_pretrained(where, trust_remote_code=trust)
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=trust)
    except (OSError, ValueError) as error:
        raise UserError(f"model.path: {where} cannot be loaded: {str(error).strip().splitlines()[0]}") from None
    if getattr(config, "auto_map", None) and not trust:
        raise UserError(f"model.path: {where} brings code of its own: set model.trust_remote_code=true to run it")
    if spec.model.lora is not None:
        _check_lora(config, spec.model.lora, trust)
    if isinstance(spec.backend, OpenRLHFSpec) and spec.backend.rehearsal:
        check_heads(config)
    return where, tokenizer, read_generation_config(where)


def _check_lora(config: Any, lora: LoraSpec, trust: bool) -> None:
    """Raises UserError for adapters that the model cannot have; on its shapes alone, without memory."""
    import torch
    from transformers import AutoModelForCausalLM

    from eprli_lab.backends.local.lora import check_targets

    with torch.device("meta"):
        check_targets(AutoModelForCausalLM.from_config(config, trust_remote_code=trust), lora)
