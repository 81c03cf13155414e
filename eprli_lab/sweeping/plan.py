"""What a study will run: every arm composed, every search space read and validated, before anything starts."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from pydantic import ValidationError

from eprli_lab.config.parse import parse_spec
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError, nearest
from eprli_lab.sweeping.comparable import (
    check_contrasts,
    refuse_other_examinations,
    refuse_spaces,
    refuse_the_studys_own,
)
from eprli_lab.sweeping.look_state import refuse_looks
from eprli_lab.sweeping.search import Compose, Search, applicable, read_search, with_objective
from eprli_lab.sweeping.space import SearchSpec
from eprli_lab.sweeping.spec import AfterSpec, ArmSpec, PlannedRun, StudySpec, plan_run
from eprli_lab.sweeping.strategies import ArmsStrategy, SearchStrategy, Strategy
from eprli_lab.tracking.description import Objective, StudyDescription


@dataclass(frozen=True)
class Plan:
    """All runs of a study, in the order in which they are started; or, for kind `search`, how its trials are made."""

    study: str
    spec: StudySpec
    runs: tuple[PlannedRun, ...]
    notes: tuple[str, ...] = field(default_factory=tuple)  # what the user should know before the start
    search: Search | None = None
    kind: Literal["arms", "search"] = "arms"

    @cached_property
    def strategy(self) -> Strategy:
        """How its trials are made and what they mean."""
        if self.kind == "arms":
            return ArmsStrategy(self.spec, self.runs)
        assert self.search is not None
        return SearchStrategy(self.study, self.spec, self.search)

    @property
    def arms(self) -> list[str]:
        """Names, in the order in which they are started."""
        return list(dict.fromkeys(r.arm for r in self.runs))

    @property
    def objectives(self) -> list[Objective]:
        """At least one; the first is the headline."""
        return self.strategy.objectives

    @property
    def sample(self) -> RunSpec:
        """One spec of the study, for what is common to all: where it is tracked, its objective."""
        return self.strategy.sample

    @property
    def description(self) -> StudyDescription:
        """What the tracking parent remembers of the study."""
        return self.strategy.description

    def stored(self) -> dict[str, Any]:
        """What the study's storage remembers, for who asks how far it is: {"kind", "arms", "seeds", "trials"}."""
        description = self.description
        return {
            "kind": description.kind,
            "arms": list(description.arms),
            "seeds": list(description.seeds),
            "trials": self.spec.trials,
        }

    def searching(self) -> Plan:
        """The exploratory part, as a study of its own: its trials never mix with the arms of the table."""
        assert self.search is not None
        return dataclasses.replace(self, study=self.search.study, kind="search", runs=(), notes=())

    def with_winners(self, winners: Sequence[tuple[str, Mapping[str, Any]]]) -> Plan:
        """The arms and the search's winners, on the same fresh seeds. A winner that is an arm already adds nothing."""
        assert self.search is not None
        known = {r.spec.fingerprint(): r.arm for r in self.runs if r.seed == self.spec.seeds[0] and r.after is None}
        chosen: dict[str, dict[str, Any]] = {}
        notes = list(self.notes)
        for name, params in winners:
            tree = self.search.tree(params)
            twin = known.get(plan_run(name, self.spec.seeds[0], tree, self.study, None).spec.fingerprint())
            if twin is None:
                chosen[name] = tree
                known[parse_spec({**tree, "seed": self.spec.seeds[0]}).fingerprint()] = name
            else:
                notes.append(f"the search's {name} is the same configuration as {twin}: it is not run again")
        more = [plan_run(n, seed, tree, self.study, None) for seed in self.spec.seeds for n, tree in chosen.items()]
        runs = sorted([*self.runs, *more], key=lambda r: self.spec.seeds.index(r.seed))  # stable: arms keep their order
        return dataclasses.replace(self, runs=tuple(runs), notes=tuple(notes))


def build_plan(
    compose: Compose, node: dict[str, Any], preset: str, command_line: list[str], spaces: dict[str, str] | None = None
) -> Plan:
    """Compose every arm: its own overrides, then the command line's (which pin a swept value), then the seed.

    `spaces`: the command line's own spaces, config key -> text; they replace those of the sweep's file.
    Raises UserError for an unknown arm, an arm that does not compose, two arms that are the same, arms that cannot be
    compared (sweeping/comparable.py), no or double seeds, and a search whose space, requirement, sampler or pruner
    cannot work.
    """
    study = _study(node)
    named = any(a.startswith("study.name=") for a in command_line)
    name = study.name if preset == "default" or named else f"{study.name}-{preset}"
    chosen = _chosen_arms(study)
    refuse_the_studys_own(study)
    refuse_looks(study)
    refuse_spaces(spaces or {}, study.varies_evaluation)
    trees: dict[str, dict[str, Any]] = {}
    notes = check_contrasts(study, chosen)
    for arm in chosen:
        applied, arm_notes = applicable(arm, study.arms[arm].overrides, command_line, compose)
        notes += arm_notes
        try:
            trees[arm] = with_objective(compose(study.arms[arm].overrides + applied), study)
            parse_spec(trees[arm])
        except UserError as error:
            raise UserError(f"arm {arm}: {error}") from None
    search = read_search(compose, study, name, command_line, spaces or {})
    refuse_other_examinations(study, trees, search)
    _refuse_unused(command_line, trees, search)
    of_arms = [plan_run(a, study.seeds[0], trees[a], name, study.arms[a].after) for a in _ordered(chosen, study)]
    for run in of_arms:
        _check_after(run.arm, run.after, run.spec)
    runs = [run.with_seed(seed) for seed in study.seeds for run in of_arms]
    if not study.allow_duplicates:
        _refuse_twins(runs)
    return Plan(name, study, tuple(runs), tuple(dict.fromkeys(notes)), search)


def _study(node: dict[str, Any]) -> StudySpec:
    if not node.get("arms"):
        raise UserError(
            "-m needs a sweep, a file that names its arms: choose one (sweep=levels; eprli-lab sweeps lists them), "
            "write your own into ./sweeps (docs/sweeps.md), or give a key several values, which are the arms then "
            "(curriculum=l1,l2)"
        )
    arms = {name: (arm or {}) for name, arm in node["arms"].items()}
    try:
        study = StudySpec.model_validate({**node, "arms": arms, "objectives": node.get("objectives") or []})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in (first["loc"][:-2] if first["loc"][-1] == "[key]" else first["loc"]))
        hint = ""
        if first["type"] == "extra_forbidden":
            known: Any = {"search": SearchSpec, "arms": ArmSpec}.get(str(first["loc"][0]), StudySpec)
            hint = nearest(str(first["loc"][-1]), known.model_fields)
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"study.{where}: {message[0].lower()}{message[1:]}{hint}") from None
    if not study.seeds:
        raise UserError("study.seeds is empty: name at least one seed, for instance study.seeds=[0,1]")
    for where, seeds in (("seeds", study.seeds), ("search_seeds", study.search_seeds)):
        if len(set(seeds)) < len(seeds):
            raise UserError(f"study.{where}: {seeds} names a seed twice")
    return study


def _chosen_arms(study: StudySpec) -> list[str]:
    """Arms to run: all, or `only` with the baseline and what they wait for."""
    for where, names in (
        ("study.baseline", [study.baseline]),
        ("study.only", study.only or []),
        *((f"study.arms.{n}.after.arm", [a.after.arm]) for n, a in study.arms.items() if a.after),
        *((f"study.arms.{n}.baseline", [a.baseline]) for n, a in study.arms.items() if a.baseline),
    ):
        for name in names:
            if name not in study.arms:
                raise UserError(f"{where}: there is no arm '{name}'{nearest(name, study.arms)}")
    if study.only is None:
        return list(study.arms)
    wanted = {study.baseline, *study.only}
    for _ in study.arms:
        wanted |= {a.after.arm for n in wanted if (a := study.arms[n]).after is not None}
        wanted |= {b for n in wanted if (b := study.arms[n].baseline) is not None}
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


def _refuse_unused(command_line: list[str], trees: dict[str, Any], search: Search | None) -> None:
    """A level override that no arm and no trial has is a mistake."""
    composed = [*trees.values(), *(search.bases.values() if search else ())]
    for a in command_line:
        level = re.match(r"curriculum\.levels\.([^.=]+)[.=]", a)
        known = {name for tree in composed for name in tree["curriculum"]["levels"]}
        if level and level[1] not in known:
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
