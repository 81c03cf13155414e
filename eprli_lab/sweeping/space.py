"""What a search may change: a space of config values, written in Hydra's own override grammar.

`choice(a, b)`, `range(start, stop, step)` (stop excluded, as in Python), `interval(low, high)`, and `tag(log, ...)`
around the last. The same text works in a sweep file and on the command line.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from eprli_lab.config.fields import Fraction, Strict
from eprli_lab.errors import UserError, nearest


class SearchSpec(Strict):
    """The `study.search` node of a sweep: exploratory trials whose winners are run again on fresh seeds."""

    space: dict[str, str]  # dotted config key or config group -> choice(...), range(...), interval(...)
    require: list[str] = Field(default_factory=list)  # "key < key": points that break one are drawn again
    overrides: list[str] = Field(default_factory=list)  # common to all trials
    sampler: Literal["tpe", "gp", "qmc", "random"] = "tpe"
    sampler_seed: int = 0
    pruner: Literal["none", "wilcoxon", "median", "hyperband"] = "none"
    p_threshold: Fraction = 0.1  # of the Wilcoxon pruner
    confirm: int = Field(default=1, ge=0, le=100)  # winners that are run again on the study's own seeds


@dataclass(frozen=True)
class Dimension:
    """One searched value: its choices, or its bounds (both included)."""

    key: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    whole: bool = False  # integers

    def distribution(self) -> Any:
        """As Optuna has it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def at(self, share: float) -> Any:
        """The value at a share in [0, 1) of the dimension, every value equally likely."""
        if self.choices:
            return self.choices[int(share * len(self.choices))]
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
            return round(value) if self.whole else value
        if self.whole or self.step:
            step = self.step or 1
            count = round((self.high - self.low) / step) + 1
            value = round(self.low + int(share * count) * step, 12)
            return int(value) if self.whole else value
        return self.low + share * (self.high - self.low)

    def holds(self, value: Any) -> bool:
        """Is this one of its values?"""
        if self.choices:
            return any(value == c and isinstance(value, bool) == isinstance(c, bool) for c in self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-9

    def extremes(self) -> tuple[Any, ...]:
        """Every choice, or both bounds."""
        if self.choices:
            return self.choices
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def text(self) -> str:
        """For people."""
        if self.choices:
            return "{" + ", ".join("null" if c is None else str(c) for c in self.choices) + "}"
        step = f" by {self.step:g}" if self.step else ""
        return f"[{self.low:g}, {self.high:g}]{step}{' (log)' if self.log else ''}"


def parse_dimension(key: str, text: str) -> Dimension:
    """Raises UserError when the text is no space."""
    from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, RangeSweep

    from eprli_lab.config.compose import parsed

    where = f"study.search.space.{key}: '{text}'"
    try:
        [override] = parsed([f"x={text}"])  # of the grammar, a key has no `*`
        value = override.value()
    except UserError:
        raise UserError(
            f"{where} cannot be read: write choice(a,b), range(start,stop,step) or interval(low,high)"
        ) from None
    tags: set[str] = getattr(value, "tags", set())
    if tags - {"log"}:
        raise UserError(f"{where}: the only tag is log, not {', '.join(sorted(tags))}")
    log = "log" in tags
    if isinstance(value, ChoiceSweep) and not log:
        choices = tuple(getattr(v, "text", v) for v in value.list)
        if len(set(map(repr, choices))) < 2:
            raise UserError(f"{where} has fewer than two different values: set the value instead")
        return Dimension(key, choices=choices)
    if isinstance(value, RangeSweep) and not log:
        start, stop, step = (getattr(value, n) for n in ("start", "stop", "step"))
        if not all(isinstance(x, int | float) and math.isfinite(x) for x in (start, stop, step)):
            raise UserError(f"{where}: needs finite numbers")
        count = math.ceil((stop - start) / step - 1e-9) if step else 0
        if step <= 0 or count < 2:
            raise UserError(f"{where} has fewer than two values (the stop is excluded): widen it")
        whole = all(isinstance(x, int) for x in (start, stop, step))
        return Dimension(key, low=start, high=round(start + (count - 1) * step, 12), step=step, whole=whole)
    if isinstance(value, IntervalSweep):
        low = value.start
        high = value.end
        if low is None or high is None or not -math.inf < low < high < math.inf or (log and low <= 0):
            raise UserError(f"{where}: needs low < high{', both positive' if log else ''}")
        return Dimension(key, low=low, high=high, log=log)
    raise UserError(f"{where} is no space: write choice(a,b), range(start,stop,step) or interval(low,high)")


_COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True)
class Requirement:
    """`left < right`: each a config key or a number."""

    text: str

    def __post_init__(self) -> None:
        if self._parts() is None:
            raise UserError(
                f"study.search.require: '{self.text}' is not of the form: key < key (or <=, >, >=, a number)"
            )

    def _parts(self) -> tuple[str, str, str] | None:
        match = re.fullmatch(r"\s*([\w.\-]+)\s*(<=|>=|<|>)\s*([\w.\-]+)\s*", self.text)
        return (match[1], match[2], match[3]) if match else None

    def check_keys(self, flat: Mapping[str, Any]) -> None:
        """`flat`: every key of the config. Raises UserError for one that it does not have."""
        parts = self._parts()
        assert parts is not None
        for side in (parts[0], parts[2]):
            if not _is_number(side) and side not in flat:
                raise UserError(f"study.search.require: '{self.text}': unknown key '{side}'{nearest(side, flat)}")

    def holds(self, flat: Mapping[str, Any]) -> bool:
        """Does the config keep it? One that lacks a key of it does."""
        parts = self._parts()
        assert parts is not None
        sides: list[Any] = [float(s) if _is_number(s) else flat.get(s) for s in (parts[0], parts[2])]
        return any(s is None for s in sides) or bool(_COMPARISONS[parts[1]](*sides))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def expand(tree: Mapping[str, Any], key: str) -> list[str]:
    """The keys of a plain tree that a dotted key means; a part `*` stands for every name there (every level)."""
    nodes: list[tuple[str, Any]] = [("", tree)]
    for part in key.split("."):
        nodes = [
            (f"{path}.{name}" if path else name, node[name])
            for path, node in nodes
            if isinstance(node, dict)
            for name in (node if part == "*" else [part])
            if name in node
        ]
    return [path for path, _ in nodes]


def value_at(tree: Mapping[str, Any], key: str) -> Any:
    """What a dotted key means in a plain tree; None unless all that it means are one value."""
    values = []
    for path in expand(tree, key):
        node: Any = tree
        for part in path.split("."):
            node = node[part]
        values.append(node)
    return values[0] if values and all(v == values[0] for v in values) else None


def set_values(tree: dict[str, Any], values: Mapping[str, Any], keep: Collection[str] = ()) -> dict[str, Any]:
    """A copy of a plain tree with dotted keys set; keys that it does not have, or that are to be kept, stay."""
    out: dict[str, Any] = _copy(tree)
    for key, value in values.items():
        for path in expand(out, key):
            if path in keep:
                continue
            *parents, name = path.split(".")
            node = out
            for part in parents:
                node = node[part]
            node[name] = value
    return out


def _copy(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {k: _copy(v) for k, v in tree.items()}
    return [_copy(v) for v in tree] if isinstance(tree, list) else tree


def sobol(dimensions: Sequence[Dimension], index: int, seed: int) -> dict[str, Any]:
    """Point number `index` of a scrambled Sobol sequence over the dimensions: evenly spread at any count."""
    from scipy.stats import qmc

    sequence = qmc.Sobol(len(dimensions), scramble=True, seed=seed)
    if index:
        sequence.fast_forward(index)
    point = sequence.random(1)[0]
    return {d.key: d.at(min(float(x), 1.0 - 1e-12)) for d, x in zip(dimensions, point, strict=True)}
