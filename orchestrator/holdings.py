"""Which trials are recorded already, and which of a search's trials this process has taken on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from experiments.plan import Plan, Trial
from experiments.sharing.leases import Lease
from experiments.sharing.reservations import reserved
from experiments.tracking.attempts import read_record, recorded_attempts
from experiments.tracking.records import TrialRecord
from experiments.tracking.states import finished_attempt
from experiments.training.folders import folder_name


def recorded(
    plan: Plan, trials: Sequence[Trial], fingerprints: Mapping[str, str], *, pruned: bool
) -> dict[str, TrialRecord]:
    """Trial id to the record of its finished run; with `pruned`, also of the run that this search pruned before.

    A trial that is not there may be in the moment when it is taken: then it has to be looked for again.
    """
    found = {}
    for id, attempts in recorded_attempts(trials).items():
        fitting = [attempt for attempt in attempts if attempt.fingerprint == fingerprints[id]]
        if (attempt := finished_attempt(fitting)) is not None:
            found[id] = read_record(attempt)
        elif pruned and fitting and fitting[0].status == "pruned" and fitting[0].is_readable():
            record = read_record(fitting[0])
            # another search may have pruned it by another rule
            if record.study == plan.study.title:
                found[id] = record
    return found


class Reservations:
    """Reservations of this process on the trials that it trains, each held until the trial has ended."""

    def __init__(self, fingerprints: Mapping[str, str], lease: Lease) -> None:
        self.fingerprints = fingerprints
        self.lease = lease
        self._held: dict[str, ExitStack] = {}
        self._let_go: list[ExitStack] = []

    def take(self, trials: Sequence[Trial]) -> bool:
        """Reserve trials in turn. False if another process has, or just had, one of them; those before it stay held."""
        for trial in trials:
            if trial.id not in self._held:
                stack, folder = ExitStack(), folder_name(trial.id, self.fingerprints[trial.id])
                if folder in stack.enter_context(reserved([folder])).others or self.lease.take(folder) is not None:
                    stack.close()
                    return False
                self._held[trial.id] = stack
        return True

    def still_missing(self, trials: Sequence[Trial], found: Mapping[str, TrialRecord]) -> list[Trial]:
        """Of trials just taken, those that are not among the `found`; the others are given up."""
        for trial in trials:
            if trial.id in found:
                self.give_up(trial.id)
        return [trial for trial in trials if trial.id not in found]

    def let_go(self, trial: str) -> Callable[[], None]:
        """What gives up the reservation on a trial that has ended, in any thread: once the record holds it.

        Its lease lasts until the driver has recorded how.
        """
        if trial not in self._held:
            return lambda: None
        self._let_go.append(self._held.pop(trial))
        return self._let_go[-1].close

    def give_up(self, trial: str) -> None:
        """Give up a trial that will not begin, with its lease."""
        if trial in self._held:
            self.lease.release(folder_name(trial, self.fingerprints[trial]))
            self._held.pop(trial).close()

    def close(self) -> None:
        """Give up all reservations."""
        for stack in (*self._held.values(), *self._let_go):
            stack.close()
        self._held.clear()
