"""One run by itself, of no study: its checks, its directory, and its accuracies before and after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eprli_lab.errors import UserError

if TYPE_CHECKING:
    from eprli_lab.config.spec import RunSpec
    from eprli_lab.training.prompts import PromptReport

FINISHED = "finished"  # an empty file in the directory of a run that came to its end


class SuiteAccuracy(NamedTuple):
    """Accuracy of one suite: correct answers / samples, the mean over its problems."""

    start: float  # before training
    final: float  # after it


class StartedRun(NamedTuple):
    """A run that may begin."""

    directory: Path
    prompts: PromptReport  # what it will ask


def start_run(spec: RunSpec, directory: Path | None = None, resume: bool = True) -> StartedRun:
    """The run's directory and first prompts, when everything that it reads was read and its tracking store is there.

    `directory`: None for outputs/run-<fingerprint>. `resume`: go on from the last checkpoint of an unfinished run;
    False: begin in a directory that holds none. Raises UserError.
    """
    from eprli_lab.tracking.store import close_dead_runs, prepare
    from eprli_lab.training.preflight import preflight

    prompts = preflight(spec)
    chosen = _numbered_directory(spec, resume) if directory is None else _given_directory(directory, resume)
    prepare(spec.tracking)
    close_dead_runs(spec.tracking)
    try:
        chosen.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the directory {chosen} cannot be made ({error.strerror}): give another one") from None
    return StartedRun(chosen, prompts)


def has_checkpoint(directory: Path) -> bool:
    """Does the directory hold a run that can be taken up?"""
    return any(directory.glob("checkpoint-*"))


def end_run(directory: Path) -> dict[str, SuiteAccuracy]:
    """Mark a run as finished; the accuracies of its suites, in the order in which they were evaluated.

    Raises UserError for outcomes that cannot be read.
    """
    from eprli_lab.training.checkpoint import RunStore
    from eprli_lab.training.execute import disk_sentences

    store = RunStore(directory, "")
    with disk_sentences(store.last_good):
        (directory / FINISHED).touch()
        rows = store.rows("outcomes")
    out = {}
    for suite in dict.fromkeys(r["suite"] for r in rows):
        means = []
        for stage in SuiteAccuracy._fields:
            fractions = [r["correct"] / r["samples"] for r in rows if r["suite"] == suite and r["stage"] == stage]
            means.append(sum(fractions) / len(fractions))
        out[suite] = SuiteAccuracy(*means)
    return out


def policy_of(directory: Path) -> Path:
    """The trained policy in the last checkpoint. Raises UserError when the checkpoint is gone."""
    from eprli_lab.training.checkpoint import RunStore

    found = RunStore(directory, "").checkpoints()
    if not found:
        raise UserError(f"{directory} holds no checkpoint any more: it was removed while the run was under way")
    return found[-1] / "policy"


def _numbered_directory(spec: RunSpec, resume: bool) -> Path:
    """outputs/run-<fingerprint>: an unfinished one is resumed; beside a finished one, a new number is taken."""
    base = Path("outputs") / f"run-{spec.fingerprint()}"
    candidate = base
    number = 1
    while (candidate / FINISHED).exists() or (has_checkpoint(candidate) and not resume):
        number += 1
        candidate = base.with_name(f"{base.name}-{number}")
    return candidate


def _given_directory(directory: Path, resume: bool) -> Path:
    if (directory / FINISHED).exists():
        raise UserError(f"the directory {directory} holds a finished run: give another one, or remove it")
    if has_checkpoint(directory) and not resume:
        raise UserError(f"the directory {directory} holds a run under way: resume it, give another one, or remove it")
    return directory
