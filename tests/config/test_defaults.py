"""A default stands in a class and, for who reads the configuration, in a YAML file: the two are equal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
from conftest import REPO
from omegaconf import OmegaConf
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from eprli_lab.config.backend import LocalSpec, OpenRLHFSpec
from eprli_lab.config.curriculum import CurriculumSpec, LevelSpec
from eprli_lab.config.data import DataSpec, EvaluationSpec
from eprli_lab.config.spec import RunSpec, TrackingSpec
from eprli_lab.sweeping.spec import StudySpec

CONF = REPO / "conf"
# The file that holds a class's defaults; other files of its folder are variants of it.
HOMES: dict[str, type[BaseModel]] = {
    "config.yaml": RunSpec,
    "backend/local.yaml": LocalSpec,
    "backend/openrlhf.yaml": OpenRLHFSpec,
    "curriculum/base.yaml": CurriculumSpec,
    "curriculum/level/base.yaml": LevelSpec,
    "data/mod10.yaml": DataSpec,
    "data/jsonl.yaml": DataSpec,
    "evaluation/heldout.yaml": EvaluationSpec,
    "tracking/sqlite.yaml": TrackingSpec,
}
# Of a study: what its file must fill (null in the YAML), and what the command line adds for itself.
FILLED_BY_A_SWEEP = {"name", "baseline", "arms", "seeds"}
OF_THE_COMMAND = {"job", "home", "values"}


def tree(path: str) -> dict[str, Any]:
    content: Any = OmegaConf.to_container(OmegaConf.load(CONF / path), resolve=path.startswith("tracking/"))
    return {k: v for k, v in content.items() if k not in ("defaults", "hydra")}


def default(field: FieldInfo) -> Any:
    """As YAML writes it; PydanticUndefined where there is none."""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value


def spec_class(field: FieldInfo) -> type[BaseModel] | None:
    """The class of a node; None for a value, and for a dictionary of nodes, which has no default."""
    if get_origin(field.annotation) is dict:
        return None
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


def pairs(spec: type[BaseModel], node: dict[str, Any], where: str) -> Iterator[tuple[str, Any, Any]]:
    """(key, default of the class, value of the YAML) of every key that both give a value."""
    for name, value in node.items():
        if name == "study" and spec is RunSpec:
            continue  # a node of its own: a run only has the study's name
        field = spec.model_fields[name]
        inner = spec_class(field)
        if isinstance(value, dict) and inner is not None:
            yield from pairs(inner, value, f"{where}{name}.")
        elif default(field) is not PydanticUndefined and value != "???":
            yield f"{where}{name}", default(field), value


def of_home(path: str) -> list[tuple[str, Any, Any]]:
    return list(pairs(HOMES[path], tree(path), ""))


@pytest.mark.parametrize("path", HOMES)
def test_defaults_of_the_classes_are_those_of_the_yaml(path: str) -> None:
    both = of_home(path)
    assert {key: value for key, _, value in both} == {key: value for key, value, _ in both}


def test_of_a_study_too() -> None:
    node = tree("config.yaml")["study"]
    assert set(node) == set(StudySpec.model_fields) | OF_THE_COMMAND, "the YAML shows every key that there is"
    for name in set(node) - OF_THE_COMMAND - FILLED_BY_A_SWEEP:
        expected = default(StudySpec.model_fields[name])
        assert (node[name] or []) == expected if expected == [] else node[name] == expected, name


@pytest.mark.parametrize("path", HOMES)
def test_a_yaml_names_every_default_of_its_class(path: str) -> None:
    """What it does not name, nobody finds by reading it. Config groups have files of their own."""
    optional = {name for name, field in HOMES[path].model_fields.items() if not field.is_required()}
    groups = {"backend", "tracking", "arm", "planned"} if path == "config.yaml" else set()
    assert optional - groups <= set(tree(path))
