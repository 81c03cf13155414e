"""A package's Python sources, read and never imported: which names, members and parameters are there, by `ast`.

The sources of vLLM's CUDA wheel can be read so on a machine where they cannot be imported.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from eprli_lab.errors import UserError

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Symbol:
    """Where a name is defined."""

    module: str  # dotted
    line: int
    node: ast.AST

    @property
    def place(self) -> str:
        """`module:line`."""
        return f"{self.module}:{self.line}"


@dataclass(frozen=True)
class Parameters:
    """What a call may give."""

    names: dict[str, ast.expr | None]  # -> annotation
    positional: int  # how many may be given without a name; -1: any
    any_keyword: bool  # takes **more


class SourceTree:
    """The modules of one package under a directory, or inside a wheel."""

    def __init__(self, where: Path | str | None, package: str) -> None:
        """`where`: the directory that holds the package or is it, a wheel, or None for the installed package.

        Raises UserError where there are no such sources.
        """
        self.package = package
        self.root = _root(where, package)
        self._module = lru_cache(maxsize=None)(self._read)

    def files(self) -> list[str]:
        """Dotted names of all modules."""
        if isinstance(self.root, zipfile.Path):
            names = self.root.root.namelist()
        else:
            names = [str(p.relative_to(self.root)) for p in sorted((self.root / self.package).rglob("*.py"))]
        own = [n for n in names if n.startswith(f"{self.package}/") and n.endswith(".py")]
        return [n.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for n in own]

    def version(self) -> str | None:
        """As `_version.py` or `version.py` says, or the name of the metadata directory."""
        for name in ("_version.py", "version.py"):
            found = re.search(r"^(?:__version__ *= *)?version *= *['\"]([^'\"]+)", self._text(name), re.M)
            if found:
                return found[1]
        metadata = [
            p.name for p in self.root.iterdir() if re.match(rf"{self.package}(_cpu)?-[\w.+]+\.dist-info", p.name)
        ]
        return metadata[0].split("-")[1].removesuffix(".dist") if metadata else None

    def module(self, dotted: str) -> ast.Module | None:
        """The parsed module, None where there is none."""
        return self._module(dotted)

    def find(self, dotted: str, depth: int = 0) -> Symbol | None:
        """A class, function or value by its dotted name, through imports, aliases and vLLM's lazy attributes."""
        module, _, name = dotted.rpartition(".")
        if depth > 12:
            return None
        if not module:
            package = self.module(dotted)
            return Symbol(dotted, 1, package) if package is not None else None
        tree = self.module(module)
        if tree is None:
            owner = self.find(module, depth + 1)  # a member of a class
            return self.member(owner, name) if owner else None
        for node in _top(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
                return Symbol(module, node.lineno, node)
            if isinstance(node, ast.ImportFrom):
                target = self._imported(module, node, name)
                found = self.find(target, depth + 1) if target else None
                if found:
                    return found
            if isinstance(node, ast.Assign | ast.AnnAssign) and name in _targets(node):
                if isinstance(node.value, ast.Name) and node.value.id != name:
                    return self.find(f"{module}.{node.value.id}", depth + 1) or Symbol(module, node.lineno, node)
                return Symbol(module, node.lineno, node)
        lazy = self._lazy(tree, module).get(name)
        if lazy:
            return self.find(lazy, depth + 1)
        return Symbol(dotted, 1, tree) if (tree := self.module(dotted)) is not None else None

    def member(self, owner: Symbol, name: str, depth: int = 0) -> Symbol | None:
        """A field, method or attribute that a class, or one of its bases, sets on itself; no abstract one."""
        if not isinstance(owner.node, ast.ClassDef) or depth > 12:
            return None
        for node in owner.node.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name:
                if not any(ast.unparse(d).endswith("abstractmethod") for d in node.decorator_list):
                    return Symbol(owner.module, node.lineno, node)
            if isinstance(node, ast.Assign | ast.AnnAssign) and name in _targets(node):
                return Symbol(owner.module, node.lineno, node)
        for inner in ast.walk(owner.node):
            if isinstance(inner, ast.Assign | ast.AnnAssign) and f"self.{name}" in _targets(inner):
                return Symbol(owner.module, inner.lineno, inner)
        for base in self.bases(owner):
            found = self.member(base, name, depth + 1)
            if found:
                return found
        return None

    def bases(self, owner: Symbol) -> list[Symbol]:
        """The bases of a class that are of this package."""
        assert isinstance(owner.node, ast.ClassDef)
        found = [self.find(f"{owner.module}.{ast.unparse(b)}") for b in owner.node.bases if isinstance(b, ast.Name)]
        return [b for b in found if b is not None and b.node is not owner.node]

    def has_foreign_base(self, owner: Symbol, name: str) -> bool:
        """Is one of the bases of a class, at any depth, written as `name` (`nn.Module`)?"""
        assert isinstance(owner.node, ast.ClassDef)
        own = any(ast.unparse(b) == name for b in owner.node.bases)
        return own or any(self.has_foreign_base(b, name) for b in self.bases(owner))

    def parameters(self, owner: Symbol) -> Parameters | None:
        """What a class's constructor or a function takes; the fields of a dataclass or struct. None for values."""
        node = owner.node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return _of_function(node)
        if not isinstance(node, ast.ClassDef):
            return None
        init = self.member(owner, "__init__")
        if init is not None and isinstance(init.node, ast.FunctionDef | ast.AsyncFunctionDef):
            return _of_function(init.node)
        names: dict[str, ast.expr | None] = {}
        for one in [*reversed(self._ancestors(owner)), owner]:
            assert isinstance(one.node, ast.ClassDef)
            for n in one.node.body:
                made_later = (
                    isinstance(n, ast.AnnAssign) and n.value is not None and "init=False" in ast.unparse(n.value)
                )
                if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name) and not made_later:
                    names[n.target.id] = n.annotation
        return Parameters(names, len(names), False)

    def literals(self, annotation: ast.expr | None, module: str) -> set[str] | None:
        """The strings that an annotation allows; None where it allows others too."""
        if isinstance(annotation, ast.Name):
            found = self.find(f"{module}.{annotation.id}")
            node = found.node if found else None
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            return self.literals(value, found.module) if found and value is not None else None
        if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Literal":
            parts = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
            return {p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str)}
        return None

    def _ancestors(self, owner: Symbol) -> list[Symbol]:
        return [a for base in self.bases(owner) for a in (base, *self._ancestors(base))]

    def _imported(self, module: str, node: ast.ImportFrom, name: str) -> str | None:
        """The dotted name that `name` has where it comes from, or None where the statement does not bring it."""
        origin = next((a.name for a in node.names if (a.asname or a.name) == name), None)
        if origin is None:
            return None
        above = module if self._is_package(module) else module.rpartition(".")[0]
        for _ in range(node.level - 1):
            above = above.rpartition(".")[0]
        prefix = ".".join(filter(None, [above if node.level else "", node.module or ""]))
        return f"{prefix}.{origin}" if prefix.split(".")[0] == self.package else None

    def _lazy(self, tree: ast.Module, module: str) -> dict[str, str]:
        """Name -> dotted name, of a dict MODULE_ATTRS = {"Name": ".module:Name"}."""
        for node in tree.body:
            if isinstance(node, ast.Assign) and _targets(node) == ["MODULE_ATTRS"]:
                table: dict[str, str] = ast.literal_eval(node.value)
                return {k: module + v.replace(":", ".") for k, v in table.items()}
        return {}

    def _is_package(self, module: str) -> bool:
        return bool((self.root / module.replace(".", "/") / "__init__.py").is_file())

    def _read(self, dotted: str) -> ast.Module | None:
        if dotted.split(".")[0] != self.package:
            return None
        path = dotted.replace(".", "/")
        for file in (self.root / f"{path}.py", self.root / path / "__init__.py"):
            if file.is_file():
                return ast.parse(file.read_text(encoding="utf-8"))
        return None

    def _text(self, name: str) -> str:
        file = self.root / self.package / name
        return file.read_text(encoding="utf-8") if file.is_file() else ""


def _root(where: Path | str | None, package: str) -> Path | zipfile.Path:
    if where is None:
        found = importlib.util.find_spec(package)  # of a top-level package: nothing is imported
        if found is None or not found.submodule_search_locations:
            raise UserError(f"{package} is not installed here: name a directory or a wheel that holds its sources")
        return Path(next(iter(found.submodule_search_locations))).parent
    path = Path(where).expanduser()
    if path.is_file() and zipfile.is_zipfile(path):
        wheel = zipfile.Path(zipfile.ZipFile(path))
        if (wheel / package / "__init__.py").is_file():
            return wheel
    for root in (path, path.parent):
        if (root / package / "__init__.py").is_file() and (root is path or path.name == package):
            return root
    raise UserError(
        f"{where}: there are no sources of {package}: name a wheel, or the directory that it was unpacked to"
    )


def _top(tree: ast.Module) -> list[ast.stmt]:
    """Statements of a module, those of `if` and `try` at its top too."""
    out: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.If | ast.Try):
            out += [*node.body, *node.orelse]
        else:
            out.append(node)
    return out


def _targets(node: ast.Assign | ast.AnnAssign) -> list[str]:
    parts = node.targets if isinstance(node, ast.Assign) else [node.target]
    flat = [e for p in parts for e in (p.elts if isinstance(p, ast.Tuple) else [p])]
    return [ast.unparse(e) for e in flat if isinstance(e, ast.Name | ast.Attribute)]


def _of_function(node: Function) -> Parameters:
    bound = not any(ast.unparse(d) == "staticmethod" for d in node.decorator_list)
    first = [*node.args.posonlyargs, *node.args.args]
    if bound and first and first[0].arg in ("self", "cls"):
        first = first[1:]
    names = {a.arg: a.annotation for a in [*first, *node.args.kwonlyargs]}
    return Parameters(names, -1 if node.args.vararg else len(first), node.args.kwarg is not None)
