"""Compiling the decode loop: the cache and its damages, machines without a compiler, several processes at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPO, rest_exhaustive
from engines import SPEC, backend
from helpers import small_spec
from loops import TINY, run, small_levels, tables

from eprli_lab.backends.local import loops
from eprli_lab.backends.local.compiled import library
from eprli_lab.backends.local.compiled.library import NotCompiledError, attempt, load
from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.backends.local.policy import load_policy
from eprli_lab.errors import UserError
from eprli_lab.files import digest
from eprli_lab.training.checkpoint import RunStore

GXX = shutil.which("g++") or shutil.which("clang++")
needs_compiler = pytest.mark.skipif(GXX is None, reason="no C++ compiler is installed")


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path) -> Iterator[Path]:
    """An empty cache, nothing loaded, nothing said yet; compiled in a hurry."""
    monkeypatch.setenv("EPRLI_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(library, "OPTIONS", ("-std=c++17", "-O0", "-fPIC", "-shared"))
    attempt.cache_clear()
    loops._say.cache_clear()
    yield tmp_path / "cache" / "compiled"
    attempt.cache_clear()
    loops._say.cache_clear()


def script(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def counting(tmp_path: Path) -> tuple[str, Path]:
    """A compiler that notes every compilation in a file."""
    log = tmp_path / "compilations"
    log.touch()
    note = f'case "$1" in --version) ;; *) echo "$$" >> {log} ;; esac'
    return script(tmp_path / "noting", f'{note}\nexec {GXX} "$@"'), log


def works() -> bool:
    attempt.cache_clear()
    loaded, _ = load()
    return int(loaded.panel_columns()) in (8, 16, 32)


@needs_compiler
def test_compiled_once_and_kept(fresh, tmp_path, monkeypatch):
    compiler, log = counting(tmp_path)
    monkeypatch.setenv("CXX", compiler)
    assert works() and works()
    assert len(log.read_text().splitlines()) == 1
    assert sorted(p.suffix for p in fresh.iterdir()) == [".lock", ".sha256", ".so"], "nothing half made is left"


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", rest_exhaustive(["flipped", "gone", "cut", "empty", "digest gone", "another system's"], 2)
)
def test_a_damaged_library_is_made_again_once(fresh, tmp_path, monkeypatch, damage):
    compiler, log = counting(tmp_path)
    monkeypatch.setenv("CXX", compiler)
    fresh.mkdir(parents=True)
    file = fresh / f"{library._key(library.find_compiler())}.so"
    library._compile(file, library.find_compiler())  # not loaded: what is loaded once, a process finds by its path
    content = file.read_bytes()
    file.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "flipped": content[:3000] + bytes([content[3000] ^ 1]) + content[3001:],
            "another system's": b"MZ" + content[2:],
        }.get(damage, b"")
    )
    if damage == "gone":
        file.unlink()
    elif damage == "digest gone":
        file.write_bytes(content)
        file.with_suffix(".sha256").unlink()
    elif damage == "another system's":
        file.with_suffix(".sha256").write_text(digest(file))
    assert works() and works()
    assert len(log.read_text().splitlines()) == 2 and len(list(fresh.iterdir())) == 3


@needs_compiler
@pytest.mark.slow
def test_another_compiler_or_source_is_another_library(fresh, tmp_path, monkeypatch):
    assert works()
    monkeypatch.setenv("CXX", script(tmp_path / "other", f'exec {GXX} "$@"'))
    assert works()
    changed = tmp_path / "decode.cpp"
    changed.write_text(library.SOURCE.read_text() + "\n// changed\n")
    monkeypatch.setattr(library, "SOURCE", changed)
    assert works()
    assert len(list(fresh.glob("*.so"))) == 3


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (None, r"\$CXX is .*/compiler, which does not run"),
        ("exit 3", r"\$CXX is .*/compiler, which does not run"),
        ('[ "$1" = --version ] && exit 0; echo "x.cpp:1: error: no such thing" >&2; exit 1', r"compiler failed \(x.cpp:1: error: no such thing\)"),
        ('[ "$1" = --version ] && exit 0; exit 0', r"compiler failed$"),
        ('[ "$1" = --version ] && exit 0; while [ "$1" != -o ]; do shift; done; echo x > "$2"', r"compiled cannot be loaded"),
    ],
    ids=["absent", "broken", "refuses", "makes nothing", "makes nonsense"],
)  # fmt: skip
def test_a_compiler_that_fails_is_one_sentence(tmp_path, monkeypatch, body, sentence):
    path = tmp_path / "compiler"
    monkeypatch.setenv("CXX", str(path) if body is None else script(path, body))
    with pytest.raises(NotCompiledError, match=sentence):
        load()
    with pytest.raises(
        UserError, match="backend.decode: the compiled loop cannot be used: .* or use backend.decode=auto"
    ):
        backend(decode="compiled")


@needs_compiler
def test_a_cache_that_cannot_be_written_is_one_sentence(fresh, monkeypatch, tmp_path):
    fresh.parent.write_text("a file where the cache would be")
    with pytest.raises(NotCompiledError, match="cannot be used"):
        load()
    assert backend().decode_loop == "torch"


@pytest.mark.slow
def test_without_a_compiler_a_run_trains_and_says_so_once(tmp_path, monkeypatch, caplog):
    spec = small_spec(*TINY, *small_levels(1), "budget.amount=2000")

    def trained(where: str, decode: str = "auto") -> LocalBackend:
        chosen = spec.backend.model_copy(update={"decode": decode})
        engine = LocalBackend(spec.model, spec.optim, chosen, family="mod10", kl_reference=False, seed=0)
        run(spec, tmp_path / where, engine)
        return engine

    with monkeypatch.context() as machine, caplog.at_level("WARNING"):
        machine.setenv("PATH", "")
        assert trained("a").decode_loop == trained("b").decode_loop == "torch"
        said = [r.message for r in caplog.records if "torch loop" in r.message]
        assert said == ["sampling with the torch loop, not the compiled one: no C++ compiler is in PATH"]
        with pytest.raises(
            UserError, match="no C.. compiler is in PATH: install g.. or clang.., or use backend.decode=auto"
        ):
            trained("c", "compiled")
    assert RunStore(tmp_path / "a", "").rows("ledger") and tables(tmp_path / "a") == tables(tmp_path / "b")
    caplog.clear()
    trained("d", "torch")
    assert not caplog.records and tables(tmp_path / "d") == tables(tmp_path / "a"), "chosen: nothing to say"


@needs_compiler
@pytest.mark.exhaustive
@pytest.mark.slow
def test_many_processes_compile_once(fresh, tmp_path):
    compiler, log = counting(tmp_path)
    code = "from eprli_lab.backends.local.compiled.library import load; print(load()[0].panel_columns())"
    env = {**os.environ, "CXX": compiler, "PYTHONPATH": str(REPO)}
    workers = [
        subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) for _ in range(6)
    ]
    answers = {w.communicate(timeout=120)[0] for w in workers}
    assert len(answers) == 1 and answers.pop().strip().isdigit()
    assert len(log.read_text().splitlines()) == 1


@needs_compiler
@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_sanitizers_find_nothing(tmp_path):
    """Address and undefined-behaviour sanitizers over many shapes, prompts, filters, NaN and infinity."""
    flags = ["-std=c++17", "-O1", "-g", "-march=native", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    main = Path(__file__).with_name("decode_shapes.cpp")
    program = tmp_path / "shapes"
    assert GXX is not None
    made = subprocess.run(
        [GXX, *flags, f'-DDECODE="{library.SOURCE}"', str(main), "-o", str(program)], capture_output=True, text=True
    )
    if made.returncode and ("asan" in made.stderr or "ubsan" in made.stderr):
        pytest.skip("this compiler has no sanitizers")
    assert made.returncode == 0, made.stderr
    done = subprocess.run([program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[0]) > 300, "calls"


def test_the_source_is_in_the_package_and_bound_by_studies():
    from eprli_lab.sweeping.fingerprints import code_digests

    assert "backends/local/compiled/decode.cpp" in code_digests()
    assert load_policy(SPEC.model, "mod10") is not None
