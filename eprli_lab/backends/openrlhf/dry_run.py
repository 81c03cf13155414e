"""What a launch would be: resources, flags, each level's settings, memory and time; nothing is started."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from eprli_lab.backends.openrlhf.compiled import check_compiled
from eprli_lab.backends.openrlhf.estimate import estimate
from eprli_lab.backends.openrlhf.flag_check import Question, ask, check
from eprli_lab.backends.openrlhf.flags import flags, refuse_unsupported
from eprli_lab.backends.openrlhf.versions import check_versions, installed, missing
from eprli_lab.backends.toy_settings import toy_settings
from eprli_lab.config.backend import OpenRLHFSpec
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError


def check_launch(spec: RunSpec) -> None:
    """Versions, what cannot be honoured, and the flags against OpenRLHF's real parser. Raises UserError."""
    assert isinstance(spec.backend, OpenRLHFSpec)
    check_versions(spec.backend.rehearsal)
    check_compiled()
    check(*_question(spec))


def foresee_launches(specs: Sequence[RunSpec]) -> None:
    """The parser is asked about all of them in one process, so that `check_launch` of each takes no time."""
    questions = []
    for spec in specs:
        assert isinstance(spec.backend, OpenRLHFSpec)
        with contextlib.suppress(UserError):  # of which its own check will say it
            questions += [] if missing(spec.backend.rehearsal) else [_question(spec)]
    ask(questions)


def _question(spec: RunSpec) -> Question:
    """Raises UserError for what cannot be honoured."""
    assert isinstance(spec.backend, OpenRLHFSpec)
    refuse_unsupported(spec)
    same_for_all_seeds = spec.model_copy(update={"seed": 0})
    emitted = flags(same_for_all_seeds, spec.model.path or "the-initial-policy", "the-run")
    return tuple(emitted), spec.backend.rehearsal


def describe_launch(spec: RunSpec) -> str:
    """The launch in words, for `backend.dry_run=true`."""
    b = spec.backend
    assert isinstance(b, OpenRLHFSpec)
    lines = [f"OpenRLHF {installed('openrlhf')}: flags accepted by its parser; nothing was started", "", "resources"]
    engines = b.gpus // b.engine_gpus
    where = b.ray_address or "$RAY_ADDRESS, else a Ray on this machine"
    pretended = " (pretended, on CPU)" if b.rehearsal else ""
    lines += [
        f"  Ray: {where}; {b.nodes} node(s) x {b.gpus_per_node} GPU(s){pretended}, reserved in one piece",
        f"  on every GPU: a policy rank (ZeRO {b.zero_stage}), a part of {engines} rollout engine(s)"
        + (", a reference rank" if spec.algorithm.kl_coef > 0 else ""),
        "",
        "levels",
    ]
    for name, lv in spec.curriculum.levels.items():
        lines.append(
            f"  {name}: d <= {lv.quality_threshold}, G={lv.group_size}, N={lv.buffer_groups}, "
            f"Len={lv.max_response_tokens}, mu={lv.inner_iterations} x {lv.minibatches} step(s), "
            f"clip -{lv.clip.low}/+{lv.clip.high}, admits accuracy [{lv.admission.accuracy_min}, "
            f"{lv.admission.accuracy_max}], {lv.length_term} K={lv.length_coef}"
        )
    lines += [f"  note: {sentence}" for sentence in inert(spec)]
    lines += [f"  warning: {sentence}" for sentence in toy_settings(spec)]
    lines += ["", "flags", *[f"  {' '.join(f)}" for f in flags(spec, spec.model.path or "<initial policy>", "<run>")]]
    return "\n".join([*lines, "", *estimate(spec)])


def inert(spec: RunSpec) -> list[str]:
    """What is configured and cannot do anything, in sentences."""
    out = []
    for name, lv in spec.curriculum.levels.items():
        if lv.inner_iterations * lv.minibatches == 1 and lv.admission.surplus != "carry":
            out.append(
                f"{name}: one optimizer step an update on fresh groups: the clip ratio is 1 but for what trainer and "
                f"sampler disagree on, so the clip bounds cannot bind; raise curriculum.levels.{name}.inner_iterations "
                f"or minibatches to ablate them"
            )
    return out
