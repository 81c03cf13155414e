"""A real PostgreSQL for tests: its own data directory, a free port of the loopback interface, gone at the end."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def programs() -> Path | None:
    """The directory that holds initdb and postgres."""
    found = [Path(p).parent for p in (shutil.which("initdb"), shutil.which("pg_ctl")) if p]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((d for d in found if (d / "initdb").exists() and (d / "pg_ctl").exists()), None)


class Server:
    """One PostgreSQL: `uri` of its empty database; it can be stopped and started again on the same port."""

    def __init__(self, where: Path, directory: Path, options: str = "") -> None:
        self.where = where
        self.directory = directory
        self.user = pwd.getpwnam("nobody") if os.getuid() == 0 else None  # the server refuses to run as root
        if self.user is not None:
            os.chown(directory, self.user.pw_uid, self.user.pw_gid)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.data = str(directory / "data")
        self.options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off {options}"
        self.uri = f"postgresql://tester@127.0.0.1:{port}/postgres"

    def run(self, *command: str) -> None:
        done = subprocess.run(
            [str(self.where / command[0]), *command[1:]],
            user=self.user.pw_uid if self.user else None,
            group=self.user.pw_gid if self.user else None,
            cwd=self.directory,
            stdout=subprocess.DEVNULL,  # the server inherits a pipe and would hold it open
            stderr=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == 0, f"{command[0]} failed: see {self.directory}/log"

    def start(self) -> None:
        log = str(self.directory / "log")
        self.run("pg_ctl", "-D", self.data, "-l", log, "-w", "-o", self.options, "start")

    def stop(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "-D", self.data, "-m", mode, "stop")


@contextlib.contextmanager
def running(options: str = "") -> Iterator[Server]:
    """A server with an empty database. Skips clearly where PostgreSQL or its driver is not installed."""
    pytest.importorskip(
        "psycopg", reason="the PostgreSQL driver is not installed (pip install 'eprli-lab[postgresql]')"
    )
    where = programs()
    if where is None:
        pytest.skip("PostgreSQL is not installed on this machine (Debian: apt-get install postgresql)")
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    it = Server(where, directory, options)
    it.run("initdb", "-D", it.data, "-U", "tester", "-A", "trust", "--no-sync")
    it.start()
    try:
        yield it
    finally:
        with contextlib.suppress(AssertionError):  # a test may have stopped it
            it.stop("immediate")
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The URI of an empty database. Skips clearly where PostgreSQL or its driver is not installed."""
    with running() as it:
        yield it.uri
