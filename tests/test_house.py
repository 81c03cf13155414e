"""The floors of the house, and one number's walk: an import may only point down (docs/architecture.md)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from conftest import EXTENDED, REPO, is_extended

# Top floor first. A module may import of its own floor and of those below; `masking` is the cellar.
FLOORS = (
    "run", "cli", "api", "importing", "sweeping", "reporting", "training", "backends", "tracking", "data", "grading", "algorithm", "config",
    "records", "files", "errors", "escaping", "masking",
)  # fmt: skip
DOORS = {"sweeps", "difficulty", "warmstart"}  # `python -m eprli_lab.<door>`: on the top floor
# Packages that only these rooms may import, at whatever depth of their code.
ONLY_IN = {
    "mlflow": {"tracking"},
    "wandb": {"tracking"},
    "trackio": {"tracking"},
    "optuna": {"sweeping", "reporting"},
    "hydra": {"run", "cli", "config", "sweeping"},
    "torch": {"algorithm", "backends"},
    "ray": {"backends"},
    "openrlhf": {"backends"},
    "vllm": {"backends"},
    "transformers": {"backends"},
    "peft": {"backends"},
    "math_verify": {"grading"},
}
PACKAGE = REPO / "eprli_lab"
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if "modules" not in p.parts)


def imports(source: str) -> set[str]:
    """Dotted names that a module imports, in functions too."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(path: Path) -> str:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "run" if part in DOORS or path.name == "__main__.py" else part


def upward(floor: str, source: str) -> list[str]:
    """What a module of this floor imports from above it."""
    own = {n.split(".")[1] for n in imports(source) if n.startswith("eprli_lab.")} - {"__version__"}
    own = {"run" if n in DOORS else n for n in own}
    return sorted(n for n in own if FLOORS.index(n) < FLOORS.index(floor))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(REPO)))
def test_imports_point_down(path):
    floor = room(path)
    if floor == "__init__":
        return
    assert not upward(floor, path.read_text()), f"{path} imports from above"
    for package, homes in ONLY_IN.items():
        if any(n == package or n.startswith(package + ".") for n in imports(path.read_text())):
            assert floor in homes, f"{floor} imports {package}"


def test_a_planted_upward_import_is_found():
    planted = "def f():\n    from eprli_lab.training.loop import Trainer\n"
    assert upward("algorithm", planted) == ["training"] and upward("cli", planted) == []
    assert upward("tracking", "from eprli_lab.reporting.load import load_study") == ["reporting"]
    assert upward("sweeping", "from eprli_lab.run import main") == ["run"]


def test_no_two_modules_import_each_other():
    """A graph of modules, imports in functions included: no circle of any length."""
    names = {".".join(p.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__"): p for p in MODULES}
    graph = {
        name: {k for i in imports(path.read_text()) for k in (i, i.rpartition(".")[0]) if k in names and k != name}
        for name, path in names.items()
    }
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name in done:
            return
        for other in sorted(graph[name]):
            walk(other, (*trail, name))
        done.add(name)

    for name in graph:
        walk(name, ())


def test_the_scripts_are_thin():
    for path in (REPO / "analysis").glob("*.py"):
        assert len(path.read_text().splitlines()) < 20, path


def test_interfaces_have_at_most_five_methods():
    from eprli_lab.backends.base import Backend

    assert {n for n in vars(Backend) if not n.startswith("_")} == {"sample", "update", "save", "load", "close"}


def test_files_and_functions_are_short():
    for path in [*MODULES, *(REPO / "hydra_plugins").rglob("*.py")]:
        lines = path.read_text().splitlines()
        assert len(lines) <= 320 or any("longer than 320 lines:" in line for line in lines), (
            f"{path}: {len(lines)} lines"
        )
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno <= 60, f"{path}: {node.name}"


def test_what_is_extended_is_there_and_what_is_named_is_run_whole() -> None:
    tests = REPO / "tests"
    assert set(EXTENDED) <= {p.stem for p in tests.rglob("test_*.py")} | {p.name for p in tests.iterdir()}
    file = tests / "reporting" / "test_analysis.py"
    assert is_extended(file, [tests]) and is_extended(file, [tests / "algorithm"]) and is_extended(file, [REPO])
    assert not is_extended(file, [file]) and not is_extended(file, [file.parent])
    assert is_extended(tests / "fuzz" / "test_fuzz_data.py", []) and not is_extended(tests / "test_house.py", [])
