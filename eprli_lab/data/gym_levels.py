"""How hard an entry of reasoning-gym is: what 1 to 8 operations mean in a set.

**By its curriculum**: all attributes of the set's own curriculum stand at one level, each at the top segment of its
range (`upper_bound`; in the sets of FROM_THE_FIRST at the whole range up to there); an attribute with fewer levels
stays at its last. Levels that change nothing are left out, of the others the first 8 are spread over the operations:
where there are 4, 1 and 2 operations are the first, 7 and 8 the last. A set without a curriculum has one.

**Small**: four sets in configurations that a policy of 0.2 M parameters learns; its operations are the worked steps
of an entry (small_sets.py), and entries with more or fewer than wanted are drawn again.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from eprli_lab.data.tasks import MAX_OPERATIONS
from eprli_lab.errors import UserError

SIZE = 2**31  # of a set: entries are drawn by their number, each from its own seed
# Of sets that make, or choose, all their entries ahead.
SIZES = {"acre": 2000, "gsm_symbolic": 2**16, "list_functions": 2**16}

# Levels of the curricula that reasoning-gym 0.1.25 can generate from, where it cannot from all of them: others raise,
# have answers that their own scorer refuses, or take seconds an entry.
KEPT: dict[str, tuple[int, ...]] = {
    "bf": (0, 1),
    "caesar_cipher": (0, 1),
    "futoshiki": (0, 1, 2),
    "game_of_life": (0, 1, 2),
    "jugs": (0,),
    "kakurasu": (0, 1, 2),
    "knight_swap": (),
    "modulo_grid": (0, 2, 3, 4, 5),
    "sokoban": (1, 2, 3, 4, 5, 6, 7),
    "zebra_puzzles": (0, 1, 2),
}
# Whose top segments alone hold no entries, or hardly any.
FROM_THE_FIRST = {"countdown", "futoshiki", "letter_jumble", "number_sequence", "puzzle24", "spell_backward"}

# Worked steps that are one level of a small set, first and last; the levels are spread over the operations as well.
SMALL_STEPS: dict[str, tuple[tuple[int, int], ...]] = {
    "chain_sum": tuple((n, n) for n in range(1, 9)),
    "products": ((1, 2), (3, 3), (4, 4)),
    "gcd": ((1, 2), (3, 3), (4, 4), (5, 8)),
    "base_conversion": ((1, 2), (3, 3), (4, 7)),
}


def factory() -> Any:
    """reasoning_gym.factory. Raises UserError where the package is not installed."""
    try:
        from reasoning_gym import factory as module
    except ImportError:
        raise UserError(
            "data.generated.family: the rg_ families need the package reasoning-gym: pip install 'eprli-lab[tasks]'"
        ) from None
    return module


def level_of(operations: int, levels: int) -> int:
    """The level, from 0, of so many operations in a set with so many levels."""
    return (operations - 1) * levels // MAX_OPERATIONS


def hardest(operations: int, levels: int) -> int:
    """The highest number of operations with the same level: what a problem's difficulty is counted by."""
    level = level_of(operations, levels)
    return max(n for n in range(1, MAX_OPERATIONS + 1) if level_of(n, levels) == level)


@cache
def configurations(name: str) -> tuple[Any, ...]:
    """One a level, easy to hard: what the set's class is made with."""
    from reasoning_gym.coaching.base_curriculum import DefaultCurriculumContext, RangeAttributeMode

    known = factory()
    given = {"seed": 0, "size": SIZES.get(name, SIZE)}
    made: Any = known.CURRICULA[name]() if name in known.CURRICULA else None
    levels = range(max((len(a.levels) for a in made.attributes.values()), default=0)) if made is not None else ()
    mode = RangeAttributeMode.INCLUSIVE if name in FROM_THE_FIRST else RangeAttributeMode.UPPER_BOUND
    out: dict[str, Any] = {}
    for level in KEPT.get(name, levels):
        made.set_global_level(level)
        config = made.generate_configuration(given, DefaultCurriculumContext(mode=mode))
        out.setdefault(repr(config), config)
    return tuple(out.values())[:MAX_OPERATIONS] or (known.DATASETS[name][1](**given),)


def small_steps(name: str, operations: int) -> tuple[int, int]:
    """Worked steps of a small set's entries of so many operations, at least and at most."""
    levels = SMALL_STEPS[name]
    return levels[level_of(operations, len(levels))]


def small_configuration(name: str, operations: int) -> Any:
    """The configuration of a small set."""
    arguments: dict[str, int]
    if name == "chain_sum":
        arguments = {"min_terms": operations + 1, "max_terms": operations + 1, "min_digits": 1, "max_digits": 1}
    elif name == "products":
        least, most = small_steps(name, operations)
        arguments = {"min_terms": least + 1, "max_terms": most + 1, "min_digits": 1, "max_digits": 1}
    elif name == "gcd":
        arguments = {"min_value": 1, "max_value": 96}
    else:
        arguments = {"min_base": 2, "max_base": 10, "min_value": 2, "max_value": 255}
    return factory().DATASETS[name][1](seed=0, size=SIZE, **arguments)
