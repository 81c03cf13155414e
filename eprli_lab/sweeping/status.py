"""How far a study is, read from its storage while others work on it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from eprli_lab.errors import UserError, nearest
from eprli_lab.sweeping import locks as locks
from eprli_lab.sweeping.storage import DIRECTORY, Storage


def status(name: str, uri: str | None) -> str:
    """Text for a terminal: the study's arms by seeds, its search's trials, who is at work. Raises UserError."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = Storage(uri, name.removesuffix("-search"))
    if storage.path is not None and not storage.path.is_file():
        known = sorted(p.stem for p in DIRECTORY.glob("*.journal"))
        raise UserError(f"{storage.path}: there is no such study here{nearest(name, known)}")
    with storage.exclusive():
        kept = storage.optuna()
        names = [s.study_name for s in optuna.get_all_study_summaries(kept)]
        found = [n for n in (f"{name}-search", name) if n in names]
        if not found:
            raise UserError(f"{storage.where}: holds no study '{name}'{nearest(name, names)}")
        studies = [optuna.load_study(study_name=n, storage=kept) for n in found]
        return "\n\n".join(_one(s, s.get_trials(), dict(s.user_attrs)) for s in studies)


def _one(study: Any, trials: list[Any], attrs: dict[str, Any]) -> str:
    notes = {k.removeprefix("process:"): v for k, v in attrs.items() if k.startswith("process:")}
    fractions = {int(k): v for n in notes.values() for k, v in n.get("runs", {}).items()}
    plan = attrs.get("plan", {})
    searching = plan.get("kind") == "search"
    complete = sum(t.state.name == "COMPLETE" for t in trials)
    total = plan.get("trials") if searching else len(plan.get("arms", [])) * len(plan.get("seeds", []))
    pruned = f", {sum(t.state.name == 'PRUNED' for t in trials)} pruned" if searching else ""
    running = [t for t in trials if t.state.name == "RUNNING"]
    waiting = sum(not t.user_attrs.get("owner") for t in running)
    lines = [
        f"study {study.study_name}: {complete} of {total} {'trials' if searching else 'runs'} complete{pruned}, "
        f"{len(running) - waiting} running, {waiting} to be taken up again"
    ]
    lines += [] if searching else _matrix(trials, plan, fractions)
    for who, note in sorted(notes.items()):
        if note["beat"] >= 0 and locks.is_alive(who, elsewhere=True):
            host, pid, _ = who.rsplit(":", 2)
            age = (datetime.now(UTC) - datetime.fromisoformat(note["at"])).total_seconds()
            held = [_name(t) for t in running if t.user_attrs.get("owner") == who]
            lines.append(f"process {pid} on {host}, heard {age:.0f} s ago: {', '.join(held) or 'waiting'}")
    done = {_key(t) for t in trials if t.state.name == "COMPLETE"}
    failed = {_key(t): t for t in trials if t.state.name == "FAIL" and (searching or _key(t) not in done)}
    lines += [f"failed: {_name(t)}: {t.user_attrs.get('error', '')}" for t in failed.values()]
    return "\n".join(lines)


def _key(trial: Any) -> tuple[Any, ...]:
    return (trial.user_attrs["arm"], trial.user_attrs["seed"]) if "arm" in trial.user_attrs else (trial.number,)


def _name(trial: Any) -> str:
    key = _key(trial)
    return f"{key[0]} seed {key[1]}" if len(key) == 2 else f"t{trial.number:04d}"


def _matrix(trials: list[Any], plan: dict[str, Any], fractions: dict[int, float]) -> list[str]:
    """Arms by seeds: the objective where it is there, else how far the run is."""
    cells = {}
    for t in trials:  # a later trial of the same run replaces an earlier, failed one
        state = t.state.name
        cells[_key(t)] = {
            "COMPLETE": lambda t=t: f"{t.values[0]:.3f}",
            "RUNNING": lambda t=t: f"{100 * fractions.get(t.number, 0.0):.0f}%",
        }.get(state, lambda: "failed")()
    seeds = plan.get("seeds", [])
    width = max([3, *(len(a) for a in plan.get("arms", []))])
    lines = [f"{'arm':<{width}}" + "".join(f"{f'seed {s}':>10}" for s in seeds)]
    for arm in plan.get("arms", []):
        lines.append(f"{arm:<{width}}" + "".join(f"{cells.get((arm, s), '-'):>10}" for s in seeds))
    return lines
