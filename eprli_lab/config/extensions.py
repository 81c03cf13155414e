"""Doors for the user's own functions: a registered name or `package.module:function`, one mechanism for both.

A registered name stands for an import path of this package; a user writes a path of their own, found as Python finds
any module, and in the working directory. What such a function is made of (the source of its module, and of the user's
modules that this imports) is part of the run's fingerprint. Nothing is imported here: names are resolved when a run is
assembled, so a spec is read without torch. docs/extending.md shows each kind.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from eprli_lab.config import procedural
from eprli_lab.errors import UserError, nearest

PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
EXTENSIONS_DIRECTORY = "EPRLI_LAB_EXTENSIONS"  # environment: where the command was started, for processes elsewhere
_RESOLVED: dict[tuple[str, str], Any] = {}  # (kind, name) -> what it stands for
_IMPORTED: dict[str, str] = {}  # path -> digest of its source when this process imported it


@dataclass(frozen=True)
class Kind:
    """One extension point: its name in sentences, and what is registered for it."""

    name: str
    registered: dict[str, str]  # name -> import path


_ALGORITHM, _DATA = "eprli_lab.algorithm", "eprli_lab.data"
KINDS = {
    "reward": Kind("reward", {"outcome": f"{_ALGORITHM}.reward:outcome"}),
    "length_term": Kind(
        "length term",
        {n: f"{_ALGORITHM}.length_terms:{n}" for n in ("none", "linear", "soft_overlong", "group_relative")},
    ),
    "advantage": Kind(
        "advantage",
        {n: f"{_ALGORITHM}.advantage:{n}" for n in ("group_norm", "mean_only", "rloo", "max_rl")}
        | {"batch_norm": f"{_ALGORITHM}.advantage:mean_only", "pass_at_k": f"{_ALGORITHM}.pass_at_k:pass_at_k"},
    ),
    "objective": Kind(
        "objective",
        {
            "ppo_clip": f"{_ALGORITHM}.loss:clipped_objective",
            "gspo": f"{_ALGORITHM}.sequence_ratio:gspo",
            "cispo": f"{_ALGORITHM}.truncated_weight:cispo",
            "dppo_tv": f"{_ALGORITHM}.trust_region:dppo_tv",
            "clip_cov": f"{_ALGORITHM}.covariance:clip_cov",
            "kl_cov": f"{_ALGORITHM}.covariance:kl_cov",
        },
    ),
    "admission": Kind("admission rule", {"band": f"{_ALGORITHM}.admission:Band"}),
    "schedule": Kind(
        "schedule",
        {
            "sequential": f"{_ALGORITHM}.schedule:Sequential",
            "mixed": f"{_ALGORITHM}.schedule:Mixed",
            "adaptive": f"{_ALGORITHM}.schedule:Adaptive",
            "bandit": f"{_ALGORITHM}.bandits:Bandit",
            "thompson": f"{_ALGORITHM}.bandits:Thompson",
        },
    ),
    "sampler": Kind(
        "problem sampler",
        {
            "uniform": f"{_DATA}.samplers:UniformSampler",
            "target": f"{_DATA}.samplers:TargetSampler",
            "blocks": f"{_DATA}.samplers:BlockSampler",
            "pools": f"{_DATA}.pools:PoolSampler",
            "greso": f"{_DATA}.greso:GresoSampler",
            "vcrl": f"{_DATA}.replay:ReplaySampler",
            "snr": f"{_DATA}.snr:SnrSampler",
        },
    ),
    "grader": Kind("grader", {"boxed": "eprli_lab.grading.grader:boxed"}),
    # Who grades the problems of a family that need more than an answer's comparison; named by the problem.
    "verifier": Kind(
        "verifier",
        {"tests": "eprli_lab.grading.tests:passed", "reasoning_gym": f"{_DATA}.gym_verifier:verify"},
    ),
    "format": Kind(
        "answer format",
        {
            n: f"eprli_lab.grading.formats:{n}"
            for n in ("boxed", "hash", "answer_line", "tag", "last_number", "choice_letter")
        },
    ),
    "family": Kind(
        "data family",
        {
            "int": f"{_DATA}.families:IntChains",
            "mod10": f"{_DATA}.families:Mod10Chains",
            "program": f"{_DATA}.programs:Programs",
            "code": f"{_DATA}.code:CodeTasks",
            "interference": f"{_DATA}.interference:Interference",
            **procedural.families(f"{_DATA}.procedural"),
        },
    ),
}

# Names that are no more, and what a config that still has one is told.
GONE = {
    ("sampler", "ramp"): "was a simplification of GanitLLM's curriculum and is no more: use blocks, its blocks",
    **procedural.gone(),
}


@dataclass(frozen=True)
class Named:
    """Validator of a config value: a registered name of the kind, or an import path. Raises ValueError for others."""

    kind: str

    def __call__(self, value: str) -> str:
        kind = KINDS[self.kind]
        if (self.kind, value) in GONE:
            raise ValueError(f"'{value}' {GONE[self.kind, value]}")
        if value not in kind.registered and not PATH.fullmatch(value):
            raise ValueError(
                f"'{value}' is no {kind.name}{nearest(value, kind.registered)}, and no package.module:function either"
            )
        return value


RewardName = Annotated[str, AfterValidator(Named("reward"))]
LengthTermName = Annotated[str, AfterValidator(Named("length_term"))]
AdvantageName = Annotated[str, AfterValidator(Named("advantage"))]
ObjectiveName = Annotated[str, AfterValidator(Named("objective"))]
AdmissionName = Annotated[str, AfterValidator(Named("admission"))]
ScheduleName = Annotated[str, AfterValidator(Named("schedule"))]
SamplerName = Annotated[str, AfterValidator(Named("sampler"))]
GraderName = Annotated[str, AfterValidator(Named("grader"))]
FormatName = Annotated[str, AfterValidator(Named("format"))]
FamilyName = Annotated[str, AfterValidator(Named("family"))]


def is_path(value: str) -> bool:
    """Is this the import path of a user's own function?"""
    return ":" in value


def resolve(kind: str, name: str) -> Any:
    """The function or class that a name stands for. Raises UserError for a path that leads nowhere."""
    if (kind, name) not in _RESOLVED:
        if is_path(name):
            _IMPORTED[name] = source_digests([name])[name]
        _RESOLVED[kind, name] = _load(KINDS[kind].registered.get(name, name), is_path(name))
    return _RESOLVED[kind, name]


@lru_cache(maxsize=64)
def takes_context(objective: Callable[..., Any]) -> bool:
    """Has an objective a parameter `context` (algorithm/objective.py)?"""
    try:
        return "context" in inspect.signature(objective).parameters
    except (TypeError, ValueError):  # of C: it has no signature to ask
        return False


def _load(path: str, of_user: bool) -> Any:
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        if not of_user:
            raise
        raise UserError(f"{path}: {module_name} cannot be imported ({_sentence(error)}): mend it") from None
    if not hasattr(module, attribute):
        known = [n for n in vars(module) if not n.startswith("_")]
        raise UserError(f"{path}: {module_name} has no {attribute}{nearest(attribute, known)}")
    return getattr(module, attribute)


def source_digests(paths: Iterable[str]) -> dict[str, str]:
    """Import path of a user's function -> 12 hex digits of what it is made of; registered names are left out.

    Raises UserError for a module that is not there, and for one that has changed since this process imported it: the
    numbers would be those of the old source under the name of the new.
    """
    out = {}
    for path in sorted({p for p in paths if is_path(p)}):
        out[path] = _digest(source_files(path).values())
        if _IMPORTED.get(path, out[path]) != out[path]:
            raise UserError(f"{path}: its source changed after it was imported: start the command again")
    return out


def source_files(path: str) -> dict[str, Path]:
    """Module -> source file of everything that a user's function is made of, its own module first.

    Its module, the modules of the same package that this imports, and whatever else it imports that is neither Python's
    own nor installed nor of this project; in turn. Raises UserError when there is no such module.
    """
    name = path.partition(":")[0]
    _find_in_working_directory()
    first = _source(name)
    if first is None:
        raise UserError(
            f"{path}: there is no module {name}, neither in the working directory nor installed: give the file's name "
            "without .py, as Python would import it"
        )
    files, open_names = {name: first}, [name]
    while open_names:
        module = open_names.pop()
        parts = module.split(".")
        packages = [".".join(parts[:i]) for i in range(1, len(parts))]  # whose __init__ runs as well
        for imported in (*packages, *_imports(module, files[module])):
            file = None if imported in files else _source(imported)
            if file is not None and _belongs(imported, file, name.partition(".")[0]):
                files[imported] = file
                open_names.append(imported)
    return files


def _imports(module: str, file: Path) -> Iterator[str]:
    """Names that may be modules, of every import statement in a file; a file that is no Python imports nothing."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            try:
                base = importlib.util.resolve_name(start, package) if node.level else start
            except ImportError:
                continue
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _source(name: str) -> Path | None:
    """The source file of a module; None where there is none."""
    try:
        spec = importlib.util.find_spec(name)
    except Exception:  # a parent package that fails when it is imported: its sentence comes when it is resolved
        return None
    origin = spec.origin if spec is not None and spec.has_location else None
    return Path(origin) if origin and origin.endswith(".py") else None


def _belongs(name: str, file: Path, package: str) -> bool:
    """Is this module the user's: of the extension's own package, or neither installed nor Python's nor ours?"""
    top = name.partition(".")[0]
    if top == package:
        return True
    elsewhere = {sysconfig.get_path(k) for k in ("stdlib", "platstdlib", "purelib", "platlib")}
    return top != "eprli_lab" and not any(file.resolve().is_relative_to(Path(p).resolve()) for p in elsewhere)


def _digest(files: Iterable[Path]) -> str:
    total = hashlib.blake2b(digest_size=6)
    for content in (f.read_bytes() for f in files):
        total.update(len(content).to_bytes(8, "big"))
        total.update(content)
    return total.hexdigest()


def _find_in_working_directory() -> None:
    """The working directory (of the command, in a Ray actor) goes to the end of the module path: it shadows nothing."""
    for directory in filter(None, (os.environ.get(EXTENSIONS_DIRECTORY), os.getcwd())):
        if directory not in sys.path:
            sys.path.append(directory)
    importlib.invalidate_caches()


def _sentence(error: BaseException) -> str:
    """What an import raised, in one line, with its place where that is known."""
    where = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
    text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"{type(error).__name__}: {text}{where}"
