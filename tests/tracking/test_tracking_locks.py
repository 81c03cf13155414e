"""A SQLite file that is opened and closed beside SQLite loses the locks of the whole process.

POSIX drops all locks of a process on a file when any descriptor of it is closed (sqlite.org/howtocorrupt.html, 2.2).
Another process then takes itself for the last one, removes the write-ahead log under our feet, and the next query
answers "database disk image is malformed".
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from eprli_lab.tracking.uri import check_reachable

ANOTHER = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('INSERT INTO t VALUES (2)'); c.commit(); c.close()"


def test_looking_at_the_store_keeps_our_locks(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    ours = sqlite3.connect(file)
    ours.execute("PRAGMA journal_mode=WAL")
    ours.execute("CREATE TABLE t (x)")
    ours.commit()
    check_reachable(f"sqlite:///{file}")
    subprocess.run([sys.executable, "-c", ANOTHER, str(file)], check=True)
    assert (tmp_path / "mlflow.db-wal").exists(), "another process removed the log that our connection reads"
    assert ours.execute("SELECT x FROM t").fetchall() == [(2,)]
    ours.close()


def test_what_is_no_database_is_still_refused(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    check_reachable(f"sqlite:///{file}")  # not there yet: it can be made
    assert not file.exists(), "looking makes nothing"
    file.write_bytes(b"")
    check_reachable(f"sqlite:///{file}")
    file.write_text("something else entirely, and longer than a header\n" * 10)
    with pytest.raises(ConnectionError, match="is not a SQLite database"):
        check_reachable(f"sqlite:///{file}")
    with pytest.raises(ConnectionError, match="does not exist"):
        check_reachable(f"sqlite:///{tmp_path}/nowhere/mlflow.db")
