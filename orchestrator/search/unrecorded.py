"""Results of a search of which the record has no run: their trials are trained again, so that it has.

A configuration's outcome is told before its run is written, so a search that is killed may leave one; and a record may
have been deleted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from experiments.plan import Plan
from experiments.search.plan import SearchPlan, with_cells
from experiments.tracking.attempts import all_attempts
from reports.search.told import Told, cell_of

from ..driver import Driver
from ..holdings import recorded
from .awaited import Awaited, Open


class Unrecorded:
    """Complete configurations with a trial that has no finished run. What was ended early has no result to be kept."""

    def __init__(
        self,
        search: SearchPlan,
        history: Sequence[Told],
        awaited: Awaited,
        fingerprints: dict[str, str],
        fingerprint: Callable[[Plan], Mapping[str, str]],
    ) -> None:
        """See Configurations."""
        self.search = search
        self.awaited = awaited
        self.fingerprints = fingerprints
        self.fingerprint = fingerprint
        complete = {told.first: told for told in history if told.state == "complete"}
        finished = (
            {a.trial for a in all_attempts() if a.status == "finished" and a.is_readable()} if complete else set()
        )
        self.left = [told for told in complete.values() if not finished.issuperset(told.trials.values())]
        """Those that this process has not looked after yet."""

    def train(self, driver: Driver) -> None:
        """Train what is missing, at the first call. What another process trains, it records."""
        while self.left:
            told = self.left.pop(0)
            cell = cell_of(self.search, f"#{told.number}", told.point)
            driver.plan, trials = with_cells(driver.plan, [cell], self.search.seeds)
            self.fingerprints |= self.fingerprint(dataclasses.replace(driver.plan, trials=tuple(trials)))
            found = recorded(driver.plan, trials, self.fingerprints, pruned=False)
            reservations = self.awaited.reservations
            taken = [trial for trial in trials if trial.id not in found and reservations.take([trial])]
            # another process may have recorded one since, and let it go
            late = recorded(driver.plan, taken, self.fingerprints, pruned=False)
            missing = reservations.still_missing(taken, late)
            # not among the open ones, as the memory knows its outcome
            self.awaited.begin(driver, Open(told.number, {trial.seed: trial for trial in trials}), missing)
