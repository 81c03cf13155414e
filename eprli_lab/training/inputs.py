"""What a run trains and is examined on, as MLflow shows it: a training set with its levels, and every suite."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from eprli_lab.config.data import GeneratedSpec, SourceSpec
from eprli_lab.data.shards import local_files
from eprli_lab.masking import masked
from eprli_lab.records import Problem
from eprli_lab.tracking.inputs import DataInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eprli_lab.config.spec import RunSpec
    from eprli_lab.data.strata import Strata

DIGEST = 16  # hex digits


def data_inputs(spec: RunSpec, strata: Strata, suites: Mapping[str, Sequence[Problem]]) -> list[DataInput]:
    """The training problems of all levels as one data set, then each suite; the same digest says the same problems.

    For training that is: the same levels with the same problems in them.
    """
    levels = {f"level {name}": len(problems) for name, problems in strata.levels.items()}
    distinct = {p.id: p for problems in strata.levels.values() for p in problems}
    training = DataInput(
        name=spec.data.name,
        digest=_digest(strata.levels.items()),
        context="train",
        **_source(spec.data.generated, spec.data.source),
        profile={"num_rows": len(distinct), **levels, "left out": strata.left_out, **_difficulty(distinct.values())},
    )
    out = [training]
    for name, problems in suites.items():
        suite = spec.evaluation.suites[name]
        profile = {"num_rows": len(problems), "samples a problem": spec.evaluation.samples, **_difficulty(problems)}
        digest = _digest([(name, problems)])
        out.append(DataInput(name, digest, "eval", **_source(suite.generated, suite.source), profile=profile))
    return out


def _source(generated: GeneratedSpec | None, source: SourceSpec | None) -> dict[str, Any]:
    """Its kind and place in MLflow's words."""
    if source is None:
        assert generated is not None
        tree = generated.model_dump(mode="json")
        return {"source_type": "code", "source": {"generator": f"eprli_lab family {generated.family}", **tree}}
    where = masked({"path": source.path})["path"]
    if local_files(source.path, source.split, "data.source.path") is not None:
        return {"source_type": "local", "source": {"uri": where, "split": source.split}}
    return {"source_type": "hugging_face", "source": {"path": where, "config_name": source.name, "split": source.split}}


def _difficulty(problems: Iterable[Problem]) -> dict[str, float]:
    known = sorted(p.difficulty for p in problems if p.difficulty is not None)
    if not known:
        return {}
    return {"least difficulty": known[0], "median difficulty": known[len(known) // 2], "greatest difficulty": known[-1]}


def _digest(parts: Iterable[tuple[str, Sequence[Problem]]]) -> str:
    """Of names and problems: what is asked, what is right, how hard it is."""
    total = hashlib.sha256()
    for name, problems in parts:
        total.update(f"{name}\0".encode("utf-8", "surrogatepass"))
        for p in problems:
            text = repr((p.prompt, p.messages, p.answers, p.difficulty))
            total.update(f"{text}\0".encode("utf-8", "surrogatepass"))
    return total.hexdigest()[:DIGEST]
