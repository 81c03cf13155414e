"""Specs and sweep files with random damage: accepted, or refused with one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_lines import FILES, make_files
from hostile import cell
from hypothesis import given
from hypothesis import strategies as st
from outcome import examples, outcome

from eprli_lab.config.compose import compose_spec
from eprli_lab.config.parse import parse_json
from eprli_lab.config.values import DEEPEST, LARGEST, check_values
from eprli_lab.errors import UserError
from eprli_lab.sweeping.catalogue import planner
from eprli_lab.training.execute import execute

SPEC: dict[str, Any] = json.loads(compose_spec([]).model_dump_json())
RAW = ["1" + "0" * 400, "7" * 5000, "1e999", "NaN", "[" * 2000 + "]" * 2000, "[" * 100_000, '"\\ud800"', '"\\u0000"', "{}", "[]", '{"a":1,"a":2}', '"5e"', '"1e5"', "null", "true", "-1", "0.5"]  # fmt: skip


def nodes(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key of a tree, as a path."""
    found = [path] if path else []
    for key, value in tree.items() if isinstance(tree, dict) else ():
        found += nodes(value, (*path, key))
    return found


@st.composite
def damaged_spec(draw: st.DrawFn) -> str:
    """The default spec as JSON with one or two keys set, dropped, renamed, or with its text cut."""
    tree = json.loads(json.dumps(SPEC))
    marks = {}
    for number in range(draw(st.integers(1, 2))):
        *parents, last = draw(st.sampled_from(nodes(SPEC)))
        node: Any = tree
        for part in parents:
            node = node.get(part) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            continue
        action = draw(st.sampled_from(("set", "set", "raw", "raw", "drop", "rename", "more")))
        if action == "drop":
            node.pop(last, None)
        elif action == "rename":
            node[draw(st.text(max_size=8))] = node.pop(last, None)
        elif action == "more":
            node[draw(st.text(max_size=8))] = draw(cell())
        else:
            node[last] = draw(cell()) if action == "set" else f"mark-{number}"
            marks[f'"mark-{number}"'] = draw(st.sampled_from(RAW))
    text = json.dumps(tree)
    for mark, raw in marks.items():
        text = text.replace(mark, raw)
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 9)) == 0 else text


@examples(150)
@given(damaged_spec())
def test_a_spec(text: str) -> None:
    outcome(lambda: parse_json(text, "spec.json") and 0)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "7" * 5000, "[" * 100_000, '{"seed": 1}'])
def test_a_run_of_a_damaged_spec_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        execute(text, str(tmp_path), None)


@st.composite
def damaged_sweep(draw: st.DrawFn) -> str:
    """A sweep's YAML with words and lines changed."""
    lines = FILES["sweeps/searched.yaml"].splitlines()
    odd = ["{", "[", "- x", "a: b: c", "\t", "*x", "&x y", "!!python/object/apply:os.system [id]", "? x", "---", "%", "'", '"', "~", "null: 1", "1: 1", "<<: *a", "\x00", "é: 1", "study: 5", "  arms: []", "  arms: {}",
           "  arms: {l2: 5}", "  arms: {l2: {overrides: 5}}", "  seeds: [0, 0]", "  seeds: 0", "  search: 5", "  search: {space: 5}", "  name: 1e5", "  baseline: [l2]", "defaults: 5", "defaults: [nope]", "  expected: 5", "  objectives: 5", "  contrasts: [1]", "  contrasts: [l2 - l9]",
           "  arms: {l2: {after: 5}}", "  arms: {l2: {after: {arm: l2, set: {seed: score}}}}", "  arms: {1: {}}", "  arms: {'': {}}", "  question: 5", "  question: ???", "  question: ${nope}", "optim: 5", "optim: {learning_rate: [1]}", "hydra: 5"]  # fmt: skip
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(("insert", "replace", "drop", "value", "indent", "twice"))):
            case "insert":
                lines.insert(at, draw(st.sampled_from(odd)))
            case "replace":
                lines[at] = draw(st.sampled_from(odd))
            case "drop":
                lines = lines[:at] + lines[at + 1 :] or [""]
            case "value":
                lines[at] = lines[at].partition(":")[0] + ": " + json.dumps(draw(cell()))
            case "indent":
                lines[at] = draw(st.sampled_from(("", " ", "\t", "    "))) + lines[at].lstrip()
            case "twice":
                lines.insert(at, lines[at])
    return "\n".join(lines)


@pytest.mark.slow
@examples(15, share=0.5)
@given(damaged_sweep())
def test_a_sweep_file(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("sweep")
        patch.chdir(directory)
        make_files(directory)
        (directory / "sweeps" / "odd.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
        outcome(_plan)


def _plan() -> int:
    with planner() as plan_of:
        plan_of("odd", [])
    return 0


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"model": {"config": {"initializer_range": float("inf")}}}, "model.config.initializer_range: should be a fin"),
        ({"seed": LARGEST + 1}, "seed: is beyond 64 bits"),
        ({"data": {"name": "a\0b"}}, "data.name: holds a null character"),
        ({"data": {"name": "\ud800"}}, "data.name: holds half a surrogate pair"),
        ({"prompts": {"arguments": {1: 2}}}, "prompts.arguments: 1 is no name"),
        ({"a": {"\0": 1}}, "a name in a: holds a null"),
    ],
)
def test_values_that_no_run_can_keep(tree: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match="^" + said.replace(".", r"\.")):
        check_values(tree)


def test_nesting_has_an_end() -> None:
    tree: Any = 1
    for _ in range(DEEPEST):
        tree = [tree]
    check_values({"a": tree[0]})
    with pytest.raises(UserError, match="nested more than 32 deep"):
        check_values({"a": [[tree]]})
    check_values({"seed": LARGEST, "other": -LARGEST - 1, "text": "é", "flag": True, "none": None})
