"""Trials that other machines train while this one trains the rest (see experiments.sharing.leases)."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import fields

from experiments.job import Result
from experiments.language.wording import count
from experiments.plan import Trial
from experiments.sharing.leases import Lease
from experiments.sharing.reservations import Reservation
from experiments.tracking.attempts import Attempt, read_record
from experiments.tracking.records import TrialRecord
from experiments.training.folders import folder_name
from trainer.errors import UserError

POLL = 2.0
"""Seconds between two looks at which trials other processes have."""


class Elsewhere:
    """Asks for each trial before it begins, and remembers those that another process has until they end there."""

    def __init__(self, lease: Lease, say: Callable[[str], None]) -> None:
        self.left: dict[str, tuple[Trial, str]] = {}
        """Trial id to the trial and the name of its folder, for those that another process has."""

        self._lease, self._say = lease, say
        self._looked_at = time.monotonic()
        self._said: dict[str, int] = {}

    def begin(self, trial: Trial, fingerprint: str) -> bool | Result:
        """True: train it here. False: another process trains it, so it joins `left`. A result: it has ended there."""
        name = folder_name(trial.id, fingerprint)
        found = self._lease.take(name)
        if isinstance(found, Reservation):
            self.left[trial.id] = (trial, name)
            return False
        if found is None:
            return True
        try:
            return result_of(found)
        except UserError as error:
            return Result("failed", reason=str(error))

    def is_lost(self, trial: Trial, fingerprint: str) -> bool:
        """Whether another process has taken over a trial that ends here; if so, the result there counts."""
        name = folder_name(trial.id, fingerprint)
        if self._lease.lost(name) is None:
            return False
        self._lease.release(name)
        self.left[trial.id] = (trial, name)
        return True

    def recorded(self, trial: Trial, fingerprint: str, *, finished: bool) -> None:
        """Give up a trial whose end here is in the record."""
        self._lease.release(folder_name(trial.id, fingerprint), finished=finished)

    def come_back(self, *, idle: bool) -> list[Trial]:
        """The trials that no other process has any more. idle: nothing trains here; then it says what is waited for."""
        if not self.left or time.monotonic() - self._looked_at < POLL:
            return []
        self._looked_at = time.monotonic()
        others = self._lease.others()
        back = [trial for trial, name in self.left.values() if name not in others]
        for trial in back:
            del self.left[trial.id]
        if idle and self.left:
            self._tell(Counter(str(others[name]) for _, name in self.left.values()))
        return back

    def _tell(self, waited_for: dict[str, int]) -> None:
        if waited_for.keys() != self._said.keys():
            self._said = waited_for
            for process, number in waited_for.items():
                self._say(f"waiting for {count(number, 'trial')} of {process}")


def result_of(attempt: Attempt) -> Result:
    """The result of a recorded attempt, as if it had ended here; raises UserError if its record can't be read."""
    record = read_record(attempt)
    shared = {field.name for field in fields(Result)} & TrialRecord.model_fields.keys()
    values = {name: getattr(record, name) for name in shared}
    values["history"] = [_numbers(epoch) for epoch in record.history]
    values["final"] = _numbers(record.final)
    return Result(**values)


def _numbers(epoch: dict[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in epoch.items()}
