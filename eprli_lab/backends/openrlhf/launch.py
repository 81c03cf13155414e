"""A Ray to run on, GPUs reserved in one piece, and OpenRLHF's actors and engines on them; and all of it gone again."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from eprli_lab.backends.openrlhf import reaper
from eprli_lab.config.backend import OpenRLHFSpec
from eprli_lab.config.extensions import EXTENSIONS_DIRECTORY
from eprli_lab.errors import UserError

PASSED_ON = ("NCCL_DEBUG", "NCCL_SOCKET_IFNAME", "HF_HOME", "HF_HUB_OFFLINE", "HF_TOKEN")  # to workers


@dataclass
class Engines:
    """What a run holds on Ray."""

    policy: Any  # RayActorGroup of LevelPolicyActor
    reference: Any | None  # RayActorGroup of OpenRLHF's ReferenceModelActor
    rollout: list[Any]  # GroupRolloutActor
    reservation: Any  # placement group

    @property
    def ranks(self) -> list[Any]:
        """The policy's actors, by rank."""
        return list(self.policy._actor_handlers)


def start_ray(spec: OpenRLHFSpec) -> None:
    """Connect to the cluster, or start a Ray of this process's own, on loopback and without a dashboard.

    Raises UserError where the cluster cannot be reached or has too few GPUs in all.
    """
    import ray

    variables = {k: os.environ[k] for k in PASSED_ON if k in os.environ}
    variables |= {"RAY_ENABLE_ZERO_COPY_TORCH_TENSORS": "1", "TOKENIZERS_PARALLELISM": "true"}
    package = str(Path(__file__).resolve().parents[3])
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    variables[EXTENSIONS_DIRECTORY] = os.getcwd()  # not PYTHONPATH, where a user's file could shadow a library
    environment: dict[str, Any] = {"env_vars": variables}
    address = spec.ray_address or os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if spec.rehearsal:
        from eprli_lab.backends.openrlhf.rehearsal import ENVIRONMENT

        variables |= ENVIRONMENT
        environment["worker_process_setup_hook"] = "eprli_lab.backends.openrlhf.rehearsal.install_in_actor"
    if address is None:
        reaper.start()
        options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        if spec.rehearsal:  # schedule as on GPUs
            options |= {"num_cpus": max(2, spec.gpus), "num_gpus": spec.gpus, "object_store_memory": 200_000_000}
    main = threading.current_thread() is threading.main_thread()
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)} if main else {}
    try:
        with servers_in_their_own_groups():
            ray.init(address=address, runtime_env=environment, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        what = f"the Ray cluster {address} cannot be reached" if address else "Ray cannot be started here"
        raise UserError(f"backend: {what}: {str(error).strip().splitlines()[0]}") from None
    finally:
        for number, handler in handlers.items():  # Ray takes SIGTERM for itself; here both ask a run to save and end
            signal.signal(number, handler)
    there = int(ray.cluster_resources().get("GPU", 0))
    if there < spec.gpus:
        raise UserError(
            f"backend: the run needs {spec.gpus} GPUs (nodes x gpus_per_node), Ray has {there}: change backend.nodes "
            "and backend.gpus_per_node, or connect to a larger cluster (backend.ray_address)"
        )


@contextlib.contextmanager
def servers_in_their_own_groups() -> Iterator[None]:
    """What Ray starts within leads process groups of its own.

    A SIGTERM to the run's group (scancel, `timeout`, a shell's kill %1) would end Ray's servers at once, and with them
    the engines, while the run still means to save. Ray shields them from SIGINT itself.
    """
    services: Any = import_module("ray._private.services")
    popen = services.ConsolePopen
    services.ConsolePopen = partial(popen, process_group=0)
    try:
        yield
    finally:
        services.ConsolePopen = popen


def start_engines(args: Any, spec: OpenRLHFSpec, trust_remote_code: bool) -> Engines:
    """Reserve the GPUs in one piece, so that runs that wait for each other cannot hold half each, and load the models.

    Raises UserError when the GPUs do not become free, or the models are not loaded, within `start_seconds`.
    """
    import openrlhf.trainer.ray.vllm_engine as vllm_engine
    import ray
    from openrlhf.trainer.ray.launcher import RayActorGroup, ReferenceModelActor
    from openrlhf.utils import get_strategy
    from ray.util.placement_group import placement_group

    from eprli_lab.backends.openrlhf.workers import RemotePolicy, RemoteRollout

    strategy = get_strategy(args)
    reservation = placement_group([{"GPU": 1, "CPU": 1}] * spec.gpus, strategy="PACK")
    try:
        ray.get(reservation.ready(), timeout=spec.start_seconds)
    except ray.exceptions.GetTimeoutError:
        ray.util.remove_placement_group(reservation)
        raise UserError(
            f"backend: {spec.gpus} GPUs did not become free in {spec.start_seconds:.0f} s (backend.start_seconds)"
        ) from None
    theirs = vllm_engine.RolloutRayActor
    vllm_engine.RolloutRayActor = _with(RemoteRollout, trust_remote_code=trust_remote_code)
    try:
        rollout = vllm_engine.create_vllm_engines(
            args.vllm.num_engines,
            args.vllm.tensor_parallel_size,
            args.actor.model_name_or_path,
            args.train.seed,
            args.train.full_determinism_enable,
            args.vllm.enable_prefix_caching,
            args.vllm.enforce_eager,
            args.data.max_len,
            reservation,
            args.vllm.gpu_memory_utilization,
            args.vllm.enable_sleep,
            "processed_logprobs",  # of the distribution that was sampled from
        )
    finally:
        vllm_engine.RolloutRayActor = theirs
    shape = (args.actor.num_nodes, args.actor.num_gpus_per_node)
    policy = RayActorGroup(*shape, RemotePolicy, pg=reservation, num_gpus_per_actor=0.2)
    reference = None
    if args.algo.kl.init_coef > 0:
        reference = RayActorGroup(*shape, ReferenceModelActor, pg=reservation, num_gpus_per_actor=0.2)
    path = args.actor.model_name_or_path
    # an engine that cannot start ends the wait with its own error: the trainer would wait for its half of the broadcast
    refs = [e.get_num_unfinished_requests.remote() for e in rollout]
    refs += reference.async_init_model_from_pretrained(strategy, path) if reference else []
    refs += policy.async_init_model_from_pretrained(strategy, path, max_steps=1, vllm_engines=rollout)
    wait(refs, spec.start_seconds, "the models were not loaded")
    return Engines(policy, reference, rollout, reservation)


class _with:
    """A remote class whose actors get further arguments, where OpenRLHF makes them."""

    def __init__(self, remote: Any, **more: Any) -> None:
        self.remote_class, self.more = remote, more

    def options(self, **options: Any) -> _with:
        return _with(self.remote_class.options(**options), **self.more)

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("trust_remote_code", None)  # on, whatever the run says, in OpenRLHF 0.11
        return self.remote_class.remote(*args, **kwargs, **self.more)


def wait(refs: list[Any], seconds: float | None = None, what: str = "") -> list[Any]:
    """Results in order; the first failure of any of them is raised at once, while others may still be running."""
    import ray

    pending = list(refs)
    while pending:
        done, pending = ray.wait(pending, num_returns=1, timeout=seconds)
        if not done:
            raise UserError(f"backend: {what} in {seconds:.0f} s (backend.start_seconds)")
        ray.get(done)
    return list(ray.get(list(refs)))


def stop(engines: Engines | None) -> None:
    """Kill the run's actors, give the GPUs back, leave Ray; a Ray of this process's own ends with it."""
    import ray

    if not ray.is_initialized():
        return
    with contextlib.suppress(Exception):  # whatever is dead already
        for actor in [] if engines is None else [*engines.rollout, *engines.ranks]:
            ray.kill(actor)
        for actor in engines.reference._actor_handlers if engines and engines.reference else []:
            ray.kill(actor)
        if engines is not None:
            ray.util.remove_placement_group(engines.reservation)
    ray.shutdown()
