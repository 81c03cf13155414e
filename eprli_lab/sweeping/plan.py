"""What a study will run: every arm composed and validated before anything starts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from eprli_lab.errors import UserError, nearest
from eprli_lab.spec import Name, RunSpec, Strict, parse_spec

Compose = Callable[[list[str]], dict[str, Any]]


class AfterSpec(Strict):
    """This arm's run of a seed waits for another arm's run of that seed and takes values from its last metrics."""

    arm: str
    set: dict[str, str]  # dotted config key -> metric name


class ArmSpec(Strict):
    """One arm: what differs from the composed config."""

    overrides: list[str] = Field(default_factory=list)
    after: AfterSpec | None = None


class StudySpec(Strict):
    """The `study` node of a sweep."""

    name: Name
    question: str | None = None
    claim: str | None = None
    baseline: str
    arms: dict[Name, ArmSpec]
    only: list[str] | None = None
    seeds: list[int]
    workers: int | None = Field(default=None, ge=1, le=256)
    retries: int = Field(default=1, ge=0, le=10)
    allow_duplicates: bool = False
    pinned: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class PlannedRun:
    """One (arm, seed)."""

    arm: str
    seed: int
    spec: RunSpec
    directory: Path
    after: AfterSpec | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.arm, self.seed


@dataclass(frozen=True)
class Plan:
    """All runs of a study, in the order in which they are started."""

    study: str
    node: StudySpec
    runs: tuple[PlannedRun, ...]
    notes: tuple[str, ...] = field(default_factory=tuple)  # what the user should know before the start

    @property
    def baseline(self) -> str:
        return self.node.baseline

    @property
    def arms(self) -> list[str]:
        return list(dict.fromkeys(r.arm for r in self.runs))

    @property
    def description(self) -> dict[str, Any]:
        """What the tracking parent remembers of the study."""
        arms = [a for a in self.node.arms if a in self.arms]
        return {
            "question": self.node.question,
            "claim": self.node.claim,
            "baseline": self.node.baseline,
            "arms": arms,
            "seeds": self.node.seeds,
            "objective": self.runs[0].spec.objective,
        }

    def binding(self) -> dict[str, dict[str, Any]]:
        """arm -> {dotted key: value}: what a study name stands for. Seeds may be added, the rest may not change."""
        out = {}
        for run in self.runs:
            flat = run.spec.flat()
            skip = ("seed", "study", "arm", "tracking.", "checkpoint.")
            out[run.arm] = {k: v for k, v in flat.items() if not k.startswith(skip)}
            if run.after is not None:
                out[run.arm] |= {f"after.{run.after.arm}.{k}": v for k, v in run.after.set.items()}
        return out


def build_plan(compose: Compose, node: dict[str, Any], preset: str, command_line: list[str]) -> Plan:
    """Compose every arm: its own overrides, then the command line's (which pin a swept value), then the seed.

    Raises UserError for an unknown arm, an arm that does not compose, two arms that are the same, no or double seeds.
    """
    study = _study(node)
    named = any(a.startswith("study.name=") for a in command_line)
    name = study.name if preset == "default" or named else f"{study.name}-{preset}"
    chosen = _chosen_arms(study)
    trees, notes = {}, []
    for arm in chosen:
        mine, note = _applicable(arm, study.arms[arm].overrides, command_line, compose)
        notes += note
        try:
            trees[arm] = compose(study.arms[arm].overrides + mine)
            parse_spec(trees[arm])
        except UserError as error:
            raise UserError(f"arm {arm}: {error}") from None
    _refuse_unused(command_line, chosen, notes, trees)
    runs = []
    for seed in study.seeds:
        for arm in _ordered(chosen, study):
            spec = parse_spec({**trees[arm], "seed": seed}).model_copy(update={"study": name, "arm": arm})
            _check_after(arm, study.arms[arm].after, spec)
            runs.append(
                PlannedRun(arm, seed, spec, Path("outputs") / name / arm / f"seed{seed}", study.arms[arm].after)
            )
    if not study.allow_duplicates:
        _refuse_twins(runs)
    return Plan(name, study, tuple(runs), tuple(dict.fromkeys(notes)))


def _study(node: dict[str, Any]) -> StudySpec:
    if not node.get("arms"):
        raise UserError("-m with the ablation sweeper needs a sweep with arms: for instance sweep=levels")
    arms = {name: (arm or {}) for name, arm in node["arms"].items()}
    try:
        study = StudySpec.model_validate({**node, "arms": arms})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        hint = nearest(str(first["loc"][-1]), StudySpec.model_fields) if first["type"] == "extra_forbidden" else ""
        raise UserError(f"study.{where}: {first['msg'][0].lower()}{first['msg'][1:]}{hint}") from None
    if not study.seeds:
        raise UserError("study.seeds is empty: name at least one seed, for instance study.seeds=[0,1]")
    if len(set(study.seeds)) < len(study.seeds):
        raise UserError(f"study.seeds: {study.seeds} names a seed twice")
    return study


def _chosen_arms(study: StudySpec) -> list[str]:
    """Arms to run: all, or `only` with the baseline and what they wait for."""
    for where, names in (
        ("study.baseline", [study.baseline]),
        ("study.only", study.only or []),
        *((f"study.arms.{n}.after.arm", [a.after.arm]) for n, a in study.arms.items() if a.after),
    ):
        for name in names:
            if name not in study.arms:
                raise UserError(f"{where}: there is no arm '{name}'{nearest(name, study.arms)}")
    if study.only is None:
        return list(study.arms)
    wanted = {study.baseline, *study.only}
    for _ in study.arms:
        wanted |= {a.after.arm for n in wanted if (a := study.arms[n]).after is not None}
    return [n for n in study.arms if n in wanted]


def _ordered(chosen: list[str], study: StudySpec) -> list[str]:
    """Arms so that each comes after the one it waits for. Raises UserError for a cycle."""
    out: list[str] = []
    left = list(chosen)
    while left:
        ready = [n for n in left if (after := study.arms[n].after) is None or after.arm in out]
        if not ready:
            raise UserError(f"study.arms: {', '.join(left)} wait for each other: remove one `after`")
        # what others wait for goes first, so that they are not kept waiting at the end
        awaited = {a.after.arm for a in study.arms.values() if a.after}
        ready.sort(key=lambda n: n not in awaited)
        out.append(ready[0])
        left.remove(ready[0])
    return out


def _applicable(arm: str, own: list[str], command_line: list[str], compose: Compose) -> tuple[list[str], list[str]]:
    """The command line's overrides that mean something to this arm: those of a level it lacks are left out."""
    keyed = [(a, re.match(r"curriculum\.levels\.([^.=]+)[.=]", a)) for a in command_line]
    others = [a for a, level in keyed if level is None]
    if len(others) == len(keyed):
        return command_line, []
    try:
        levels = compose(own + others)["curriculum"]["levels"]
    except UserError as error:
        raise UserError(f"arm {arm}: {error}") from None
    mine = [a for a, level in keyed if level is None or level[1] in levels]
    notes = [f"{a} does not apply to arm {arm} (no level {level[1]})" for a, level in keyed if level and a not in mine]
    return mine, notes


def _refuse_unused(command_line: list[str], chosen: list[str], notes: list[str], trees: dict[str, Any]) -> None:
    """A level override that no arm has is a mistake."""
    for a in command_line:
        level = re.match(r"curriculum\.levels\.([^.=]+)[.=]", a)
        if level and sum(n.startswith(f"{a} does not apply") for n in notes) == len(chosen):
            known = {name for tree in trees.values() for name in tree["curriculum"]["levels"]}
            raise UserError(f"{a}: no arm has a level '{level[1]}'{nearest(level[1], known)}")


def _check_after(arm: str, after: AfterSpec | None, spec: RunSpec) -> None:
    for key in after.set if after else ():
        if key not in spec.flat():
            raise UserError(f"study.arms.{arm}.after.set: unknown key '{key}'{nearest(key, spec.flat())}")


def _refuse_twins(runs: list[PlannedRun]) -> None:
    """Two arms with the same config would be one arm counted twice."""
    seen: dict[tuple[str, str], str] = {}
    for run in runs:
        key = (run.spec.fingerprint(), repr(run.after))
        if key in seen and seen[key] != run.arm:
            raise UserError(
                f"arms {seen[key]} and {run.arm} are the same configuration: change or leave out one "
                "(study.allow_duplicates=true for an A/A comparison)"
            )
        seen[key] = run.arm
