"""What one module uses of vLLM, read off its source: imports, attributes, calls and their keywords, variables.

Only what kind of thing a variable holds (`self.llm`) is said here, in RECEIVERS.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from eprli_lab.backends.openrlhf.source_tree import Parameters, SourceTree, Symbol

OURS = "eprli_lab.backends.openrlhf"
ENGINE, WORKERS, EXTENSION = "openrlhf.trainer.ray.vllm_engine", f"{OURS}.workers", f"{OURS}.engine_worker"
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
    (EXTENSION, "self.model_runner"): RUNNERS,
    (EXTENSION, "model"): MODELS,
    (EXTENSION, "communicator"): (COMMUNICATOR,),
    (WORKERS, "out"): ("vllm.RequestOutput",),
    (WORKERS, "o"): ("vllm.CompletionOutput",),
    (WORKERS, "at[t]"): ("vllm.logprobs.Logprob",),
}
INHERITED = {
    "nn.Module": ("named_parameters", "parameters", "named_buffers", "state_dict")
}  # of classes that are torch's
OPTIONAL = ("packed_modules_mapping",)  # that a class may do without: GPT-2 fuses nothing of its own


@dataclass(frozen=True)
class Row:
    """One used name: where it is used, where it was found, and what is wrong with it ('': nothing)."""

    name: str
    used: str  # module:line
    found: str  # module:line of vLLM, '' where it is not
    fault: str = ""


class Reader:
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
                    imported = self.names.get(alias.asname or alias.name)
                    if imported:
                        yield self._row(imported, node.lineno, self.vllm.find(imported))
            elif isinstance(node, ast.Attribute):
                yield from self._attribute(node)
            elif isinstance(node, ast.Call):
                yield from self._call(node)
                if ast.unparse(node.func) == "getattr" and isinstance(node.args[1], ast.Constant):
                    name = str(node.args[1].value)
                    if name not in OPTIONAL:
                        yield from self._attribute(ast.Attribute(node.args[0], name, ast.Load(), lineno=node.lineno))
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
            if symbol is None or takes is None:
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
                    f"{name}({keyword}=)", node.lineno, symbol, refused(self.vllm, symbol, takes, keyword, value)
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
            yield from written(tree, keyword.value.id).items()


def written(tree: ast.Module, name: str) -> dict[str, ast.expr]:
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


def refused(vllm: SourceTree, owner: Symbol, takes: Parameters, keyword: str, value: ast.expr) -> str:
    """Why vLLM would not take this keyword with this value; '' where it would."""
    if keyword not in takes.names:
        return "" if takes.any_keyword else "is no parameter of it"
    allowed = vllm.literals(takes.names[keyword], owner.module)
    if allowed and isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value not in allowed:
        return f"may not be {value.value!r}: one of {', '.join(sorted(allowed))}"
    return ""
