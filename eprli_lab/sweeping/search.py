"""The exploratory part of a sweep: its space read and checked, its points turned into runs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eprli_lab.config.parse import parse_spec
from eprli_lab.config.paths import CONF_DIR
from eprli_lab.errors import UserError, nearest
from eprli_lab.sweeping.space import Dimension, Requirement, SearchSpec, expand, parse_dimension, set_values, value_at
from eprli_lab.sweeping.spec import PlannedRun, StudySpec, plan_run

Compose = Callable[[list[str]], dict[str, Any]]
TRIAL_NAME = re.compile(r"t\d{4,}")


@dataclass(frozen=True)
class Search:
    """The exploratory part of a sweep: where its points come from and what a point becomes."""

    study: str
    spec: SearchSpec
    dimensions: tuple[Dimension, ...]
    bases: dict[str, dict[str, Any]]  # the composed config by the choices of the searched config groups
    requirements: tuple[Requirement, ...]
    seeds: tuple[int, ...]
    pinned: frozenset[str] = frozenset()  # keys that the command line gave one value

    def tree(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The config at a point. Keys that a config group does not have are left out."""
        groups = [d.key for d in self.dimensions if is_group(d.key)]
        base = self.bases[_combination([params[g] for g in groups])]
        return set_values(base, {k: v for k, v in params.items() if k not in groups}, keep=self.pinned)

    def usable(self, params: Mapping[str, Any]) -> bool:
        """Does the point validate and keep every requirement?"""
        try:
            flat = parse_spec(self.tree(params)).flat()
        except UserError:
            return False
        return all(r.holds(flat) for r in self.requirements)

    def runs(self, name: str, params: Mapping[str, Any]) -> tuple[PlannedRun, ...]:
        """One run a seed, in the order in which they are made."""
        tree = self.tree(params)
        return tuple(plan_run(name, seed, tree, self.study, None) for seed in self.seeds)

    def start(self) -> dict[str, Any] | None:
        """The point that the config itself is, when the space holds it: the first one of a search."""
        if any(is_group(d.key) for d in self.dimensions):
            return None
        tree = next(iter(self.bases.values()))
        params = {d.key: value_at(tree, d.key) for d in self.dimensions}
        return params if all(d.holds(params[d.key]) for d in self.dimensions) and self.usable(params) else None


def is_group(key: str) -> bool:
    """Is this key a config group, chosen as a whole?"""
    return "." not in key and (CONF_DIR / key).is_dir()


def _combination(choices: Sequence[Any]) -> str:
    return "".join(f"{c}/" for c in choices)


def read_search(
    compose: Compose, study: StudySpec, name: str, command_line: list[str], spaces: dict[str, str]
) -> Search | None:
    """The exploratory part, read and checked; None where the sweep has none."""
    spec = study.search
    if spec is None:
        if spaces:
            key, text = next(iter(spaces.items()))
            raise UserError(
                f"{key}={text}: this sweep has its own arms and no search: give one value to pin it for every arm, or "
                "leave out sweep=, and the values are the arms"
            )
        return None
    _check_search(study, spec)
    pinned = {a.partition("=")[0].lstrip("+~") for a in command_line}
    texts = {k: t for k, t in {**spec.space, **spaces}.items() if k not in pinned}
    if not texts:
        raise UserError("study.search.space is empty: everything is pinned, so there is nothing to search")
    dimensions = tuple(parse_dimension(key, text) for key, text in texts.items())
    groups = [d for d in dimensions if is_group(d.key)]
    bases = {}
    for values in itertools.product(*(d.choices for d in groups)):
        picked = [f"{d.key}={v}" for d, v in zip(groups, values, strict=True)]
        applied, _ = applicable("the search", spec.overrides + picked, command_line, compose)
        try:
            bases[_combination(values)] = with_objective(compose(spec.overrides + picked + applied), study)
            parse_spec(bases[_combination(values)])
        except UserError as error:
            raise UserError(f"study.search: {error}") from None
    search = Search(
        study=f"{name}-search",
        spec=spec,
        dimensions=dimensions,
        bases=bases,
        requirements=tuple(Requirement(text) for text in spec.require),
        seeds=tuple(study.search_seeds),
        pinned=frozenset(pinned),
    )
    _check_space(search)
    return search


def _check_search(study: StudySpec, spec: SearchSpec) -> None:
    if not study.search_seeds:
        raise UserError("study.search_seeds is empty: name at least one seed, for instance study.search_seeds=[100]")
    both = set(study.seeds) & set(study.search_seeds)
    if both:
        raise UserError(
            f"study.search_seeds: {min(both)} is also one of study.seeds: winners must be confirmed on fresh seeds"
        )
    if spec.pruner != "none" and len(study.objectives) > 1:
        raise UserError(f"study.search.pruner: {spec.pruner} cannot prune a search with several objectives: use none")
    if spec.pruner == "wilcoxon" and len(study.search_seeds) < 3:
        raise UserError(
            "study.search.pruner: wilcoxon compares seeds, and needs at least 3 of them in study.search_seeds"
        )
    if spec.pruner in ("median", "hyperband") and len(study.search_seeds) > 1:
        raise UserError(
            f"study.search.pruner: {spec.pruner} compares evaluations within a run: use one seed in "
            "study.search_seeds, or wilcoxon to prune between seeds"
        )
    bad = [a for a in study.arms if TRIAL_NAME.fullmatch(a)]
    if bad:
        raise UserError(f"study.arms.{bad[0]}: names like t0003 are those of the search's trials: choose another name")


def _check_space(search: Search) -> None:
    """Every key exists, every extreme value is allowed there, every requirement can be read. Raises UserError."""
    for d in search.dimensions:
        if is_group(d.key):
            continue
        trees = [t for t in search.bases.values() if expand(t, d.key)]
        if not trees:
            known = sorted(set().union(*(parse_spec(t).flat() for t in search.bases.values())))
            raise UserError(f"study.search.space: unknown key '{d.key}'{nearest(d.key, known)}")
        within = [p for p in expand(trees[0], d.key) if isinstance(value_at(trees[0], p), dict)]
        if within:
            raise UserError(f"study.search.space: {within[0]} is a part of the config, not a value: name one in it")
        for value in d.extremes():
            try:
                parse_spec(set_values(trees[0], {d.key: value}))
            except UserError as error:
                # what only clashes with another value may fit elsewhere
                if any(str(error).startswith(f"{path}:") for path in expand(trees[0], d.key)):
                    raise UserError(f"study.search.space: {error}") from None
    if search.spec.pruner in ("median", "hyperband"):
        for tree in search.bases.values():
            if parse_spec(tree).evaluation.curve_points < 1:
                raise UserError(
                    f"study.search.pruner: {search.spec.pruner} needs evaluations within a run: "
                    "evaluation.curve_points >= 1"
                )
    flat: dict[str, Any] = {}
    for tree in search.bases.values():
        flat |= parse_spec(tree).flat()
    for r in search.requirements:
        r.check_keys(flat)


def with_objective(tree: dict[str, Any], study: StudySpec) -> dict[str, Any]:
    """The config of a run whose objective is the study's first one."""
    return {**tree, "objective": study.objectives[0].metric} if study.objectives else tree


def applicable(
    arm: str, overrides: list[str], command_line: list[str], compose: Compose
) -> tuple[list[str], list[str]]:
    """The command line's overrides that mean something to this arm: those of a level it lacks are left out."""
    keyed = [(a, re.match(r"curriculum\.levels\.([^.=]+)[.=]", a)) for a in command_line]
    others = [a for a, level in keyed if level is None]
    if len(others) == len(keyed):
        return command_line, []
    try:
        levels = compose(overrides + others)["curriculum"]["levels"]
    except UserError as error:
        raise UserError(f"{arm if ' ' in arm else f'arm {arm}'}: {error}") from None
    applied = [a for a, level in keyed if level is None or level[1] in levels]
    notes = [
        f"{a} does not apply to arm {arm} (no level {level[1]})" for a, level in keyed if level and a not in applied
    ]
    return applied, notes
