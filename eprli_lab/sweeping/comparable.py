"""What arms may not differ in, or they could not be compared: how they are examined, and what is the study's own."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from eprli_lab.config.overrides import key_of
from eprli_lab.config.parse import parse_spec
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError, nearest
from eprli_lab.sweeping.search import Search
from eprli_lab.sweeping.spec import StudySpec
from eprli_lab.tracking.description import EXAMINATION, Contrast

OF_THE_STUDY = ("seed", "study", "arm", "objective", "hydra", "tracking", "sweep")  # keys, and first parts of keys


def is_examination(key: str) -> bool:
    """Does a config key say how a run is examined? The prompts of a level are for training alone."""
    return key.startswith(EXAMINATION)


def refuse_the_studys_own(study: StudySpec) -> None:
    """Raises UserError for an arm, or a search, that sets what is one for all runs of a study."""
    for arm, spec in study.arms.items():
        _refuse_own(f"study.arms.{arm}.overrides", spec.overrides)
        _refuse_own(f"study.arms.{arm}.after.set", spec.after.set if spec.after else ())
    if study.search is not None:
        _refuse_own("study.search.overrides", study.search.overrides)
        refuse_spaces(study.search.space, study.varies_evaluation)


def _refuse_own(where: str, overrides: Iterable[str]) -> None:
    for override in overrides:
        if re.split(r"[./]", key_of(override))[0] in OF_THE_STUDY:
            raise UserError(
                f"{where}: {override} is the study's, one for all its arms: set it beside `study` in the sweep's file "
                "or on the command line (seeds: study.seeds)"
            )


def refuse_spaces(keys: Iterable[str], varies_evaluation: bool) -> None:
    """Raises UserError for a searched key that is the study's, or that says how runs are examined."""
    _refuse_own("study.search.space", keys)
    for key in keys:
        if not varies_evaluation and is_examination(f"{key}."):
            raise UserError(
                f"study.search.space: {key} says how runs are examined, so its values cannot be compared: leave it "
                "out, or set study.varies_evaluation=true"
            )


def refuse_other_examinations(study: StudySpec, trees: Mapping[str, dict[str, Any]], search: Search | None) -> None:
    """Raises UserError for an arm, or a point of the search, that is examined otherwise than the baseline.

    `trees`: arm -> its composed config. `study.varies_evaluation=true` allows it.
    """
    if study.varies_evaluation:
        return
    baseline = _examination(parse_spec(trees[study.baseline]))
    composed = [(f"arm {arm}", tree) for arm, tree in trees.items()]
    composed += [("study.search", tree) for tree in search.bases.values()] if search is not None else []
    for where, tree in composed:
        own = _examination(parse_spec(tree))
        for key in [*baseline, *(k for k in own if k not in baseline)]:
            if own.get(key) != baseline.get(key):
                raise UserError(
                    f"{where}: {key} is {own.get(key, 'absent')}, {study.baseline} has {baseline.get(key, 'none')}: "
                    "what is examined differently is not compared; set it for all arms (beside `study` in the sweep's "
                    "file, or on the command line), or study.varies_evaluation=true, which every table then says first"
                )
    for arm, spec in study.arms.items():
        for key in spec.after.set if spec.after and arm in trees else ():
            if is_examination(key):
                raise UserError(f"study.arms.{arm}.after.set: {key} says how a run is examined: leave it out")


def _examination(spec: RunSpec) -> dict[str, Any]:
    parts = {part.rstrip("."): getattr(spec, part.rstrip(".")) for part in EXAMINATION}
    return dict(_leaves(parts, ""))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of a part of a spec, those at their default too, which a dump may leave out."""
    if isinstance(value, BaseModel | dict):
        for name, inner in value.items() if isinstance(value, dict) else value:
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    else:
        yield path, value


def check_contrasts(study: StudySpec, chosen: Collection[str]) -> list[str]:
    """A sentence for every contrast and expectation of arms that `study.only` leaves out.

    Raises UserError for one that names an arm which the sweep does not have.
    """
    notes = []
    for where, text in _named_arms(study):
        try:
            arms: Sequence[str] = Contrast.of(text) if " - " in text or where == "study.contrasts" else (text,)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
        for arm in arms:
            if arm not in study.arms:
                raise UserError(f"{where}: '{text}': there is no arm '{arm}'{nearest(arm, study.arms)}")
        missing = [arm for arm in arms if arm not in chosen]
        if missing:
            notes.append(f"{where}: {text} is left out: study.only plans no {' and no '.join(missing)}")
    return notes


def _named_arms(study: StudySpec) -> list[tuple[str, str]]:
    """(where, `ARM - ARM` or an arm) of all that the study asks of its arms."""
    expected = [("study.expected", e.contrast or e.arm or "") for e in study.expected]
    return [*(("study.contrasts", text) for text in study.contrasts), *expected]
