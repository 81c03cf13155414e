"""How far a study is, read from its storage while others work on it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eprli_lab.config.fields import checked_name
from eprli_lab.errors import UserError, nearest
from eprli_lab.sweeping.leases import process_notes, seconds_since
from eprli_lab.sweeping.looks import not_run, status_lines
from eprli_lab.sweeping.spec import storage_uri
from eprli_lab.sweeping.states import TrialState
from eprli_lab.sweeping.storage import DIRECTORY, Storage
from eprli_lab.sweeping.trials import Key, Trials, key_of, trial_name
from eprli_lab.tracking.process import ProcessIdentity


@dataclass(frozen=True)
class Look:
    """A study (and its search) as it was at one moment."""

    text: str  # arms by seeds, trials, processes, failures
    summary: str  # one line
    is_over: bool  # nothing of it is left to be run, as far as its storage knows


def status(name: str, uri: str | None) -> str:
    """Text for a terminal: the study's arms by seeds, its search's trials, who is at work.

    `uri`: of the storage, as `study.storage`. Raises UserError when there is no such study.
    """
    return look(name, uri).text


def look(name: str, uri: str | None) -> Look:
    """The same, with what a watcher asks of it."""
    import optuna

    checked_name("status", name)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = Storage(storage_uri(uri), name.removesuffix("-search"))
    if storage.path is not None and not storage.path.is_file():
        known = sorted(p.stem for p in DIRECTORY.glob("*.journal"))
        raise UserError(f"{storage.path}: there is no such study here{nearest(name, known)}")

    def describe() -> Look:
        optuna_storage = storage.optuna()
        names = [s.study_name for s in optuna.get_all_study_summaries(optuna_storage)]
        present = [n for n in (f"{name}-search", name) if n in names]
        if not present:
            raise UserError(f"{storage.where}: holds no study '{name}'{nearest(name, names)}")
        studies = [optuna.load_study(study_name=n, storage=optuna_storage) for n in present]
        described = [_describe(s, s.get_trials(), dict(s.user_attrs)) for s in studies]
        texts = [text for text, _ in described]
        searched_alone = present == [f"{name}-search"] and "\nprocess " in texts[-1]  # its winners follow
        over = all(is_over for _, is_over in described) and not searched_alone
        return Look("\n\n".join(texts), texts[-1].partition("\n")[0], over)

    try:
        return storage.step(describe)
    finally:
        storage.close()


def _describe(study: Any, frozen: list[Any], attributes: dict[str, Any]) -> tuple[str, bool]:
    """(text, nothing is left of it) of one study; of its plan there is what `Plan.stored` left in its attributes."""
    plan = attributes.get("plan", {})
    searching = plan.get("kind") == "search"
    notes = process_notes(attributes)
    trials = Trials(frozen, attributes.get("epoch", 0))
    complete = len(trials.in_state(TrialState.COMPLETE))
    running = trials.in_state(TrialState.RUNNING)
    free = trials.in_state(TrialState.FREE)
    total = plan.get("trials") if searching else len(plan.get("arms", [])) * len(plan.get("seeds", []))
    pruned = f", {len(trials.in_state(TrialState.PRUNED))} pruned" if searching else ""
    lines = [
        f"study {study.study_name}: {complete} of {total} {'trials' if searching else 'runs'} complete{pruned}, "
        f"{len(running)} running, {len(free)} waiting to resume"
    ]
    if not searching:
        fractions = {int(k): v for note in notes.values() for k, v in note.get("runs", {}).items()}
        lines += _matrix(trials, plan, fractions, not_run(attributes))
        lines += status_lines(attributes)
    lines += _processes(notes, running)
    failed = _failed(trials)
    lines += [f"failed: {_name(t)}: {t.user_attrs.get('error', '')}" for t in failed]
    ended = complete + len(failed) + len(trials.in_state(TrialState.PRUNED))
    return "\n".join(lines), bool(total) and ended >= total and not running and not free


def _processes(notes: Mapping[str, dict[str, Any]], running: Sequence[Any]) -> list[str]:
    """A line for each process that is at work."""
    lines = []
    for identity, note in sorted(notes.items()):
        process = ProcessIdentity.parse(identity)
        if process.is_alive(elsewhere=True):
            held = ", ".join(_name(t) for t in running if t.user_attrs.get("owner") == identity)
            age = max(0.0, seconds_since(note["at"]))  # somebody may have set a clock
            lines.append(f"process {process.pid} on {process.host}, heard {age:.0f} s ago: {held or 'waiting'}")
    return lines


def _failed(trials: Trials) -> list[Any]:
    """The last failed trial of each run that is not complete; every failed one of a search."""
    failed = trials.in_state(TrialState.FAILED, TrialState.FAILED_BEFORE)
    done = {key_of(t) for t in trials.in_state(TrialState.COMPLETE)} - {None}
    return list({key_of(t) or t.number: t for t in failed if key_of(t) not in done}.values())


def _name(trial: Any) -> str:
    key = key_of(trial)
    return trial_name(trial.number) if key is None else f"{key[0]} seed {key[1]}"


def _matrix(
    trials: Trials, plan: Mapping[str, Any], fractions: Mapping[int, float], stopped: Collection[int]
) -> list[str]:
    """Arms by seeds: the objective where it is there, else how far the run is."""
    cells: dict[Key | None, str] = {}
    for trial in trials.frozen:  # a later trial of the same run replaces an earlier, failed one
        state = trials.state(trial)
        if state is TrialState.COMPLETE:
            cells[key_of(trial)] = f"{trial.values[0]:.3f}"
        elif state in (TrialState.RUNNING, TrialState.FREE):
            cells[key_of(trial)] = f"{100 * fractions.get(trial.number, 0.0):.0f}%"
        else:
            cells[key_of(trial)] = "failed"
    seeds = plan.get("seeds", [])
    width = max([3, *(len(a) for a in plan.get("arms", []))])
    lines = [f"{'arm':<{width}}" + "".join(f"{f'seed {s}':>10}" for s in seeds)]
    for arm in plan.get("arms", []):
        lines.append(
            f"{arm:<{width}}" + "".join(f"{cells.get((arm, s), 'not run' if s in stopped else '-'):>10}" for s in seeds)
        )
    return lines
