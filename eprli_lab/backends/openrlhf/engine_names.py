"""Every name of vLLM that OpenRLHF or this project uses, looked up in vLLM's sources: nothing is imported or started.

The used names are read off the sources of OpenRLHF and of this package: what they import, call and pass, the variables
of the environment, the methods that they ask an engine's workers for. Only what kind of thing a variable holds
(`self.llm`) is said here, in RECEIVERS. The paths are those of a GPU; what a rehearsal puts in their place on a CPU is
not checked.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from eprli_lab.backends.openrlhf.source_tree import Parameters, SourceTree, Symbol

OURS = "eprli_lab.backends.openrlhf"
ENGINE, WORKERS = "openrlhf.trainer.ray.vllm_engine", f"{OURS}.workers"
WRAP, AGENT = "openrlhf.trainer.ray.vllm_worker_wrap", "openrlhf.utils.agent"
WORKER = "vllm.v1.worker.gpu_worker.Worker"
RUNNERS = ("vllm.v1.worker.gpu_model_runner.GPUModelRunner", "vllm.v1.worker.gpu.model_runner.GPUModelRunner")
MODELS = tuple(
    f"vllm.model_executor.models.{name}"
    for name in ("qwen2.Qwen2ForCausalLM", "qwen3.Qwen3ForCausalLM", "llama.LlamaForCausalLM", "gpt2.GPT2LMHeadModel")
)
COMMUNICATOR = "vllm.distributed.device_communicators.pynccl.PyNcclCommunicator"
# (module, expression as it stands there) -> the classes of vLLM that it may be.
RECEIVERS: dict[tuple[str, str], tuple[str, ...]] = {
    (ENGINE, "self.llm"): ("vllm.AsyncLLMEngine",),
    (WRAP, "self.model_config"): ("vllm.config.ModelConfig",),
    (WRAP, "self.model_runner"): RUNNERS,
    (WRAP, "self.model_runner.model"): MODELS,
    (WRAP, "self._model_update_group"): (COMMUNICATOR,),
    (AGENT, "request_output"): ("vllm.RequestOutput",),
    (AGENT, "request_output.outputs[0]"): ("vllm.CompletionOutput",),
    (WORKERS, "self.llm"): ("vllm.AsyncLLMEngine",),
    (WORKERS, "self.model_runner"): RUNNERS,
    (WORKERS, "self.model_runner.model"): MODELS,
    (WORKERS, "out"): ("vllm.RequestOutput",),
    (WORKERS, "o"): ("vllm.CompletionOutput",),
    (WORKERS, "at[t]"): ("vllm.logprobs.Logprob",),
}
EXTENSIONS = (
    (WRAP, "WorkerWrap"),
    (WORKERS, "EngineWorker"),
)  # of a worker: methods that the engine is asked for by name
INHERITED = {"nn.Module": ("named_parameters", "parameters", "state_dict")}  # of classes that are torch's
TAGS = ("weights", "kv_cache")  # that OpenRLHF puts to sleep and wakes


@dataclass(frozen=True)
class Row:
    """One used name: where it is used, where it was found, and what is wrong with it ('': nothing)."""

    name: str
    used: str  # module:line
    found: str  # module:line of vLLM, '' where it is not
    fault: str = ""


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
        reader = _Reader(module, tree, vllm)
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


class _Reader:
    """One module's uses of vLLM."""

    def __init__(self, module: str, tree: ast.Module, vllm: SourceTree) -> None:
        self.module, self.tree, self.vllm = module, tree, vllm
        self.receivers: set[tuple[str, str]] = set()
        self.names: dict[str, str] = {}  # as they stand here -> of vLLM
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                self.names |= {a.asname or a.name: a.name for a in node.names if a.name.split(".")[0] == "vllm"}
            if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "vllm":
                self.names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}

    def rows(self) -> Iterator[Row]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    name = self.names.get(alias.asname or alias.name)
                    if name:
                        yield self._row(name, node.lineno, self.vllm.find(name))
            elif isinstance(node, ast.Attribute):
                yield from self._attribute(node)
            elif isinstance(node, ast.Call):
                yield from self._call(node)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                if re.fullmatch(r"VLLM_[A-Z0-9_]+", node.value):
                    yield self._variable(node.value, node.lineno)

    def _row(self, name: str, line: int, symbol: Symbol | None, fault: str = "") -> Row:
        missing = "" if symbol else "is not there"
        return Row(name, f"{self.module}:{line}", symbol.place if symbol else "", fault or missing)

    def _owners(self, expression: ast.expr) -> list[str]:
        """Dotted names of vLLM that an expression may be."""
        text = ast.unparse(expression)
        if text in self.names:
            return [self.names[text]]
        if (self.module, text) in RECEIVERS:
            self.receivers.add((self.module, text))
            return list(RECEIVERS[self.module, text])
        if isinstance(expression, ast.Attribute):
            return [f"{owner}.{expression.attr}" for owner in self._owners(expression.value)]
        return []

    def _resolve(self, dotted: str) -> Symbol | None:
        """A name, or a member of a member: the class that an attribute is made of is followed."""
        symbol = self.vllm.find(dotted)
        if symbol is None:
            head, _, name = dotted.rpartition(".")
            owner = self._resolve(head) if head.count(".") else None
            made = getattr(owner.node, "value", None) if owner else None
            if owner and isinstance(made, ast.Call):
                maker = self.vllm.find(f"{owner.module}.{ast.unparse(made.func)}")
                return self.vllm.member(maker, name) if maker else None
            if owner and isinstance(owner.node, ast.ClassDef):
                return self.vllm.member(owner, name) or self._inherited(owner, name)
        return symbol

    def _inherited(self, owner: Symbol, name: str) -> Symbol | None:
        """A member that a class has of a base outside vLLM."""
        known = any(name in names and self.vllm.has_foreign_base(owner, base) for base, names in INHERITED.items())
        return owner if known else None

    def _attribute(self, node: ast.Attribute) -> Iterator[Row]:
        if ast.unparse(node) in self.names:
            return
        for owner in self._owners(node.value):
            name = f"{owner}.{node.attr}"
            yield self._row(name, node.lineno, self._resolve(name))

    def _call(self, node: ast.Call) -> Iterator[Row]:
        for name in self._owners(node.func):
            symbol = self._resolve(name)
            takes = self.vllm.parameters(symbol) if symbol else None
            if symbol is None or takes is None or symbol.node.__class__ is ast.ClassDef and "model_executor" in name:
                continue
            given = len(node.args)
            if (
                takes.positional >= 0
                and not any(isinstance(a, ast.Starred) for a in node.args)
                and given > takes.positional
            ):
                fault = f"takes {takes.positional} values without a name, not {given}"
                yield self._row(f"{name}(...)", node.lineno, symbol, fault)
            for keyword, value in _keywords(self.tree, node):
                yield self._row(
                    f"{name}({keyword}=)", node.lineno, symbol, _refused(self.vllm, symbol, takes, keyword, value)
                )

    def _variable(self, name: str, line: int) -> Row:
        return self._row(name, line, _variable(self.vllm, name), "")


def _variable(vllm: SourceTree, name: str) -> Symbol | None:
    """Where vLLM reads a variable of the environment."""
    tree = vllm.module("vllm.envs")
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Constant) and node.value == name:
            return Symbol("vllm.envs", node.lineno, node)
    return None


def _keywords(tree: ast.Module, call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    """The keywords of a call, those of `**name` too, where the name is a dict that is written out in the module."""
    for keyword in call.keywords:
        if keyword.arg is not None:
            yield keyword.arg, keyword.value
        elif isinstance(keyword.value, ast.Name):
            yield from _written(tree, keyword.value.id).items()


def _written(tree: ast.Module, name: str) -> dict[str, ast.expr]:
    """key -> value of the dicts that are given to `name`: `name = {...}`, `name.update({...})`, `name["key"] = ...`."""
    out: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        given: ast.expr | None = None
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name) and target.id == name:
                    given = node.value
                if isinstance(target, ast.Subscript) and ast.unparse(target.value) == name:
                    if isinstance(target.slice, ast.Constant):
                        out[str(target.slice.value)] = node.value
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"{name}.update" and node.args:
            given = node.args[0]
        if isinstance(given, ast.Dict):
            pairs = zip(given.keys, given.values, strict=True)
            out |= {str(k.value): v for k, v in pairs if isinstance(k, ast.Constant)}
    return out


def _refused(vllm: SourceTree, owner: Symbol, takes: Parameters, keyword: str, value: ast.expr) -> str:
    """Why vLLM would not take this keyword with this value; '' where it would."""
    if keyword not in takes.names:
        return "" if takes.any_keyword else "is no parameter of it"
    allowed = vllm.literals(takes.names[keyword], owner.module)
    if allowed and isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value not in allowed:
        return f"may not be {value.value!r}: one of {', '.join(sorted(allowed))}"
    return ""


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
    given = [(k, v, ENGINE) for k, v in _written(tree, "actor_kwargs").items() if k not in kept]
    own = ours.module(WORKERS)
    if own is not None:
        given += [(k, v, WORKERS) for k, v in _written(own, "kwargs").items()]
        more = [k for k, _ in _superclass_keywords(own) if k not in kept]
        given += [(k, ast.Constant(None), WORKERS) for k in more]
    given += [
        ("logprobs_mode", v, f"{OURS}.launch") for v in _constants(ours.module(f"{OURS}.launch"), "processed_logprobs")
    ]
    for keyword, value, module in given:
        fault = _refused(vllm, symbol, takes, keyword, value)
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
    for module, name in EXTENSIONS:
        tree = openrlhf if module.startswith("openrlhf") else ours
        symbol = tree.find(f"{module}.{name}")
        if symbol is None or not isinstance(symbol.node, ast.ClassDef):
            yield Row(f"{module}.{name}", module, "", "is not there")
            continue
        for node in symbol.node.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                methods[node.name] = f"{module}:{node.lineno}"
        for node in ast.walk(symbol.node):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self" and isinstance(node.ctx, ast.Load):
                attributes.setdefault(node.attr, f"{module}:{node.lineno}")
        set_here = {t for n in ast.walk(symbol.node) if isinstance(n, ast.Assign) for t in map(ast.unparse, n.targets)}
        attributes = {k: v for k, v in attributes.items() if f"self.{k}" not in set_here}
    for name, used in methods.items():
        taken = vllm.member(worker, name)
        fault = f"is a name of vLLM's worker already ({taken.place})" if taken else ""
        yield Row(f"worker method {name}", used, worker.place, fault)
    for name, used in attributes.items():
        if name not in methods:
            found = vllm.member(worker, name)
            yield Row(f"{WORKER}.{name}", used, found.place if found else "", "" if found else "is not there")
    for module, tree in ((ENGINE, openrlhf), (WORKERS, ours)):
        for node in ast.walk(tree.module(module) or ast.Module([], [])):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".collective_rpc") and node.args:
                asked = node.args[0]
                if isinstance(asked, ast.Constant) and asked.value not in methods:
                    yield Row(f"worker method {asked.value}", f"{module}:{node.lineno}", "", "no extension has it")


def _tags(vllm: SourceTree) -> Iterator[Row]:
    """The kinds of memory that are put to sleep and woken by name."""
    module, _, _ = WORKER.rpartition(".")
    for tag in TAGS:
        found = _constants(vllm.module(module), tag)
        place = f"{module}:{found[0].lineno}" if found else ""
        yield Row(f"wake_up(tags=[{tag!r}])", ENGINE, place, "" if found else "is no such kind of memory")
