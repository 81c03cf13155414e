"""One run's lines on disk: everything it logged, before it was sent."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Spool:
    """One run's lines: {"run"}, {"id"}, {"metrics", "step", "at"}, {"artifact", "folder"}, {"end", "message"}."""

    path: Path
    header: dict[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    points: dict[tuple[str, int], tuple[float, int]] = field(default_factory=dict)  # (metric, step) -> value, ms
    artifacts: dict[tuple[str, str], None] = field(default_factory=dict)  # ordered set of (path, folder)
    end: tuple[str, str | None] | None = None

    @classmethod
    def read(cls, path: Path) -> Spool:
        """What the file holds; a last line that a kill cut short is left out."""
        spool = cls(path)
        for line in path.read_text().splitlines() if path.is_file() else ():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if "run" in entry:
                spool.header = entry["run"]
            elif "id" in entry:
                spool.run_id = entry["id"]
            elif "metrics" in entry:
                for key, value in entry["metrics"].items():
                    spool.points[key, entry["step"]] = (value, entry["at"])
            elif "artifact" in entry:
                spool.artifacts[entry["artifact"], entry["folder"]] = None
            elif "end" in entry:
                spool.end = (entry["end"], entry["message"])
        return spool

    def rewind(self, step: int) -> None:
        """Forget what was logged after a checkpoint's step, and that the run ended."""
        self.points = {key: value for key, value in self.points.items() if key[1] <= step}
        self.artifacts, self.end = {}, None

    def rewrite(self) -> None:
        """Replace the file by what is remembered, in one move."""
        lines: list[dict[str, Any]] = [{"run": self.header}, {"id": self.run_id}]
        steps: dict[tuple[int, int], dict[str, float]] = {}
        for (key, step), (value, at) in self.points.items():
            steps.setdefault((step, at), {})[key] = value
        lines += [{"metrics": m, "step": step, "at": at} for (step, at), m in steps.items()]
        lines += [{"artifact": path, "folder": folder} for path, folder in self.artifacts]
        partial = self.path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in lines))
        partial.replace(self.path)
