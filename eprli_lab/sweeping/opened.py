"""One study in its storage as one process sees it: opened, bound, with the trials that this process holds."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from eprli_lab.sweeping.clocks import Clock
from eprli_lab.sweeping.fingerprints import bind, code_digests
from eprli_lab.sweeping.leases import Presence
from eprli_lab.sweeping.look_state import looked
from eprli_lab.sweeping.looks import bind_looks
from eprli_lab.sweeping.plan import Plan
from eprli_lab.sweeping.spec import storage_uri
from eprli_lab.sweeping.states import UNDER_WAY, TrialState, check_transition, state_of
from eprli_lab.sweeping.storage import Storage
from eprli_lab.sweeping.trials import Task, Trials
from eprli_lab.tracking.process import ProcessIdentity

P = ParamSpec("P")
S = TypeVar("S", bound="OpenStudy")
T = TypeVar("T")


class LeaseLostError(Exception):
    """The trial belongs to another process by now: whatever this one has of it is to be forgotten."""


def step(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """A method that is one step under the study's lock, and may be made again (see Storage.step)."""

    @functools.wraps(method)
    def locked(self: S, /, *arguments: P.args, **options: P.kwargs) -> T:
        return self.storage.step(lambda: method(self, *arguments, **options))

    return locked


class OpenStudy:
    """A study in its storage, and what this process holds of it.

    A step may be interrupted anywhere (the database is restarted, the disk is full) and is then made again, so each one
    first looks what it has done already.
    """

    def __init__(
        self,
        plan: Plan,
        data: dict[str, str] | None = None,
        process_id: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.plan = plan
        self.strategy = plan.strategy
        self.process_id = process_id or str(ProcessIdentity.current())
        self.failure_limit_reason = ""  # why this process starts nothing more
        self.say: Callable[[str], None] = lambda sentence: None  # what is done with the sentence on a look
        self.note = ""  # a sentence for whoever started the study
        self.held: set[int] = set()  # numbers of the trials that this process holds
        self._deaths: dict[tuple[int, str], int] = {}  # (number, owner) -> the count of deaths, within one step
        self._interruptions = 0  # of the storage, that this process knows of
        self.storage = Storage(storage_uri(plan.spec.storage), plan.study.removesuffix("-search"), clock)
        self._open({**self.strategy.binding(), "code": code_digests(), "data": data or {}}, plan.stored())

    @step
    def _open(self, binding: dict[str, dict[str, Any]], stored: dict[str, Any]) -> None:
        """Both come ready made: they take a second for thousands of runs, and all workers open their study at once."""
        import optuna

        storage = self.storage.optuna()
        try:
            self.study = optuna.create_study(
                study_name=self.plan.study,
                storage=storage,
                sampler=optuna.samplers.RandomSampler(seed=0),  # never used: points are suggested in sampler.py
                pruner=self.strategy.pruner(),
                directions=[o.direction for o in self.plan.objectives],
                load_if_exists=True,
            )
            outputs = f"outputs/{self.plan.study}"
            files = self.storage.files
            to_remove = f"{files} and {outputs}" if files else outputs
            self.note = "" if self._frozen() else self._unknown_runs(outputs)
            bind(self.study, binding, force=self.plan.spec.force, to_remove=to_remove)
            bind_looks(self.study, self.plan, bool(self._frozen()))
            self.study.set_user_attr("plan", stored)
            self.presence = Presence(self.study, self.process_id, self.plan.spec.lease_seconds, self.storage.clock)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise self.storage.unreadable(error) from error

    def _unknown_runs(self, outputs: str) -> str:
        """What an empty study finds in its runs' directories: it was lost, or its storage is another one by now."""
        count = len(list(Path(outputs).glob("*/seed*/spec.json")))
        if not count:
            return ""
        return (
            f"{outputs} holds {count} runs that this study does not know: what is finished is taken as it is, the rest "
            "goes on from its last checkpoint"
        )

    # ------------------------------------------------------------------ what this process holds

    def _ended(self, task: Task) -> TrialState | None:
        """The state of a trial that this process ended, in a step that was interrupted before it knew; else None."""
        state = self._state(task.number)
        owner = self._frozen()[task.number].user_attrs.get("owner")
        if task.number not in self.held or state in UNDER_WAY or owner != self.process_id:
            return None
        self.held.discard(task.number)
        return state

    def _state(self, number: int) -> TrialState:
        return state_of(self._frozen()[number], self.presence.epoch)

    def _check_held(self, task: Task) -> None:
        """Raises LeaseLostError when the trial is no longer this process's."""
        if not self._holds(task.number):
            self.held.discard(task.number)
            raise LeaseLostError(f"{task.name} was taken over by another process")

    def _holds(self, number: int) -> bool:
        trial = self._frozen()[number]
        running = state_of(trial, self.presence.epoch) is TrialState.RUNNING
        return running and trial.user_attrs.get("owner") == self.process_id

    def _move(self, number: int, state: TrialState, values: list[float] | None = None) -> None:
        """The one place where a trial changes its state. Raises TransitionError where that does not lead there."""
        import optuna

        check_transition(state_of(self._frozen()[number], self.presence.epoch), state)
        if state is TrialState.RUNNING:
            self._handle(number).set_user_attr("owner", self.process_id)
            self.held.add(number)
            return
        if state is TrialState.FREE:
            self._handle(number).set_user_attr("owner", "")
        elif state is TrialState.COMPLETE:
            self.study.tell(number, values)
        else:
            pruned = state is TrialState.PRUNED
            self.study.tell(number, state=optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.FAIL)
        self.held.discard(number)

    def _frozen(self) -> list[Any]:
        return list(self.study.get_trials(deepcopy=False))

    def _trials(self) -> Trials:
        attributes = self.study.user_attrs
        state = looked(self.plan.spec, attributes) if self.plan.kind == "arms" else None
        return Trials(self._frozen(), self.presence.epoch, attributes.get("exhausted"), state)

    def _handle(self, number: int) -> Any:
        """Optuna's handle of a trial, which writes its attributes."""
        import optuna

        return optuna.trial.Trial(self.study, self._frozen()[number]._trial_id)
