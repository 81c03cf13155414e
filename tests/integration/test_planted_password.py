"""A password that is planted in `tracking.uri` and `study.storage` is found in nothing that any command writes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest
from conftest import REPO
from helpers import SMALL
from plans import own_sweep

PASSWORD = "Wuerfelhusten7"
OTHER = "Zwielichtgabel3"
TINY = [*SMALL, "budget.unit=updates", "budget.amount=1", "study.workers=1", "curriculum=l1"]
ARMS = "    a: {overrides: [optim.learning_rate=1e-3]}\n    b: {overrides: [optim.learning_rate=2e-3]}\n"


def command(directory: Path, *words: str, **variables: str) -> tuple[int, str, list[str]]:
    """(exit code, all that was printed, command lines of the processes below it) of `eprli-lab WORDS`."""
    environment = {**os.environ, "PYTHONPATH": str(REPO), **variables}
    process = subprocess.Popen(
        [sys.executable, "-m", "eprli_lab", *words],
        cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    seen: Counter[tuple[int, str]] = Counter()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.2):
            seen.update(_below(process.pid))

    watch = threading.Thread(target=look)
    watch.start()
    try:
        printed = process.communicate(timeout=240)[0]
    finally:
        ended.set()
        watch.join()
    # Until it executes its own program a new process has the command line of who started it: what the user typed.
    typed = " ".join([sys.executable, "-m", "eprli_lab", *words, ""])
    return process.returncode, printed, [line for (_, line), looks in seen.items() if line != typed or looks > 2]


def _below(pid: int) -> list[tuple[int, str]]:
    """(id, command line) of every process below one."""
    found = []
    with contextlib.suppress(OSError):
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            found.append((child, Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")))
            found += _below(child)
    return found


def holding(directory: Path, *secrets: str) -> list[str]:
    """Files below a directory with one of the secrets in them, in UTF-8 or UTF-16."""
    forms = [form for s in secrets for form in (s.encode(), s.encode("utf-16-le"))]
    files = [f for f in directory.rglob("*") if f.is_file()]
    return [str(f) for f in files if any(form in f.read_bytes() for form in forms)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(directory: Path) -> Iterator[int]:
    """A real tracking server; its port."""
    port = free_port()
    words = ["--workers", "1", "--port", str(port), "--backend-store-uri", f"sqlite:///{directory / 'server.db'}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *words, "--artifacts-destination", str(directory / "a")],
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, cwd=directory,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, "the server did not start"
                time.sleep(0.1)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_sweep_on_a_server_and_a_database_keeps_no_password(tmp_path: Path) -> None:
    import psycopg

    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    own_sweep(here, ARMS)
    with postgres.server() as uri, server(there) as port:
        with psycopg.connect(uri, autocommit=True) as admin:
            admin.execute(f"CREATE ROLE ann LOGIN SUPERUSER PASSWORD '{OTHER}'")
        storage = uri.replace("tester@", f"ann:{OTHER}@")
        tracking = f"http://ann:{PASSWORD}@127.0.0.1:{port}"
        words = ["run", "-m", "sweep=mine", *TINY, f"tracking.uri={tracking}", f"study.storage={storage}"]
        code, printed, below = command(here, *words, "hydra.output_subdir=.hydra")
        assert code == 0, printed
        again = command(here, *words[:-2], "tracking.uri=env:URI", "study.storage=file:storage", URI=tracking)
        assert again[0] == 2 and "storage cannot be read" in again[1]
        report = command(here, "report", "study=mine", "tracking.uri=env:URI", URI=tracking)
        assert report[0] == 0, report[1]
        refused = command(here, "report", "study=mine", f"tracking.uri=http://ann:***@127.0.0.1:{port}")
        assert refused[0] == 2 and "is without its password" in refused[1]
        upload = command(here, "upload", "outputs/mine/a/seed0")
        assert upload[0] == 2 and "EPRLI_TRACKING_URI" in upload[1]
        upload = command(here, "upload", "outputs/mine/a/seed0", EPRLI_TRACKING_URI=tracking)
        assert upload[0] == 0, upload[1]
        with psycopg.connect(uri) as connection:
            tables = [r[0] for r in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
            rows = [str(r) for table in tables for r in connection.execute(f'SELECT * FROM "{table}"').fetchall()]
    assert len(rows) > 10
    told = [printed, again[1], report[1], refused[1], upload[1], *below, *rows]
    assert below and not [text for text in told if PASSWORD in text or OTHER in text]
    assert not holding(tmp_path, PASSWORD, OTHER)
    for name in ("outputs/mine/a/seed0/spec.json", "outputs/mine/a/seed0/spool.jsonl"):
        assert f"http://ann:***@127.0.0.1:{port}" in (here / name).read_text(), name


BROKEN = """
import multiprocessing, os


def fail(*args, **kwargs):
    if multiprocessing.parent_process() is None:  # tried before the start
        from eprli_lab.algorithm.reward import outcome
        return outcome(*args, **kwargs)
    uri = next(v for k, v in os.environ.items() if k.startswith("EPRLI_URI_"))
    raise RuntimeError(f"no answer of {uri}, password {uri.split(':')[2].split('@')[0]}")
"""


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_failing_sweep_whose_file_has_the_password_keeps_it_nowhere_else(tmp_path: Path) -> None:
    own_sweep(tmp_path, ARMS, common=f"tracking:\n  uri: http://ann:{PASSWORD}@127.0.0.1:{free_port()}\n")
    (tmp_path / "broken.py").write_text(BROKEN)
    reward = "curriculum.levels.l1.reward=broken:fail"
    words = ["-m", "sweep=mine", *TINY, "study.retries=0", reward, "hydra.output_subdir=.hydra"]
    code, printed, below = command(tmp_path, *words, PYTHONPATH=f"{REPO}{os.pathsep}{tmp_path}")
    assert code in (1, 2) and "RuntimeError: no answer of http://ann:***@127.0.0.1" in printed, printed
    assert "Traceback" not in printed
    log = (tmp_path / "outputs/mine/a/seed0/log.txt").read_text()
    assert "Traceback" in log and "password ***" in log
    assert not [text for text in (printed, *below) if PASSWORD in text]
    (tmp_path / "sweeps" / "mine.yaml").unlink()  # the user's own
    assert not holding(tmp_path, PASSWORD)
