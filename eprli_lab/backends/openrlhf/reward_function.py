"""A reward function file for people who run OpenRLHF's own `train_ppo_ray`: our grader, and never an exception.

    FILE=$(python -m eprli_lab.backends.openrlhf.reward_function)
    python -m openrlhf.cli.train_ppo_ray --reward.remote_url $FILE ...

Raw accuracy goes into `scores`, which dynamic filtering reads, the shaped reward into `rewards`, which the loss reads.
Set EPRLI_REWARD to a length term of one response, `none` (the default), `linear:K:LEN` or `soft_overlong:K:LEN:BUFFER`;
group-relative terms need a group, which a reward function does not see. Grading runs in processes with a hard limit, as
OpenRLHF calls this file in threads, where math-verify's own limits cannot work. EPRLI_FORMAT is `verify.format`; a
label `{"answer": ..., "format": ...}`, an object or its JSON, has a format of its own, so that sources can be mixed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from typing import Any

from eprli_lab.config.extensions import Named
from eprli_lab.records import Problem

log = logging.getLogger(__name__)
_LOCK = threading.Lock()
_STATE: dict[str, Any] = {}


def _grader() -> Any:
    """One a process."""
    if "grader" not in _STATE:
        from eprli_lab.config.spec import VerifySpec
        from eprli_lab.grading.grader import Grader

        _STATE["grader"] = Grader(
            VerifySpec(
                processes=int(os.environ.get("EPRLI_REWARD_PROCESSES", "2")),
                format=os.environ.get("EPRLI_FORMAT", "boxed"),
            )
        )
    return _STATE["grader"]


def shaped(correct: bool, characters: int) -> float:
    """The reward of one response: 1 or 0, and the length term of EPRLI_REWARD, with LEN in characters."""
    from eprli_lab.algorithm.length_terms import linear, soft_overlong
    from eprli_lab.config.curriculum import LevelSpec

    name, *numbers = os.environ.get("EPRLI_REWARD", "none").split(":")
    if name == "none":
        return float(correct)
    coef, limit, *rest = [float(x) for x in numbers]
    if name == "linear":
        level = LevelSpec(quality_threshold=1.0, max_response_tokens=int(limit))
        return float(correct) + coef * linear([correct], [characters], level)[0]
    if name == "soft_overlong":
        level = LevelSpec(quality_threshold=1.0, max_response_tokens=int(limit), overlong_tokens=int(rest[0]))
        return float(correct) + coef * soft_overlong([correct], [characters], level)[0]
    raise ValueError(f"EPRLI_REWARD: {name} is none of none, linear, soft_overlong")


def response_of(query: str, prompt: str) -> str:
    """The query behind its prompt, which may stand behind a begin-of-text token. Raises ValueError without a prompt."""
    start = query.find(prompt)
    if start < 0:
        raise ValueError("the query does not hold its prompt, so what was answered cannot be told from what was asked")
    return query[start + len(prompt) :]


def split_label(label: Any) -> tuple[Any, str | None]:
    """The label itself, and the answer format that it brings. Raises ValueError for a name that is no format."""
    if isinstance(label, str) and label.lstrip().startswith('{"'):
        with contextlib.suppress(ValueError):
            label = json.loads(label)
    if not isinstance(label, dict) or "answer" not in label:
        return label, None
    form = label.get("format")
    return label["answer"], None if form is None else Named("format")(form)


def golds_of(label: Any) -> tuple[str, ...]:
    """Accepted answers; a missing one (None, NaN) is an empty one, which nothing is equal to."""
    golds = label if isinstance(label, list | tuple) else (label,)
    return tuple("" if x is None or x != x else str(x) for x in golds)


def reward_func(queries: list[str], prompts: list[str], labels: list[Any], **_: Any) -> dict[str, Any]:
    """rewards, scores [B] float tensors, and counts of what could not be graded."""
    import torch

    scores, rewards, failed = [], [], []
    for query, prompt, label in zip(queries, prompts, labels, strict=True):
        try:
            response = response_of(query, prompt)
            label, form = split_label(label)
            problem = Problem("", prompt, golds_of(label), answer_format=form)
            with _LOCK:
                grade = _grader().grade([(response, problem.answers)], [problem])[0]
            if grade.status == "error" and "named" not in _STATE and not any(problem.answers):
                _STATE["named"] = True
                log.error(f"label {label!r} holds no answer, and earns nothing: is --data.label_key set?")
            scores.append(float(grade.correct))
            rewards.append(shaped(grade.correct, len(response)))
            failed.append(float(grade.status in ("error", "timeout")))
        except Exception:
            log.exception("a response could not be graded and counts as wrong")
            scores.append(0.0)
            rewards.append(0.0)
            failed.append(1.0)
    return {
        "rewards": torch.tensor(rewards),
        "scores": torch.tensor(scores),
        "extra_logs": {"grading_failed": torch.tensor(failed)},
    }


if __name__ == "__main__":
    print(os.path.abspath(__file__))
