"""What must be said of runs that another trainer logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eprli_lab.tracking.imported import TRAINERS, ImportRecord, record_of

PAIRED = (
    "seeds of imported runs are paired as they were named at the import: whether the same seed means the same order of "
    "problems and the same initial policy was not checked"
)
UPDATES = "their updates are the steps that the trainer counts"


def import_notes(runs: Sequence[tuple[str, int, Mapping[str, str]]]) -> list[str]:
    """Sentences on those of these runs (arm, seed, tags) that were imported; none where none was."""
    records = [(arm, seed, record) for arm, seed, tags in runs if (record := record_of(tags)) is not None]
    if not records:
        return []
    lacks: dict[tuple[str, tuple[str, ...]], dict[str, None]] = {}
    says: dict[str, dict[str, None]] = {}
    for arm, seed, record in records:
        trainer = TRAINERS.get(record.source, record.source)
        lacks.setdefault((trainer, record.absent), {})[arm] = None
        says.setdefault(_score(record), {})[arm] = None
        for note in record.notes:
            says.setdefault(note, {})[arm if note not in _of_one_file(record) else f"{arm} seed {seed}"] = None
    out = [
        f"{', '.join(arms)}: imported from {trainer}, which logged nothing of {_listed(absent)}: what is made of these "
        "is left out or shown as -"
        for (trainer, absent), arms in lacks.items()
        if absent
    ]
    out += [f"{', '.join(who)}: {what}" for what, who in says.items()]
    counted = any("updates" not in record.absent for _, _, record in records)
    return [*out, f"{PAIRED}; {UPDATES}" if counted else PAIRED]


def _score(record: ImportRecord) -> str:
    """Which keys of the log the score and the suites are."""
    if record.source == "csv":
        return "the score is the file's"
    suites = ", ".join(f"{suite}: {key}" for suite, key in record.suites.items())
    if not suites:
        return f"the score is {record.score}"
    return f"the score is {record.score}" + (f" ({suites})" if record.score not in record.suites.values() else "")


def _of_one_file(record: ImportRecord) -> tuple[str, ...]:
    """Notes that name a file of the run."""
    return tuple(note for note in record.notes if any(note.startswith(f"{file}:") for file in record.files))


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + (" and " if len(words) > 1 else "") + "".join(words[-1:])
