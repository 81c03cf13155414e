"""Every name of vLLM that OpenRLHF or this project uses, looked up in vLLM's sources: nothing is imported or started.

The used names are read off the sources of OpenRLHF and of this package (engine_uses.py): what they import, call and
pass, the variables of the environment, the methods that they ask an engine's workers for. The paths are those of a GPU;
what a rehearsal puts in their place on a CPU is not checked.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from eprli_lab.backends.openrlhf.engine_uses import (
    ENGINE,
    EXTENSION,
    OURS,
    RECEIVERS,
    WORKER,
    WORKERS,
    WRAP,
    Reader,
    Row,
    refused,
    written,
)
from eprli_lab.backends.openrlhf.source_tree import SourceTree

EXTENSIONS = ((WRAP, "WorkerWrap"), (EXTENSION, "EngineWorker"))  # of a worker, whose methods are asked for by name
TAGS = ("weights", "kv_cache")  # that OpenRLHF puts to sleep and wakes


def pinned() -> str | None:
    """The version of vLLM that the installed OpenRLHF pins."""
    try:
        wanted = metadata.requires("openrlhf") or []
    except metadata.PackageNotFoundError:
        return None
    found = [m[1] for line in wanted if (m := re.match(r"vllm==([\w.]+)", line))]
    return found[0] if found else None


def check_names(vllm: SourceTree, openrlhf: SourceTree, ours: SourceTree | None = None) -> list[Row]:
    """A row for each used name, sorted by where it is used; a name that is used twice counts once."""
    ours = ours or SourceTree(Path(__file__).resolve().parents[3], "eprli_lab")
    found: dict[str, Row] = {}
    modules = [*openrlhf.files(), *(m for m in ours.files() if m.startswith(OURS) and "rehearsal" not in m)]
    seen: set[tuple[str, str]] = set()
    for module in modules:
        tree = (openrlhf if module.startswith("openrlhf") else ours).module(module)
        if tree is None:
            continue
        reader = Reader(module, tree, vllm)
        for row in reader.rows():
            if row.name not in found or row.fault:  # the first use, or one that vLLM would not take
                found[row.name] = row
        seen |= reader.receivers
    rows = [*found.values(), *_engine_arguments(vllm, openrlhf, ours), *_extensions(vllm, openrlhf, ours), *_tags(vllm)]
    for module, expression in RECEIVERS:
        if (module, expression) not in seen:
            rows.append(Row(expression, module, "", "stands nowhere in this module: it is laid out differently"))
    unique = {row.name: row for row in sorted(reversed(rows), key=lambda row: bool(row.fault))}
    return sorted(unique.values(), key=lambda row: (row.used.split(":")[0], row.name))


def _engine_arguments(vllm: SourceTree, openrlhf: SourceTree, ours: SourceTree) -> Iterator[Row]:
    """What becomes of create_vllm_engines' arguments, and of ours: the fields of vLLM's AsyncEngineArgs."""
    symbol = vllm.find("vllm.AsyncEngineArgs")
    takes = vllm.parameters(symbol) if symbol else None
    tree, actor = openrlhf.module(ENGINE), openrlhf.find(f"{ENGINE}.RolloutRayActor")
    if symbol is None or takes is None or tree is None or actor is None:
        yield Row("vllm.AsyncEngineArgs", ENGINE, "", "is not there, or OpenRLHF is laid out differently")
        return
    init = openrlhf.parameters(actor)
    kept = set(init.names if init else ())
    kept |= {
        str(n.args[0].value)
        for n in ast.walk(actor.node)
        if isinstance(n, ast.Call) and ast.unparse(n.func) == "kwargs.pop" and isinstance(n.args[0], ast.Constant)
    }
    given = [(k, v, ENGINE) for k, v in written(tree, "actor_kwargs").items() if k not in kept]
    own = ours.module(WORKERS)
    if own is not None:
        given += [(k, v, WORKERS) for k, v in written(own, "kwargs").items()]
        more = [k for k, _ in _superclass_keywords(own) if k not in kept]
        given += [(k, ast.Constant(None), WORKERS) for k in more]
    given += [
        ("logprobs_mode", v, f"{OURS}.launch") for v in _constants(ours.module(f"{OURS}.launch"), "processed_logprobs")
    ]
    for keyword, value, module in given:
        fault = refused(vllm, symbol, takes, keyword, value)
        line = getattr(value, "lineno", 1)
        yield Row(f"vllm.AsyncEngineArgs({keyword}=)", f"{module}:{line}", symbol.place, fault)


def _superclass_keywords(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Keywords that our rollout actor hands to OpenRLHF's."""
    for cls in (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "GroupRolloutActor"):
        for node in ast.walk(cls):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "super().__init__":
                yield from ((k.arg, k.value) for k in node.keywords if k.arg)


def _constants(tree: ast.Module | None, value: str) -> list[ast.Constant]:
    return [n for n in (ast.walk(tree) if tree else ()) if isinstance(n, ast.Constant) and n.value == value]


def _extensions(vllm: SourceTree, openrlhf: SourceTree, ours: SourceTree) -> Iterator[Row]:
    """Methods that an engine's workers are asked for by name: of an extension, and no name of a worker's own.

    vLLM refuses to start where an extension has a name that its worker has already.
    """
    worker = vllm.find(WORKER)
    if worker is None:
        yield Row(WORKER, WRAP, "", "is not there")
        return
    methods: dict[str, str] = {}
    attributes: dict[str, str] = {}
    set_here: set[str] = set()
    for module, name in EXTENSIONS:
        tree = openrlhf if module.startswith("openrlhf") else ours
        symbol = tree.find(f"{module}.{name}")
        if symbol is None or not isinstance(symbol.node, ast.ClassDef):
            yield Row(f"{module}.{name}", module, "", "is not there")
            continue
        for node in symbol.node.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                methods[node.name] = f"{module}:{node.lineno}"
        for read in ast.walk(symbol.node):
            if isinstance(read, ast.Attribute) and ast.unparse(read.value) == "self" and isinstance(read.ctx, ast.Load):
                attributes.setdefault(read.attr, f"{module}:{read.lineno}")
        set_here |= {t for n in ast.walk(symbol.node) if isinstance(n, ast.Assign) for t in map(ast.unparse, n.targets)}
    for name, used in methods.items():
        taken = vllm.member(worker, name)
        fault = f"is a name of vLLM's worker already ({taken.place})" if taken else ""
        yield Row(f"worker method {name}", used, worker.place, fault)
    for name, used in attributes.items():
        if name not in methods and f"self.{name}" not in set_here:
            found = vllm.member(worker, name)
            yield Row(f"{WORKER}.{name}", used, found.place if found else "", "" if found else "is not there")
    for module, tree in ((ENGINE, openrlhf), (WORKERS, ours)):
        for call in ast.walk(tree.module(module) or ast.Module([], [])):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(".collective_rpc") and call.args:
                asked = call.args[0]
                if isinstance(asked, ast.Constant) and asked.value not in methods:
                    yield Row(f"worker method {asked.value!s}", f"{module}:{call.lineno}", "", "no extension has it")


def _tags(vllm: SourceTree) -> Iterator[Row]:
    """The kinds of memory that are put to sleep and woken by name."""
    module, _, _ = WORKER.rpartition(".")
    for tag in TAGS:
        found = _constants(vllm.module(module), tag)
        place = f"{module}:{found[0].lineno}" if found else ""
        yield Row(f"wake_up(tags=[{tag!r}])", ENGINE, place, "" if found else "is no such kind of memory")
