"""The import arrows (DESIGN section 3), and one number's walk from the command line to the loss and the log."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from conftest import REPO

# What each part may import of the project, besides itself. spec <- records <- algorithm <- {metrics, backends,
# evaluate} <- train <- run; tracking and sweeping are used by run (and its sweeper) only.
BASE = {"errors", "paths", "spec", "records"}
ALLOWED = {
    "errors": set(),
    "paths": set(),
    "process": set(),
    "provenance": set(),
    "spec": {"errors"},
    "records": set(),
    "algorithm": {"spec", "records", "algorithm"},
    "metrics": BASE | {"algorithm"},
    "data": BASE | {"data"},
    "verify": BASE,
    "backends": BASE | {"algorithm", "backends", "data", "warmstart"},
    "warmstart": BASE | {"backends", "data", "verify", "compose"},
    "openrlhf_reward": BASE | {"algorithm", "verify"},
    "evaluate": BASE | {"algorithm", "backends", "metrics"},
    "batch": BASE | {"algorithm"},
    "policies": BASE | {"algorithm", "backends"},
    "state": BASE | {"algorithm", "data"},
    "checkpoint": BASE | {"backends"},
    "rollout": BASE | {"algorithm", "backends", "checkpoint", "data", "evaluate", "state"},
    "train": BASE
    | {"algorithm", "backends", "batch", "checkpoint", "data", "evaluate", "metrics", "policies", "rollout", "state"},
    "tracking": BASE | {"process", "provenance", "metrics", "sweeping"},
    "sweeping": BASE | {"process", "sweeping", "run", "compose"},
    "run": BASE | {"metrics", "train", "tracking", "sweeping", "backends", "checkpoint", "data", "verify"},
    "compose": BASE | {"run"},
    "sweeps": BASE | {"run", "sweeping"},
    "difficulty": BASE | {"algorithm", "backends", "compose", "data", "evaluate", "verify"},
}
# The backend interface is a type in evaluate and the like: engines are imported by run and the small commands only.
ONLY_IN = {
    "mlflow": {"tracking"},
    "optuna": {"sweeping"},
    "hydra": {"run", "compose", "sweeping", "sweeps"},
    "torch": {"algorithm", "backends", "warmstart", "openrlhf_reward"},
    "ray": {"backends"},
    "openrlhf": {"backends"},
    "vllm": {"backends"},
    "transformers": {"backends", "warmstart"},
    "math_verify": {"verify"},
}


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


MODULES = sorted((REPO / "eprli_lab").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(REPO)))
def test_imports_go_one_way(path):
    part = path.relative_to(REPO / "eprli_lab").parts[0].removesuffix(".py")
    if part == "__init__":
        return
    own = {n.split(".")[1] for n in imports(path) if n.startswith("eprli_lab.")}
    own -= {"__version__"}
    assert own - {part} <= ALLOWED[part], f"{part} imports {own - ALLOWED[part] - {part}}"
    for package, homes in ONLY_IN.items():
        if any(n == package or n.startswith(package + ".") for n in imports(path)):
            assert part in homes, f"{part} imports {package}"


def test_analysis_reads_the_store_spec_and_metrics_only():
    for path in (REPO / "analysis").rglob("*.py"):
        own = {n.split(".")[1] for n in imports(path) if n.startswith("eprli_lab.")}
        assert own <= {"errors", "paths", "spec", "records", "metrics", "tracking"}, path
        heavy = {"torch", "transformers", "optuna"} - ({"optuna"} if path.stem == "search" else set())  # its fANOVA
        assert not any(n.split(".")[0] in heavy for n in imports(path)), path


def test_interfaces_have_at_most_five_methods():
    from eprli_lab.backends.base import Backend

    assert {n for n in vars(Backend) if not n.startswith("_")} == {"sample", "update", "save", "load", "close"}


def test_the_loop_is_short_and_no_function_is_long():
    assert len((REPO / "eprli_lab" / "train.py").read_text().splitlines()) <= 175
    for path in [*MODULES, *(REPO / "analysis").rglob("*.py"), *(REPO / "hydra_plugins").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno <= 60, f"{path}: {node.name}"
