"""Where each trial of a plan stands: what is recorded, what can be resumed, what is still to run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer.files import CHECKPOINT, JOURNAL
from trainer.recorder import Journal

from ..plan import Plan, Trial
from ..sharing.reservations import Reservation, reservations_of_others
from ..training.folders import TRIALS, begun_trials, folder_name
from ..training.weights import has_weights
from .attempts import Attempt, recorded_attempts


@dataclass(frozen=True)
class State:
    """Where a trial stands."""

    name: Literal["done", "running", "waiting", "resume", "failed", "to run", "unreadable"]
    """done: recorded as finished on the data at hand. running, waiting: another process is training it,
    or will. resume: an interrupted training can go on. failed: so did the last attempt, and it would be tried again.
    to run: nothing is there. unreadable: what a report has found to be no record, although its tags say it is one."""

    epoch: int = 0
    """The last epoch that was saved, for `running` and `resume`."""

    attempt: Attempt | None = None
    """The attempt that makes it done or failed."""

    reason: str = ""
    """Why it failed, why a finished attempt does not count, or which process has it."""

    top1: float | None = None
    """Of the last epoch, for `running`."""

    reservation: Reservation | None = None
    """Of the process that has it, for `running` and `waiting`."""

    def __str__(self) -> str:
        if self.name in ("running", "waiting"):
            return f"{self.name} elsewhere"
        return f"resume from epoch {self.epoch}" if self.name == "resume" else self.name


def data_fingerprints(plan: Plan) -> dict[str, str | None]:
    """Trial id to the fingerprint of its data; None where they are not at hand."""
    known: dict[str, str | None] = {}
    found = {}
    for trial in plan.trials:
        key = trial.recipe.dataset.model_dump_json()
        if key not in known:
            known[key] = trial.recipe.dataset.fingerprint()
        found[trial.id] = known[key]
    return found


def trial_states(plan: Plan, fingerprints: Mapping[str, str | None]) -> dict[str, State]:
    """Trial id to state. Where the data are not at hand, what was recorded on any data counts."""
    attempts = recorded_attempts(plan.trials)
    reservations = reservations_of_others()
    begun = begun_trials()
    states = {t.id: _state(t, attempts[t.id], fingerprints[t.id], reservations, begun) for t in plan.trials}
    _retrain_teachers(plan, states)
    return states


def finished_attempt(fitting: Iterable[Attempt]) -> Attempt | None:
    """Of the attempts at a trial on the data at hand, newest first, the one that makes it done."""
    return next((attempt for attempt in fitting if attempt.status == "finished" and attempt.is_readable()), None)


def _retrain_teachers(plan: Plan, states: dict[str, State]) -> None:
    """A finished teacher whose weights are gone is trained again, if a student still needs it, and so on up."""
    waiting = [trial for trial in plan.needs if states[trial].name != "done"]
    while waiting:
        for teacher in plan.needs.get(waiting.pop(), ()):
            attempt = states[teacher].attempt
            if states[teacher].name == "done" and attempt and not has_weights(attempt):
                states[teacher] = State("to run", reason="its weights, which a student needs, are gone")
                waiting.append(teacher)


def _state(
    trial: Trial,
    attempts: list[Attempt],
    fingerprint: str | None,
    reservations: Mapping[str, Reservation],
    begun: Collection[str],
) -> State:
    """begun: the names of the trials' folders that are here."""
    fitting = [a for a in attempts if fingerprint is None or a.fingerprint == fingerprint]
    if (attempt := finished_attempt(fitting)) is not None:
        return State("done", trial.recipe.epochs, attempt)
    name = folder_name(trial.id, fingerprint) if fingerprint is not None else ""
    taken = reservations.get(name)
    if fitting and fitting[0].status == "failed" and (taken is None or fitting[0].started > taken.since):
        return State("failed", attempt=fitting[0], reason=fitting[0].reason)
    if taken is not None:
        running = bool(fitting) and fitting[0].status == "running"
        history = Journal(Path(taken.folder) / TRIALS / name / JOURNAL).read() if running else []
        top1 = history[-1]["top1"] if history else None
        return State("running" if running else "waiting", len(history), reason=str(taken), top1=top1, reservation=taken)
    if name in begun and (TRIALS / name / CHECKPOINT).exists():
        return State("resume", len(Journal(TRIALS / name / JOURNAL).read()))
    if any(attempt.status == "finished" for attempt in attempts):
        return State("to run", reason="its record was deleted" if fitting else "it was finished on other data")
    return State("to run")
