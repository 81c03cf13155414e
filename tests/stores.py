"""Runs planted in a real MLflow store."""

from __future__ import annotations

import json
import random
import statistics
from pathlib import Path

from helpers import small_spec

from eprli_lab.config.spec import RunSpec, TrackingSpec
from eprli_lab.tracking import names
from eprli_lab.tracking import parent as parents
from eprli_lab.tracking.description import StudyDescription
from eprli_lab.tracking.run import RunTracker
from eprli_lab.training.metrics import in_catalogue

SUITES = ("heldout_easy", "heldout_medium", "heldout_hard")


LEVELS = {"l1": ["l1"], "l2": ["l1", "l2"], "l3": ["l1", "l2", "l3"]}


STEPS = 12


GAIN = {"l1": 0.0, "l2": 0.1, "l3": 0.001}  # l2 is clearly better, l3 is lost in the noise


def evaluation(rng: random.Random, progress: float, gain: float, seed: int) -> dict[str, float]:
    out = {}
    for i, suite in enumerate(SUITES):
        accuracy = 0.5 - 0.1 * i + (0.3 + gain) * progress + 0.01 * seed + rng.uniform(-0.01, 0.01)
        out |= {names.accuracy(suite): accuracy, names.evaluation(suite, "response_tokens"): 20 + 5 * i + rng.random()}
    out["score"] = statistics.fmean(out[names.accuracy(s)] for s in SUITES)
    return out


def spec_of(study: str, arm: str, seed: int, *more: str) -> RunSpec:
    """What `plant` runs."""
    overrides = [f"curriculum={arm}", f"seed={seed}"] + (
        ["curriculum.levels.l2.clip.high=0.2718"] if arm != "l1" else []
    )
    return small_spec(*overrides, *more).model_copy(update={"study": study, "arm": arm})


def plant(
    directory: Path,
    parent: str | None,
    study: str,
    arm: str,
    seed: int,
    *,
    fail: bool = False,
    scored: bool = True,
    more: tuple[str, ...] = (),
):
    """One run as the training loop logs it."""
    spec = spec_of(study, arm, seed, *more)
    tracker = RunTracker(spec, parent_run_id=parent, run_id=None, run_dir=directory / study / f"{arm}-{seed}")
    rng, levels = random.Random(f"{arm}-{seed}"), LEVELS[arm]
    if scored:
        tracker.log(evaluation(rng, 0, 0, seed) | {names.TOKENS: 0, names.UPDATES: 0, names.TOTAL_SECONDS: 0.5}, 0)
    for step in range(1, STEPS + 1):
        level = levels[(step - 1) * len(levels) // STEPS]
        counts = {v: rng.randint(0, 4) for v in ("too_hard", "too_easy", "no_signal", "errored")}
        counts["admitted"] = rng.randint(3, 8)
        out = {names.groups(level, v): c for v, c in counts.items()}
        out[names.generated(level)] = sum(counts.values())
        out |= {names.clip_fraction(level, side): rng.random() / 50 for side in ("low", "high")}
        out |= {names.TOKENS: 1000 * step + seed, names.UPDATES: step, names.TOTAL_SECONDS: step + 0.5}
        assert all(in_catalogue(name) for name in out)
        tracker.log(out, step)
        if step == STEPS // 2 and scored:
            tracker.log(evaluation(rng, 0.5, GAIN[arm], seed), step)
    if fail:
        tracker.finish("FAILED", "NonFiniteError: loss nan at step 12")
        return
    if scored:
        tracker.log(evaluation(rng, 1, GAIN[arm], seed) | {names.TOTAL_SECONDS: STEPS + 1}, STEPS)
    tracker.finish("FINISHED", None)


def describe(arms: list[str], seeds: list[int]) -> dict:
    planned = {arm: {str(seed): spec_of("s", arm, seed).fingerprint() for seed in seeds} for arm in arms}
    return {
        "question": "Q?", "claim": "C.", "baseline": arms[0], "arms": arms, "seeds": seeds, "objective": "score",
        "planned": planned, "configurations": {arm: spec_of("s", arm, 0).fingerprint() for arm in arms},
    }  # fmt: skip


def open_parent(tracking: TrackingSpec, study: str, description: dict) -> str:
    """A study's parent whose description is that of a tag with this content."""
    return parents.open_parent(tracking, study, StudyDescription.from_tag(json.dumps(description)))
