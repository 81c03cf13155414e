"""One run's lines on disk: everything it logged, before it was sent.

Every line carries its number and a checksum, so that a line that was changed, lost or doubled is refused by name. The
lines of earlier versions have neither and are taken as they are. A last line without its end was cut by a kill.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from eprli_lab.errors import UserError
from eprli_lab.files import SUM, seal, unseal, write_whole

NAME = "spool.jsonl"
NUMBER = "n"  # the key of a line's number, from 1
KINDS = ({"run"}, {"id"}, {"metrics", "step", "at"}, {"artifact", "folder"}, {"register", "folder"}, {"end", "message"})


class SpoolError(UserError):
    """A spool that is not as it was written."""


@dataclass
class Spool:
    """One run's lines; their keys are KINDS."""

    path: Path
    header: dict[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    points: dict[tuple[str, int], tuple[float, int]] = field(default_factory=dict)  # (metric, step) -> value, ms
    artifacts: dict[tuple[str, str], None] = field(default_factory=dict)  # ordered set of (path, folder)
    models: dict[tuple[str, str], None] = field(default_factory=dict)  # ordered set of (registered model, folder)
    end: tuple[str, str | None] | None = None

    @classmethod
    def read(cls, path: Path) -> Spool:
        """What the file holds; a last line that a kill cut short is left out.

        Raises SpoolError, which names the file and the line, for anything else that is not as it was written.
        """
        spool = cls(path)
        try:
            lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
        except OSError as error:
            raise SpoolError(f"{path} cannot be read ({error.strerror})") from None
        sealed = bool(lines) and f'"{SUM}": "'.encode() in lines[0]  # else of an earlier version, or damaged: no entry
        for number, line in enumerate(lines, start=1):
            try:
                entry = unseal(line.decode()) if sealed else json.loads(line.decode())
                if sealed and entry.pop(NUMBER) != number:
                    raise ValueError("a line is missing or doubled")
                spool._take(entry)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise SpoolError(f"{path}:{number}: the line is damaged, so that its numbers are not used") from None
        return spool

    def _take(self, entry: dict[str, Any]) -> None:
        """Raises one of Python's errors for what is no entry."""
        if set(entry) not in KINDS:
            raise ValueError("no entry")
        if "run" in entry:
            header = entry["run"]
            if not all(isinstance(header[key], dict) for key in ("tags", "params", "tracking")):
                raise ValueError("no header")
            self.header = header
        elif "id" in entry:
            self.run_id = entry["id"]
        elif "metrics" in entry:
            step, at = int(entry["step"]), int(entry["at"])
            for key, value in entry["metrics"].items():
                self.points[key, step] = (float(value), at)
        elif "artifact" in entry:
            self.artifacts[str(self._present(entry["artifact"])), entry["folder"]] = None
        elif "register" in entry:
            self.models[str(entry["register"]), str(entry["folder"])] = None
        else:
            self.end = (str(entry["end"]), entry["message"])

    def _present(self, artifact: str) -> Path:
        """Where a file of the run is now: its directory may have been moved or copied since."""
        path = Path(artifact)
        beside = self.path.parent.resolve() / path.name
        if not path.is_absolute():
            return self.path.parent.resolve() / path
        return beside if beside.is_file() else path

    def steps(self) -> dict[int, dict[str, tuple[float, int]]]:
        """Step -> metric -> (value, ms), in order."""
        steps: dict[int, dict[str, tuple[float, int]]] = {}
        for (key, step), logged in self.points.items():
            steps.setdefault(step, {})[key] = logged
        return dict(sorted(steps.items()))

    def rewind(self, step: int) -> None:
        """Forget what was logged after a checkpoint's step, and that the run ended."""
        self.points = {key: value for key, value in self.points.items() if key[1] <= step}
        self.artifacts, self.models, self.end = {}, {}, None

    def rewrite(self) -> None:
        """Replace the file by what is remembered, in one move. Raises OSError and leaves the old one then."""
        entries: list[dict[str, Any]] = [{"run": self.header}, {"id": self.run_id}]
        steps: dict[tuple[int, int], dict[str, float]] = {}
        for (key, step), (value, at) in self.points.items():
            steps.setdefault((step, at), {})[key] = value
        entries += [{"metrics": m, "step": step, "at": at} for (step, at), m in steps.items()]
        entries += [artifact_entry(self.path.parent, path, folder) for path, folder in self.artifacts]
        entries += [{"register": name, "folder": folder} for name, folder in self.models]
        if self.end is not None:
            entries.append({"end": self.end[0], "message": self.end[1]})
        write_whole(self.path, "".join(_line(entry, n) for n, entry in enumerate(entries, start=1)))


def artifact_entry(directory: Path, path: str, folder: str) -> dict[str, Any]:
    """The line of a file; one of the run's directory is named from there, since the directory may be moved."""
    here = directory.resolve()
    inside = Path(path).is_relative_to(here)
    return {"artifact": str(Path(path).relative_to(here)) if inside else path, "folder": folder}


def _line(entry: Mapping[str, Any], number: int) -> str:
    return seal({NUMBER: number, **entry})


class SpoolWriter:
    """Appends lines to a spool that `Spool.rewrite` wrote. Each is with the operating system when `write` is back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._number = path.read_bytes().count(b"\n")
        self._file: IO[bytes] = open(path, "ab", buffering=0)
        self._size = self._file.tell()

    @property
    def closed(self) -> bool:
        """Was it closed?"""
        return self._file.closed

    def write(self, entry: Mapping[str, Any], sync: bool = False) -> None:
        """One line. `sync`: and onto the disk. Raises UserError when it cannot be written; the file is whole then."""
        data = _line(entry, self._number + 1).encode()
        try:
            written = self._file.write(data)
            if written != len(data):  # a disk that became full within the line says so only at the next byte
                self._file.write(data[written:])
            if sync:
                os.fsync(self._file.fileno())
        except OSError as error:
            os.ftruncate(self._file.fileno(), self._size)
            raise UserError(
                f"{self.path} cannot be written ({error.strerror}): free some space there; the same command goes on"
            ) from None
        self._number += 1
        self._size += len(data)

    def close(self) -> None:
        self._file.close()
