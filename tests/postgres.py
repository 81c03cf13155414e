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


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The URI of an empty database. Skips clearly where PostgreSQL or its driver is not installed."""
    pytest.importorskip(
        "psycopg", reason="the PostgreSQL driver is not installed (pip install 'eprli-lab[postgresql]')"
    )
    where = programs()
    if where is None:
        pytest.skip("PostgreSQL is not installed on this machine (Debian: apt-get install postgresql)")
    user = pwd.getpwnam("nobody") if os.getuid() == 0 else None  # the server refuses to run as root
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    if user is not None:
        os.chown(directory, user.pw_uid, user.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(*command: str) -> None:
        done = subprocess.run(
            [str(where / command[0]), *command[1:]],
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            cwd=directory,
            stdout=subprocess.DEVNULL,  # the server inherits a pipe and would hold it open
            stderr=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == 0, f"{command[0]} failed: see {directory}/log"

    data = str(directory / "data")
    run("initdb", "-D", data, "-U", "tester", "-A", "trust", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    run("pg_ctl", "-D", data, "-l", str(directory / "log"), "-w", "-o", options, "start")
    try:
        yield f"postgresql://tester@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(directory, ignore_errors=True)
