"""Every key of a run can be set as it stands: no shipped configuration leaves one out, so none needs Hydra's plus."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from hydra import compose
from omegaconf import OmegaConf
from pydantic import BaseModel
from test_config import GROUPS, NEEDS, PATHS

from eprli_lab.config.compose import compose_spec, hydra_session
from eprli_lab.config.spec import RunSpec

pytestmark = pytest.mark.slow  # one of many

OF_A_STUDY = {"study", "arm", "planned"}  # what a sweep says of its runs; on the command line `study` is a group
# Written by a warm start or a person who has none of these: null stands for all of it.
BACKENDS = {"local": "LocalSpec", "openrlhf": "OpenRLHFSpec", "openrlhf_cpu": "OpenRLHFSpec"}


def classes(annotation: Any) -> list[Any]:
    """The classes of an annotation, inside unions and Annotated."""
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return [c for part in get_args(annotation) for c in classes(part)]
    return [annotation]


def missing(spec: type[BaseModel], node: dict[str, Any], where: str, backend: str) -> Iterator[str]:
    """Keys of the class that the composed tree does not have, where it has the node that they belong to."""
    for name, field in spec.model_fields.items():
        if spec is RunSpec and name in OF_A_STUDY:
            continue
        if name not in node:
            yield f"{where}{name}"
            continue
        for kind in classes(field.annotation):
            nodes = {"": node[name]}
            if get_origin(kind) is dict and isinstance(node[name], dict):
                kind, nodes = get_args(kind)[1], {f".{key}": inner for key, inner in node[name].items()}
            if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
                continue
            if where == "" and name == "backend" and kind.__name__ != BACKENDS[backend]:
                continue
            for key, inner in nodes.items():
                if isinstance(inner, dict):
                    yield from missing(kind, inner, f"{where}{name}{key}.", backend)


@pytest.mark.parametrize(
    "choice", [f"{g}={n}" for g in ("data", "evaluation", "model", "backend", "curriculum") for n in GROUPS[g]]
)
def test_no_key_needs_a_plus(choice: str) -> None:
    group, _, name = choice.partition("=")
    needs = NEEDS.get(choice, [])
    more = [*needs, *(PATHS if "evaluation=benchmarks" in (choice, *needs) else [])]
    with hydra_session():
        tree: Any = OmegaConf.to_container(compose("config", overrides=[choice, *more]), resolve=True)
    assert list(missing(RunSpec, tree, "", name if group == "backend" else "local")) == []


def test_the_walk_finds_a_key_that_is_left_out() -> None:
    with hydra_session():
        tree: Any = OmegaConf.to_container(compose("config", overrides=["data=deepscaler", "evaluation=paper"]))
    del tree["data"]["source"]["format"], tree["verify"]["format"]
    del tree["evaluation"]["suites"]["minerva"]["source"]["columns"]["answers_mean"]
    found = ["data.source.format", "evaluation.suites.minerva.source.columns.answers_mean", "verify.format"]
    assert list(missing(RunSpec, tree, "", "local")) == found


def test_keys_of_sources_are_set_without_a_plus() -> None:
    keys = {"data.source.format": "hash", "data.max_bad_rows": 3, "evaluation.suites.aime24.source.limit": 5}
    keys |= {
        "evaluation.suites.math500.source.columns.answers_mean": "all",
        "data.source.columns.difficulty_scale": 8.0,
    }
    spec = compose_spec(["data=deepscaler", "evaluation=paper", *(f"{k}={v}" for k, v in keys.items())])
    assert {k: spec.flat()[k] for k in keys} == keys
