"""decode.cpp, compiled once on a machine and loaded: by which compiler, where it is kept, what when that fails."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from eprli_lab.config.paths import cache_directory
from eprli_lab.files import digest, sync_folder, write_whole

SOURCE = Path(__file__).with_name("decode.cpp")
COMPILERS = ("g++", "clang++", "c++", "cc")
OPTIONS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fno-math-errno")
# Another name for the same wish on some processors; without it the code runs, on narrower vectors.
NATIVE: tuple[tuple[str, ...], ...] = (("-march=native",), ("-mcpu=native",), ())
SECONDS = 300.0  # a compiler that takes longer has failed


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler of this machine."""

    path: str
    version: str  # first line of what it says of itself


class NotCompiledError(Exception):
    """There is no compiled loop; says why, as part of a sentence."""


def load() -> tuple[Any, Compiler]:
    """The loaded library and what compiled it, once a process. Raises NotCompiledError.

    The first process of a machine compiles (a few seconds), the others wait for it. A file that is not what was
    compiled is never loaded: it is compiled anew.
    """
    outcome = attempt()
    if isinstance(outcome, str):
        raise NotCompiledError(outcome)
    return outcome


@lru_cache(maxsize=1)
def attempt() -> tuple[Any, Compiler] | str:
    """What `load` gives, or why there is nothing: what failed once is not tried again in this process."""
    folder = Path()
    try:
        folder = cache_directory("compiled")
        compiler = find_compiler()
        folder.mkdir(parents=True, exist_ok=True)
        return _loaded(folder / f"{_key(compiler)}.so", compiler), compiler
    except (NotCompiledError, RuntimeError) as error:  # RuntimeError: a user without a home
        return str(error)
    except OSError as error:
        return f"{folder} cannot be used ({error.strerror or error})"


def find_compiler() -> Compiler:
    """$CXX where it is set, else the first of COMPILERS in PATH that answers. Raises NotCompiledError."""
    wished = os.environ.get("CXX", "").strip()
    for name in (wished,) if wished else COMPILERS:
        path = shutil.which(name)
        if path is None:
            continue
        try:
            done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=SECONDS, check=True)
        except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
            continue
        return Compiler(path, done.stdout.partition("\n")[0].strip())
    raise NotCompiledError(f"$CXX is {wished}, which does not run" if wished else "no C++ compiler is in PATH")


def _key(compiler: Compiler) -> str:
    """16 hex digits of all that decides the machine code."""
    parts = [SOURCE.read_text(), *OPTIONS, compiler.path, compiler.version, platform.machine(), _processor()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """Name and abilities of the first processor; of its kind only where the system does not list them."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
        fixed = ("model name", "flags", "Features", "CPU implementer", "CPU part")
        return "\n".join(line for line in lines if line.startswith(fixed))
    return platform.processor()


def _loaded(file: Path, compiler: Compiler) -> Any:
    """The library in `file`, compiled where it is missing or not what was compiled. NotCompiledError, OSError."""
    from filelock import FileLock

    with FileLock(file.with_suffix(".lock")):
        if not _whole(file):
            _compile(file, compiler)
        try:
            return _opened(file)
        except (OSError, AttributeError):  # whole, and still of no use: of another system that shares this folder
            _compile(file, compiler)
        try:
            return _opened(file)
        except (OSError, AttributeError) as error:
            raise NotCompiledError(f"what {compiler.path} compiled cannot be loaded ({error})") from None


def _whole(file: Path) -> bool:
    """Is the file there, and what was compiled? A damaged library would end the process that loads it."""
    try:
        return file.with_suffix(".sha256").read_text().strip() == digest(file)
    except (OSError, UnicodeDecodeError):
        return False


def _compile(file: Path, compiler: Compiler) -> None:
    """Compile into `file`, in one move, with its digest beside it. Raises NotCompiledError; OSError of a full disk."""
    half = file.with_name(f".{file.stem}.{os.getpid()}.so")
    complaint = ""
    try:
        for native in NATIVE:
            command = [compiler.path, *OPTIONS, *native, "-x", "c++", str(SOURCE), "-o", str(half), "-lstdc++", "-lm"]
            try:
                done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
            except (OSError, subprocess.SubprocessError) as error:
                raise NotCompiledError(f"{compiler.path} failed ({error})") from None
            if done.returncode == 0 and half.is_file():
                write_whole(file.with_suffix(".sha256"), digest(half) + "\n")
                half.replace(file)
                sync_folder(file.parent)
                return
            complaint = complaint or next((x.strip() for x in done.stderr.splitlines() if "error" in x), "")
    finally:
        half.unlink(missing_ok=True)
    raise NotCompiledError(f"{compiler.path} failed" + (f" ({complaint})" if complaint else ""))


def _opened(file: Path) -> Any:
    """The library with the types of its functions. Raises OSError, AttributeError."""
    library = ctypes.CDLL(str(file))
    library.panel_columns.restype = ctypes.c_int64
    library.uniform_of.restype = ctypes.c_double
    library.uniform_of.argtypes = [ctypes.c_uint64] * 3
    library.decode.restype = ctypes.c_int64
    library.decode.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    return library
