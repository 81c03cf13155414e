"""Random damages to a run's directory: what is restored are the undisturbed numbers, or one sentence says why not."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from damage import REFUSED, SILENT, TRACEBACK, UNDISTURBED, classify, counts, damage, seeds
from helpers import small_spec
from loops import TINY, Killed, Mortal, small_levels, tables, trainer

from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.config.spec import RunSpec
from eprli_lab.files import write_whole
from eprli_lab.training.checkpoint import RunStore
from eprli_lab.training.execute import disk_sentences
from eprli_lab.training.policies import Policies
from eprli_lab.training.run_id import read_run_id, write_run_id
from eprli_lab.training.state import TrainState

OWNER = {"fingerprint": "f", "study": None, "arm": None}


def real(spec: RunSpec) -> LocalBackend:
    return LocalBackend(spec.model, spec.optim, spec.backend, family="mod10", kl_reference=False, seed=0)


class Resumable:
    """A run of two levels with networks of their own that was killed, and all that a resume would begin with."""

    def __init__(self, home: Path) -> None:
        self.spec = small_spec(*TINY, *small_levels(2), "curriculum.weights=separate", "tracking.samples_per_step=1")
        self.home = home
        self.backend = real(self.spec)
        engine = Mortal(self.backend)
        seen: list[int] = []

        def killed_in_the_second_level(values: dict[str, float], step: int) -> None:
            if made.state.level == "l2" and made.state.progress.levels["l2"].updates >= 1:
                seen.append(step)
                raise Killed

        made = trainer(self.spec, home, engine)
        made.log = killed_in_the_second_level
        with pytest.raises(Killed):
            made.run()
        self.strata = made.strata
        write_run_id(home, "0123", OWNER)
        write_whole(home / "spec.json", self.spec.model_dump_json(indent=1))
        write_whole(home / "prompts.json", json.dumps({"l1": "1a+1?"}))
        self.newest = self.resume(self.copy("newest"))
        behind = self.copy("behind")
        shutil.rmtree(RunStore(behind, "").checkpoints()[-1])
        self.older = self.resume(behind)
        self.earlier = self.copy("earlier")
        for path in RunStore(self.earlier, "").checkpoints()[:1]:  # of every file of the newest: the one before
            last = RunStore(self.earlier, "").checkpoints()[-1]
            shutil.rmtree(last)
            path.rename(last)

    def copy(self, name: str) -> Path:
        where = self.home.with_name(name)
        shutil.rmtree(where, ignore_errors=True)
        shutil.copytree(self.home, where)
        return where

    def resume(self, where: Path) -> tuple[Any, ...]:
        """What training would go on with, as text and digests."""
        store = RunStore(where, self.spec.fingerprint())
        with disk_sentences(store.last_good):
            known = read_run_id(where, OWNER)
            write_run_id(where, known, OWNER)
            write_whole(where / "spec.json", self.spec.model_dump_json(indent=1))
            write_whole(where / "prompts.json", json.dumps({"l1": "1a+1?"}))
            saved = store.restore(self.backend)
            assert saved is not None
            state = TrainState.from_json(saved, self.spec, self.strata)
            parts = [_digest(self.backend)]
            policies = Policies(self.spec, self.backend, where / "policies")
            for name in policies.needed(state):
                policies._load(where / "policies" / name)
                parts.append(_digest(self.backend))
            assert known in ("0123", None)
            texts = [(where / f).read_text() for f in ("spec.json", "prompts.json")]
            return (json.dumps(saved), json.dumps(state.to_json()), *parts, *texts, *tables(where).values())


def _digest(backend: LocalBackend) -> str:
    tensors, steps = backend.optimizer.state()
    out = hashlib.sha256(json.dumps(steps).encode())
    for name, tensor in sorted({**backend.policy.state_dict(), **tensors}.items()):
        out.update(name.encode() + tensor.detach().numpy().tobytes())
    return out.hexdigest()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Resumable:
    return Resumable(tmp_path_factory.mktemp("damaged") / "run")


def campaign(run: Resumable, seeds: range) -> list[tuple[int, str, str, str, str]]:
    """(seed, file, kind, outcome, sentence) of each damage."""
    out = []
    logging.disable(logging.WARNING)
    for seed in seeds:
        where = run.copy("case")
        path, kind = damage(where, random.Random(seed), earlier=run.earlier)
        outcome, said = classify(lambda where=where: run.resume(where), lambda got: got in (run.newest, run.older))
        out.append((seed, path.as_posix(), kind, outcome, said))
    logging.disable(logging.NOTSET)
    return out


@pytest.mark.slow
def test_no_damage_to_a_run_is_silent_or_ends_in_a_traceback(run: Resumable) -> None:
    found = campaign(run, seeds(150))
    assert [case for case in found if case[3] in (TRACEBACK, SILENT)] == []
    assert {case[3] for case in found} == {UNDISTURBED, REFUSED}
    assert sum(case[3] == UNDISTURBED for case in found) > 90, counts([(c[1], c[3]) for c in found])
