"""What a mirror is: another place that is told what MLflow is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from eprli_lab.config.spec import RunSpec
from eprli_lab.masking import masked


class Row(NamedTuple):
    """One step of a run."""

    step: int
    values: Mapping[str, tuple[float, int]]  # metric -> (value, milliseconds since 1970)

    @property
    def numbers(self) -> dict[str, float]:
        """Metric -> value."""
        return {key: value for key, (value, _) in self.values.items()}

    @property
    def seconds(self) -> float:
        """When its last value was logged, in seconds since 1970."""
        return max(at for _, at in self.values.values()) / 1000


@dataclass(frozen=True)
class MirroredRun:
    """What is known of a run before its first value: as MLflow is told, without credentials."""

    id: str  # the same when the run goes on: the tag eprli.token in MLflow
    experiment: str
    study: str | None
    arm: str | None
    seed: int
    name: str  # ARM/seedN; of a run by itself its directory's
    params: Mapping[str, Any]  # dotted config path -> value
    tags: Mapping[str, str]
    home: Path  # the working directory

    @classmethod
    def of(cls, spec: RunSpec, tags: Mapping[str, str], directory: Path) -> MirroredRun:
        """The run of a spec with MLflow's `tags`, in its `directory`."""
        return cls(
            id=tags["eprli.token"],
            experiment=spec.tracking.experiment,
            study=spec.study,
            arm=spec.arm,
            seed=spec.seed,
            name=f"{spec.arm}/seed{spec.seed}" if spec.arm else directory.name,
            params=masked(spec.flat()),
            tags=tags,
            home=Path.cwd(),
        )


class Mirror(Protocol):
    """One place for one run. Each method may raise whatever it likes: that ends the mirror, never the run."""

    def start(self, run: MirroredRun) -> int:
        """Open it, for a run that begins or goes on; the first step that it lacks. Rows are sent from there."""

    def rows(self, rows: Sequence[Row]) -> None:
        """Steps in order, each complete and each once. They are on the disk or on their way when it is back."""

    def file(self, path: Path, folder: str) -> None:
        """A file of the run, in `folder` of its files."""

    def finish(self, status: str, message: str | None) -> None:
        """The run ended, for now or for good. Nothing follows."""
