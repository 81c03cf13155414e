"""The persistent study: one complete Optuna trial for each (arm, seed), ever, over ask and tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eprli_lab.errors import UserError
from eprli_lab.sweeping import owner
from eprli_lab.sweeping.plan import Plan, PlannedRun

Key = tuple[str, int]


class Study:
    """`studies/<name>.journal` in the working directory.

    One process at a time holds it, by a lock on `studies/<name>.lock`, until `close`.
    Raises UserError when the study is bound to another config (the difference is shown) or another process holds it.
    """

    def __init__(self, plan: Plan, directory: Path = Path("studies")) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / f"{plan.study}.journal"
        self.plan = plan
        try:
            self._lock = owner.lock(self.path.with_suffix(".lock"))
        except owner.Held as held:
            raise self._refusal(str(held)) from None
        _mend(self.path)
        self._state = optuna.trial.TrialState
        self._open: dict[int, Any] = {}  # the trials that were asked for and not told yet
        self.study = optuna.create_study(
            study_name=plan.study,
            storage=JournalStorage(JournalFileBackend(str(self.path))),
            sampler=optuna.samplers.RandomSampler(seed=0),  # never asked: every trial is enqueued with its values
            pruner=optuna.pruners.NopPruner(),
            direction="maximize",
            load_if_exists=True,
        )
        try:
            self._bind(plan)
            self._take_over()
        except UserError:
            self.close()
            raise
        self._distributions = self._spaces()

    def close(self) -> None:
        """Let go of the study."""
        if self._lock is not None:
            self._lock.close()

    def complete(self) -> dict[Key, dict[str, Any]]:
        """(arm, seed) -> {"objective", "metrics"} of what is done."""
        return {
            self._key(t): {"objective": t.value, "metrics": t.user_attrs.get("metrics", {})}
            for t in self.study.get_trials(deepcopy=False, states=(self._state.COMPLETE,))
        }

    def start(self, run: PlannedRun) -> int:
        """Ask for the trial of this run, as ours; its number."""
        params = {"arm": run.arm, "seed": run.seed}
        self.study.enqueue_trial(params, user_attrs={"owner": owner.me(), "directory": str(run.directory)})
        trial = self.study.ask(self._distributions)
        assert trial.params == params
        self._open[trial.number] = trial
        return trial.number

    def succeed(self, number: int, objective: float, metrics: dict[str, float]) -> None:
        """Tell a result, once."""
        trial = self._open.pop(number)
        trial.set_user_attr("metrics", metrics)
        self.study.tell(trial, objective)

    def fail(self, number: int, error: str) -> None:
        """Tell a failure (also of a run that was stopped: it is asked for again next time)."""
        trial = self._open.pop(number)
        trial.set_user_attr("error", error)
        self.study.tell(trial, state=self._state.FAIL)

    def _key(self, trial: Any) -> Key:
        return trial.params["arm"], trial.params["seed"]

    def _spaces(self) -> dict[str, Any]:
        """The categories of arm and seed must never change within a study: seeds are integers of a fixed range."""
        from optuna.distributions import CategoricalDistribution, IntDistribution

        return {
            "arm": CategoricalDistribution(list(self.study.user_attrs["arms"])),
            "seed": IntDistribution(0, 2**31 - 1),
        }

    def _bind(self, plan: Plan) -> None:
        """Remember what the name stands for, or compare with what is remembered."""
        now = json.loads(json.dumps(plan.binding()))
        known = self.study.user_attrs if self.study.get_trials(deepcopy=False) else {}  # nothing ran: nothing binds
        bound: dict[str, dict[str, Any]] = json.loads(known.get("binding", "{}"))
        changes = []
        for arm in now.keys() & bound.keys():
            for key in sorted(now[arm].keys() | bound[arm].keys()):
                before, after = bound[arm].get(key, "(absent)"), now[arm].get(key, "(absent)")
                if before != after:
                    changes.append((arm, f"{key}: {before} -> {after}"))
        if changes:
            lines = list(dict.fromkeys(text for _, text in changes))
            shown = "; ".join(lines[:5]) + (f"; and {len(lines) - 5} more" if len(lines) > 5 else "")
            raise UserError(
                f"the study {plan.study} was started with another configuration ({shown}): give this one its own name "
                f"(study.name=...), or remove {self.path} and outputs/{plan.study} to start over"
            )
        unknown = set(plan.node.arms) - set(known.get("arms", plan.node.arms))
        if unknown:
            raise UserError(
                f"the study {plan.study} was started without the arm {min(unknown)}: give this one its own name "
                f"(study.name=...), or remove {self.path} and outputs/{plan.study} to start over"
            )
        if set(now) - set(bound):
            self.study.set_user_attr("binding", json.dumps({**bound, **now}))
        if "arms" not in known:  # all arms of the file, so that `only` can be widened later
            self.study.set_user_attr("arms", list(plan.node.arms))

    def _take_over(self) -> None:
        """Trials of processes that are gone are told failed; a live one keeps the study.

        Who holds the lock need not fear a process of another host; without locks nothing is known of it.
        """
        states = (self._state.RUNNING, self._state.WAITING)
        for trial in self.study.get_trials(deepcopy=False, states=states):
            who = trial.user_attrs.get("owner", "")
            if who and who != owner.me() and owner.alive(who, elsewhere=self._lock is None):
                raise self._refusal(who)
        for trial in self.study.get_trials(deepcopy=False, states=states):
            # a kill between enqueueing and asking leaves a waiting trial: ask for it, so that it can be told
            number = self.study.ask().number if trial.state == self._state.WAITING else trial.number
            self.study.tell(number, state=self._state.FAIL)

    def _refusal(self, who: str) -> UserError:
        host, _, pid = who.rpartition(":")[0].rpartition(":")
        by = f"process {pid} on {host}" if pid else "another process"
        return UserError(
            f"the study {self.plan.study} is being run by {by}: wait for it, or give this one its own name "
            "(study.name=...)"
        )


def _mend(path: Path) -> None:
    """Cut off a last line that a kill or a full disk left half written: Optuna could not read past it."""
    if not path.is_file():
        return
    with open(path, "r+b") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
