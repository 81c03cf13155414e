"""A state is the state of this run, or one sentence says why not."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from helpers import ScriptedBackend, small_spec
from loops import TINY, small_levels, trainer

from eprli_lab.errors import UserError
from eprli_lab.training.state import TrainState

SPEC = small_spec(*TINY, *small_levels(2), "budget.amount=1500")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Any]:
    made = trainer(SPEC, tmp_path_factory.mktemp("state"), ScriptedBackend())
    states: list[dict[str, Any]] = []
    made.log = lambda values, step: states.append(json.loads(json.dumps(made.state.to_json())))
    made.run()
    return max(states, key=lambda s: len(json.dumps(s["buffers"]))), made.strata


def places(tree: Any, where: tuple = ()) -> list[tuple]:
    """Every key of every object, as a path."""
    if not isinstance(tree, dict):
        return []
    return [(*where, k) for k in tree] + [p for k, v in tree.items() for p in places(v, (*where, k))]


def test_what_was_saved_comes_back(saved: tuple) -> None:
    tree, strata = saved
    again = TrainState.from_json(tree, SPEC, strata).to_json()
    assert json.loads(json.dumps(again)) == tree and any(tree["buffers"].values())


def test_a_state_that_is_none_is_one_sentence(saved: tuple) -> None:
    """A key that is missing, a value of another type, levels of another run, a problem that is not in the data."""
    tree, strata = saved
    wrong: list[Any] = [None, "x", [], {}, True, -1.5, [[1]], {"l9": {}}]
    rng = random.Random(5)
    refused = 0
    for path in places(tree):
        for value in ("gone", *rng.sample(wrong, 3)):
            changed = copy.deepcopy(tree)
            node = changed
            for key in path[:-1]:
                node = node[key]
            if value == "gone":
                del node[path[-1]]
            else:
                node[path[-1]] = value
            try:
                TrainState.from_json(changed, SPEC, strata)
            except UserError as error:
                refused += 1
                assert str(error).startswith("the checkpoint's state.json is no state of this run (")
                assert "\n" not in str(error)
    assert refused > 80
    other = copy.deepcopy(tree)
    groups = next(g for g in other["buffers"].values() if g)
    groups[0]["problem"] = "of other data"
    with pytest.raises(UserError, match=r"no state of this run \(KeyError: 'of other data'\): use the data"):
        TrainState.from_json(other, SPEC, strata)


def test_the_state_of_other_levels_is_refused(tmp_path: Path, saved: tuple) -> None:
    spec = small_spec(*TINY, "curriculum=l3")
    with pytest.raises(UserError, match="has the levels l1, l2, this run l1, l2, l3"):
        TrainState.from_json(saved[0], spec, saved[1])
