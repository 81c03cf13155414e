"""Who owns the weights (docs/algorithm.md, Weights): which network a level trains, and which answers a problem."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from eprli_lab.algorithm.progress import Progress
from eprli_lab.algorithm.schedule import Schedule, learning_rate, level_fraction
from eprli_lab.backends import manifest
from eprli_lab.backends.base import Backend
from eprli_lab.config.curriculum import CurriculumSpec
from eprli_lab.config.spec import RunSpec
from eprli_lab.data.strata import level_of
from eprli_lab.errors import UserError
from eprli_lab.files import sync_folder
from eprli_lab.records import Problem, Response, Sampling
from eprli_lab.training.evaluate import Answering
from eprli_lab.training.state import TrainState

INITIAL, CURRENT = "initial", "current"


class Policies:
    """The networks of a run, on an engine that holds one: `directory` keeps the others, as the engine saves them.

    - `shared`: one network, of all levels.
    - `snapshot`: one network, whose state at a level's end is kept and answers that level's problems later.
    - `separate`: each level's network starts from the initial policy, with a fresh optimizer, and is kept when the
      curriculum leaves the level; a level that is come back to goes on with its own.

    A problem of an evaluation belongs to the level whose stratum its difficulty falls in; above Q_L, or without a
    difficulty, to the hardest level. The level's network answers: the one in training, the kept one of a level that was
    left, and of a level that was not trained yet the initial policy (separate) or the one in training (snapshot).
    """

    def __init__(self, spec: RunSpec, backend: Backend, directory: Path) -> None:
        self.curriculum, self.backend, self.directory = spec.curriculum, backend, directory
        self.level: str | None = None  # in training, during an evaluation
        self.left: frozenset[str] = frozenset()
        self.held: str | None = None  # whose network the engine holds, during an evaluation; None: the one in training
        self.set_aside = False  # is the one in training in a file?
        self.checked: set[Path] = set()  # kept networks that were found to be as they were written

    def begin(self) -> None:
        """Keep the initial policy, before the first update."""
        if self.curriculum.weights == "separate":
            self._keep(self._path(INITIAL))

    def leave(self, level: str, state: TrainState) -> None:
        """Keep the network of a level that the curriculum leaves. Left again after a resume, it is written again."""
        if self.curriculum.weights != "shared":
            self._keep(self._path(level))
            state.left[level] = dict(state.log_weights)

    def enter(self, level: str, state: TrainState) -> None:
        """Under `separate` the engine trains this level's network from here on: its own, else the initial policy."""
        if self.curriculum.weights == "separate":
            self._load(self._path(level if level in state.left else INITIAL))
            state.log_weights = dict(state.left.get(level, {}))
            state.entropy_coef = None  # where it follows a target it starts anew

    def needed(self, state: TrainState) -> list[str]:
        """Names of the kept networks that a run needs that goes on from this state: of the levels that were left.

        That of the level in training is not one of them: it is written again when the level is left.
        """
        if self.curriculum.weights == "shared":
            return []
        initial = [INITIAL] if self.curriculum.weights == "separate" else []
        return initial + [self._path(level).name for level in sorted(state.left) if level != state.level]

    @contextlib.contextmanager
    def answering(self, state: TrainState) -> Iterator[Answering]:
        """Who answers an evaluation; afterwards the engine holds the network in training, as it was."""
        if self.curriculum.weights == "shared" or state.level is None:
            yield self.backend
            return
        self.level, self.left = state.level, frozenset(state.left)
        self.held, self.set_aside = None, False
        yield self
        if self.held is not None:
            self.backend.load(self._path(CURRENT))
        if self.set_aside:
            shutil.rmtree(self._path(CURRENT))

    def level_of(self, problem: Problem) -> str:
        """The level whose stratum holds a problem of this difficulty."""
        hardest = list(self.curriculum.levels)[-1]
        return (problem.difficulty is not None and level_of(self.curriculum, problem.difficulty)) or hardest

    def owner(self, problem: Problem) -> str | None:
        """Whose kept network answers a problem; None: the one in training."""
        level = self.level_of(problem)
        if level == self.level:
            return None
        if level in self.left:
            return level
        return INITIAL if self.curriculum.weights == "separate" else None

    def sample(self, problems: Sequence[Problem], sampling: Sampling, *, seed: int) -> list[tuple[Response, ...]]:
        """n responses for each problem, in order, each from its level's network."""
        owners = [self.owner(p) for p in problems]
        answers: dict[int, tuple[Response, ...]] = {}
        for owner in sorted(set(owners), key=lambda o: (o != self.held, o or "")):  # the one that is there first
            self._hold(owner)
            mine = [i for i, o in enumerate(owners) if o == owner]
            drawn = self.backend.sample([problems[i] for i in mine], sampling, seed=seed)
            answers |= dict(zip(mine, drawn, strict=True))
        return [answers[i] for i in range(len(problems))]

    def _hold(self, owner: str | None) -> None:
        if owner == self.held:
            return
        if not self.set_aside:
            self._keep(self._path(CURRENT))
            self.set_aside = True
        self._load(self._path(CURRENT if owner is None else owner))
        self.held = owner

    def _path(self, owner: str) -> Path:
        return self.directory / (owner if owner in (INITIAL, CURRENT) else f"level-{owner}")

    def _keep(self, path: Path) -> None:
        half = path.with_name(f"{path.name}.saving")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        try:
            self.backend.save(half)
            manifest.write_manifest(half, {"kind": "network"}, ("policy", "merged"))
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)  # room for the next try
            raise
        shutil.rmtree(path, ignore_errors=True)
        half.rename(path)
        sync_folder(self.directory)
        self.checked.add(path)

    def _load(self, path: Path) -> None:
        """Raises UserError for a network that is not as it was written; each is looked at once."""
        if path not in self.checked:
            remedy = f"the run cannot go on: remove {self.directory.parent} to begin it anew, or put a copy there"
            if not path.is_dir():
                raise UserError(f"{path} is missing: {remedy}")
            manifest.check_folder(path, remedy)
            self.checked.add(path)
        self.backend.load(path)


def network_updates(curriculum: CurriculumSpec, progress: Progress, level: str) -> int:
    """Updates that the network in training at this level has had: staleness and warm-up count them."""
    return progress.levels[level].updates if curriculum.weights == "separate" else progress.updates


def network_rate(spec: RunSpec, schedule: Schedule, progress: Progress, level: str) -> float:
    """Learning rate of the next update, by the updates and the share of the budget of the level's network."""
    unit = spec.budget.unit
    fraction = min(1.0, progress.spent(unit) / spec.budget.amount)
    if spec.curriculum.weights == "separate":
        fraction = level_fraction(schedule, progress, level, unit)
    return learning_rate(spec.optim, fraction, network_updates(spec.curriculum, progress, level))


def count_parameters(curriculum: CurriculumSpec, checkpoint: Path) -> int | None:
    """Parameters of all networks of a run, by the headers of a checkpoint's `policy/*.safetensors`; None: no such file.

    With adapters a checkpoint holds them alone. A head that is tied to the embedding counts once.
    """
    files = sorted((checkpoint / "policy").glob("*.safetensors"))
    shapes: dict[str, list[int]] = {}
    for file in files:
        with open(file, "rb") as f:
            header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        shapes |= {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}
    config = checkpoint / "policy" / "config.json"
    if config.is_file() and json.loads(config.read_text()).get("tie_word_embeddings"):
        shapes.pop("lm_head.weight", None)
    networks = len(curriculum.levels) if curriculum.weights == "separate" else 1
    return networks * sum(math.prod(shape) for shape in shapes.values()) if files else None
