"""Tracking URIs: where they lead, and whether anything is there."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from eprli_lab.config.credentials import VARIABLES, is_reference, reveal
from eprli_lab.config.tracking import DEFAULT_EXPERIMENT, DEFAULT_URI, TrackingSpec
from eprli_lab.escaping import shown
from eprli_lab.masking import HIDDEN

if TYPE_CHECKING:
    import sqlite3
ASKED = f"env:{VARIABLES['tracking.uri']}"  # where a URI with a password is asked for
DEFAULT_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


def store_words(tracking: TrackingSpec) -> list[str]:
    """Words of a command that lead it to this store, in another terminal too; none for the default one.

    No password is in any: such a URI is asked for in the environment.
    """
    words = []
    if not is_default(tracking.uri) or not is_default(os.environ.get("MLFLOW_TRACKING_URI")):
        words.append(f"tracking.uri={ASKED if HIDDEN in tracking.uri else tracking.uri}")
    named = os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT
    if {tracking.experiment, named} != {DEFAULT_EXPERIMENT}:
        words.append(f"tracking.experiment={tracking.experiment}")
    return words


def is_default(uri: str | None) -> bool:
    """Does it lead, or not said at all, to mlflow.db of the working directory?"""
    return not uri or absolute(uri) == absolute(DEFAULT_URI)


def resolve_uri(uri: str) -> str:
    """The URI to connect with: whole, and a relative SQLite file made absolute against the working directory.

    Raises UserError when its credentials are not there (config/credentials.py).
    """
    return absolute(reveal(uri))


def absolute(uri: str) -> str:
    """The URI, or the reference to one, with a relative file made absolute against the working directory."""
    if is_reference(uri):
        kind, _, path = uri.partition(":")
        return uri if kind == "env" else f"file:{Path.cwd() / path.removeprefix('//')}"
    prefix = "sqlite:///"
    if not uri.startswith(prefix) or uri.startswith(prefix + "/") or uri == prefix + ":memory:":
        return uri
    return f"{prefix}{Path.cwd() / uri.removeprefix(prefix)}"


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite URI, else None."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(absolute(uri).removeprefix("sqlite:///").partition("?")[0])


def check_reachable(uri: str, seconds: float = 3.0) -> None:
    """Raises ConnectionError with a short reason when the store cannot be used; MLflow would retry for minutes."""
    file = sqlite_file(uri)
    if file is not None:
        if not file.parent.is_dir():
            raise ConnectionError(f"the directory {file.parent} does not exist")
        if not os.access(file if file.exists() else file.parent, os.W_OK):
            raise ConnectionError(f"{file} cannot be written")
        if "%" in str(file):
            raise ConnectionError(f"{file}: MLflow reads % in a path as an escape; choose another directory")
        if file.exists() and not _is_sqlite(file):
            raise ConnectionError(f"{file} is not a SQLite database")
        return
    parts = urlsplit(uri)
    try:
        port = parts.port or DEFAULT_PORTS.get(parts.scheme.split("+")[0])
        if parts.hostname and port:
            socket.create_connection((parts.hostname, port), timeout=seconds).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(str(error)) from None


def _is_sqlite(file: Path) -> bool:
    """Asked of SQLite: opening and closing the file ourselves would drop the locks of this process's connections."""
    import sqlite3

    connection = read_only(file)
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:  # busy, or its log cannot be made: MLflow will say
        return True
    except sqlite3.DatabaseError:
        return False
    finally:
        connection.close()
    return True


def first_line(error: BaseException) -> str:
    """The first line of an error, without what libraries wrap around it, and without credentials."""
    lines = shown(str(error)).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 160 else lines[0][:157] + "..."


def read_only(file: Path) -> sqlite3.Connection:
    """A connection that cannot write; of a file in a directory that nobody may write to, one that needs no lock."""
    import sqlite3

    still = "" if os.access(file.parent, os.W_OK) or Path(f"{file}-wal").exists() else "&immutable=1"
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro{still}", uri=True, timeout=30)
