"""D_l: the problems of each level by difficulty, and a resumable stream of them (docs/algorithm.md, Strata)."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass

from eprli_lab.config.curriculum import CurriculumSpec
from eprli_lab.errors import UserError
from eprli_lab.records import Problem


@dataclass(frozen=True)
class Strata:
    """Problems by level, and how many were left out."""

    levels: dict[str, list[Problem]]
    left_out: int  # problems above Q_L


def stratify(problems: Sequence[Problem], curriculum: CurriculumSpec) -> Strata:
    """D_l: Q_{l-1} < d(q) <= Q_l with Q_0 = -inf (strata=band); d(q) <= Q_l (cumulative); d(q) <= Q_L (all).

    `all` makes the levels differ in everything but their problems: with growing Len_l it is the staged response limit
    of DeepScaleR (8k, 16k, 24k tokens). Raises UserError for an empty stratum, or a problem
    without difficulty.
    """
    unknown = [p.id for p in problems if p.difficulty is None]
    if unknown:
        raise UserError(
            f"{len(unknown)} of {len(problems)} problems have no difficulty, {unknown[0]} for one: name a difficulty "
            "column or measure it with eprli-lab difficulty"
        )
    levels = by_thresholds(problems, curriculum)
    last = list(curriculum.levels.values())[-1].quality_threshold
    left_out = sum(p.difficulty > last for p in problems if p.difficulty is not None)
    for (name, chosen), floor in zip(levels.items(), [None, *levels], strict=False):
        if not chosen:
            bounds = f"<= {curriculum.levels[name].quality_threshold}"
            if floor is not None and curriculum.strata == "band":
                bounds = (
                    f"in ({curriculum.levels[floor].quality_threshold}, {curriculum.levels[name].quality_threshold}]"
                )
            known = [p.difficulty for p in problems if p.difficulty is not None]
            span = f"{min(known):.3g} to {max(known):.3g}" if known else "of nothing"
            raise UserError(
                f"curriculum.levels.{name}.quality_threshold: the stratum of {name} is empty: none of {len(problems)} "
                f"problems has a difficulty {bounds} (the data's is {span}; {left_out} dropped above the last "
                "threshold): move the thresholds or take other data"
            )
    return Strata(levels, left_out)


def by_thresholds(problems: Sequence[Problem], curriculum: CurriculumSpec) -> dict[str, list[Problem]]:
    """Level -> its problems, in their order; empty where there are none."""
    thresholds = [level.quality_threshold for level in curriculum.levels.values()]
    below, levels = float("-inf"), {}
    for name, threshold in zip(curriculum.levels, thresholds, strict=True):
        top = thresholds[-1] if curriculum.strata == "all" else threshold
        levels[name] = [p for p in problems if p.difficulty is not None and below < p.difficulty <= top]
        if curriculum.strata == "band":
            below = threshold
    return levels


def by_prompt_length(problems: Sequence[Problem]) -> list[Problem]:
    """Difficulty from the prompt's length in characters, as FastCuRL splits its data (arXiv 2503.17287).

    d(q) is the share of the problems whose prompts are not longer, in (0, 1]; a conversation counts whole.
    """
    lengths = [sum(len(text) for _, text in p.messages) if p.messages else len(p.prompt) for p in problems]
    ascending = sorted(lengths)
    share = {n: i / len(problems) for i, n in enumerate(ascending, 1)}  # of equal lengths the last one's place
    return [dataclasses.replace(p, difficulty=share[n]) for p, n in zip(problems, lengths, strict=True)]


def level_of(curriculum: CurriculumSpec, difficulty: float) -> str | None:
    """The level l with Q_{l-1} < d <= Q_l, Q_0 = -inf, whatever `strata` says; None above Q_L."""
    return next((name for name, level in curriculum.levels.items() if difficulty <= level.quality_threshold), None)


def shuffle_labels(problems: Sequence[Problem], share: float, seed: int) -> list[Problem]:
    """Noisy difficulty labels: a seeded `share` of the problems have their difficulties permuted among themselves.

    The distribution of difficulties stays what it was; at share 1 the strata are random. A label that is permuted may
    stay the same by chance, so a share s moves fewer than s of the problems to another stratum.
    """
    rng = random.Random(f"labels-{seed}")
    by_id = sorted(problems, key=lambda p: p.id)
    chosen = rng.sample(by_id, round(share * len(by_id)))
    labels = [p.difficulty for p in chosen]
    rng.shuffle(labels)
    noisy = {p.id: d for p, d in zip(chosen, labels, strict=True)}
    return [dataclasses.replace(p, difficulty=noisy[p.id]) if p.id in noisy else p for p in problems]
