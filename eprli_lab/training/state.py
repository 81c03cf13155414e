"""What a run must remember besides the backend's weights, and its exact round trip through JSON."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import asdict, dataclass, field
from typing import Any

from eprli_lab.algorithm.admission import AdmissionRule, make_rule
from eprli_lab.algorithm.buffer import Buffer
from eprli_lab.algorithm.progress import LevelProgress, Progress
from eprli_lab.algorithm.schedule import Schedule, make_schedule
from eprli_lab.config.spec import RunSpec
from eprli_lab.data.remeasured import Remeasured, training_problems
from eprli_lab.data.samplers import ProblemSampler, make_sampler
from eprli_lab.data.strata import Strata
from eprli_lab.errors import UserError
from eprli_lab.records import Grade, Group, Problem, Response, Step


@dataclass
class TrainState:
    """Progress; sampler, admission rule and buffer of every level; the schedule."""

    progress: Progress
    samplers: dict[str, ProblemSampler]
    rules: dict[str, AdmissionRule]
    schedule: Schedule
    buffers: dict[str, Buffer]
    level: str | None = None  # of the last pass
    curve_points: int = 0  # evaluations made on the way
    log_weights: dict[str, float] = field(default_factory=dict)  # of DARO, by a group's share of correct responses
    left: dict[str, dict[str, float]] = field(default_factory=dict)  # level whose network is kept -> its log weights
    entropy_coef: float | None = None  # of the next update where it follows a target; None: the spec's
    wall: float = 0.0  # s, evaluation included
    graded: dict[str, int] = field(default_factory=dict)  # answers by the grader's status, so far
    lost: float = 0.0  # s of grading processes, on answers that timed out, so far
    remeasured: Remeasured | None = None  # difficulties and strata as they were measured on the way; None: as loaded

    @classmethod
    def fresh(cls, spec: RunSpec, strata: Strata) -> TrainState:
        """The state before the first step."""
        levels = spec.curriculum.levels
        return cls(
            progress=Progress(levels={name: LevelProgress() for name in levels}),
            samplers={n: make_sampler(spec.curriculum, strata.levels[n], sampler_seed(spec, n)) for n in levels},
            rules={n: make_rule(level.admission) for n, level in levels.items()},
            schedule=make_schedule(spec.curriculum, spec.budget.amount, spec.rng_seed),
            buffers={name: Buffer(level.admission, level.buffer_groups) for name, level in levels.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data. Python floats survive JSON exactly (shortest round-trip representation)."""
        rules = {name: rule.state() for name, rule in self.rules.items()}
        memories: dict[str, Any] = {"schedule": self.schedule.state()}
        memories |= {"rules": {n: saved for n, saved in rules.items() if saved}, "left": self.left}
        return {key: memory for key, memory in memories.items() if memory} | {
            "progress": asdict(self.progress),
            "streams": {name: sampler.state() for name, sampler in self.samplers.items()},
            "buffers": {name: [group_to_json(g) for g in b.groups] for name, b in self.buffers.items()},
            "level": self.level,
            "curve_points": self.curve_points,
            "log_weights": self.log_weights,
            "wall": self.wall,
            "graded": self.graded,
            **({"lost": self.lost} if self.lost else {}),
            **({} if self.entropy_coef is None else {"entropy_coef": self.entropy_coef}),
            **({"remeasured": asdict(self.remeasured)} if self.remeasured is not None else {}),
        }

    @classmethod
    def from_json(cls, tree: dict[str, Any], spec: RunSpec, strata: Strata) -> TrainState:
        """The state that `to_json` wrote, for the same spec and data. Raises UserError for anything else."""
        try:
            check_saved(tree, list(spec.curriculum.levels))
            return cls._from_json(tree, spec, strata)
        except UserError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            raise UserError(
                f"the checkpoint's state.json is no state of this run ({what}): use the data and the functions that it "
                "was made with, or remove the run's directory to begin it anew"
            ) from None

    @classmethod
    def _from_json(cls, tree: dict[str, Any], spec: RunSpec, strata: Strata) -> TrainState:
        state = cls.fresh(spec, strata)
        progress = dict(tree["progress"])
        levels = {name: LevelProgress(**level) for name, level in progress.pop("levels").items()}
        state.progress = Progress(**progress, levels=levels)
        if "remeasured" in tree:
            state.remeasured = Remeasured.from_json(tree["remeasured"], list(spec.curriculum.levels))
        current = state.remeasured.strata(strata.levels) if state.remeasured is not None else strata.levels
        for name in spec.curriculum.levels:
            problems = current[name]
            seed = sampler_seed(spec, name, state.remeasured)
            state.samplers[name] = make_sampler(spec.curriculum, problems, seed, tree["streams"][name])
            state.rules[name] = make_rule(spec.curriculum.levels[name].admission, tree.get("rules", {}).get(name))
            of_any_level = training_problems(strata.levels) if state.remeasured is not None else problems
            by_id = {p.id: p for p in of_any_level}
            state.buffers[name].groups = [group_from_json(g, by_id) for g in tree["buffers"][name]]
        state.schedule = make_schedule(spec.curriculum, spec.budget.amount, spec.rng_seed, tree.get("schedule"))
        for key in ("level", "curve_points", "log_weights", "wall", "graded"):
            setattr(state, key, tree[key])
        state.left, state.lost = tree.get("left", {}), tree.get("lost", 0.0)
        state.entropy_coef = tree.get("entropy_coef")
        return state


def sampler_seed(spec: RunSpec, level: str, remeasured: Remeasured | None = None) -> str:
    """The seed of a level's problem sampler; once its stratum was redrawn, another for each time."""
    seed = f"{spec.rng_seed}-{level}"
    return f"{seed}-remeasured-{remeasured.count}" if remeasured is not None else seed


_NUMBER, _WHOLE = (int, float), (int,)
_PROGRESS = dict.fromkeys(("tokens", "responses", "problems", "updates", "rounds", "steps"), _WHOLE)
_LEVEL = dict.fromkeys(("groups", "tokens", "updates", "skipped"), _WHOLE)
_TREE: dict[str, tuple[type, ...]] = {
    "progress": (dict,),
    "streams": (dict,),
    "buffers": (dict,),
    "level": (str, type(None)),
    "curve_points": _WHOLE,
    "log_weights": (dict,),
    "wall": _NUMBER,
    "graded": (dict,),
}


def check_saved(tree: dict[str, Any], levels: list[str]) -> None:
    """Raises ValueError unless this has the keys, levels and kinds of values of a state that was saved."""
    _check_kinds("", tree, _TREE)
    progress = tree["progress"]
    _check_kinds("progress.", progress, _PROGRESS | {"seconds": _NUMBER, "levels": (dict,)})
    for key in ("streams", "buffers"):
        _check_levels(key, tree[key], levels)
    _check_levels("progress.levels", progress["levels"], levels)
    for name, level in progress["levels"].items():
        _check_kinds(f"progress.levels.{name}.", level, _LEVEL | {"seconds": _NUMBER})
    if tree["level"] not in (None, *levels):
        raise ValueError(f"level is {tree['level']!r}")
    for key in ("log_weights", "graded"):
        _check_kinds(f"{key}.", tree[key], dict.fromkeys(tree[key], _NUMBER))
    _check_kinds("", {"entropy_coef": tree.get("entropy_coef", 0.0)}, {"entropy_coef": _NUMBER})
    left = tree.get("left", {})
    if not isinstance(left, dict) or not set(left) <= set(levels):
        raise ValueError("left names other levels")


def _check_kinds(where: str, tree: Any, kinds: dict[str, tuple[type, ...]]) -> None:
    if not isinstance(tree, dict):
        raise ValueError(f"{where.rstrip('.') or 'it'} is no object")
    for key, kind in kinds.items():
        if key not in tree:
            raise ValueError(f"{where}{key} is missing")
        value = tree[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kind):
            raise ValueError(f"{where}{key} is {str(value)[:40]!r}")
        if isinstance(value, (int, float)) and not math.isfinite(value):
            raise ValueError(f"{where}{key} is {value}")


def _check_levels(where: str, tree: Any, levels: list[str]) -> None:
    if not isinstance(tree, dict) or set(tree) != set(levels):
        named = ", ".join(map(str, tree)) if isinstance(tree, dict) else tree
        raise ValueError(f"{where} has the levels {named!s:.80}, this run {', '.join(levels)}")


def group_to_json(group: Group) -> dict[str, Any]:
    """A group by its problem's id; the prompt's tokens once."""
    hint = {"hint": group.problem.hint, "hinted": group.hinted} if group.hinted else {}
    return hint | {
        "problem": group.problem.id,
        "level": group.level,
        "prompt_tokens": group.responses[0].prompt_tokens,
        "responses": [[r.text, r.tokens, r.logprobs, r.truncated, r.ends] for r in group.responses],
        "steps": [[[s.end, s.correct] for s in one] for one in group.steps],
        "grades": [[g.correct, g.status, g.answer] for g in group.grades],
        "rewards": group.rewards,
        "version": group.version,
        "verdict": group.verdict,
    }


def group_from_json(tree: dict[str, Any], problems: dict[str, Problem]) -> Group:
    """The group that `group_to_json` wrote."""
    prompt = tuple(tree["prompt_tokens"])
    problem = problems[tree["problem"]]
    return Group(
        problem=dataclasses.replace(problem, hint=tree["hint"]) if "hint" in tree else problem,
        level=tree["level"],
        responses=tuple(
            Response(text, prompt, tuple(ids), tuple(lps), cut, tuple(ends))
            for text, ids, lps, cut, ends in tree["responses"]
        ),
        grades=tuple(Grade(correct=c, status=s, answer=a) for c, s, a in tree["grades"]),
        rewards=tuple(tree["rewards"]),
        version=tree["version"],
        verdict=tree["verdict"],
        steps=tuple(tuple(Step(end, correct) for end, correct in one) for one in tree["steps"]),
        hinted=tree.get("hinted", 0),
    )
