"""The supply (see events.Supply) of a run that adds seeds to open comparisons.

A comparison asks for its next seed as soon as all that it has asked for have ended, however far the others are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.job import Result
from experiments.plan import Plan, Trial
from experiments.sharing.reservations import Held
from experiments.tracking.records import TrialRecord, make_record
from experiments.training.folders import folder_name
from reports.replicates.seeds import follow_one, followed, largest, with_wanted_seeds
from trainer.recorder import Epoch

from .driver import Driver
from .events import PruningRule
from .holdings import recorded
from .progress import Progress
from .task import RunSummary


class SeedSupply:
    """Hears how trials end, and adds the trials that the comparisons want next."""

    rule: PruningRule | None = None
    ahead = 1
    """A trial that is wanted once stays wanted, whatever ends meanwhile, so it can't begin too early."""

    def __init__(
        self,
        plan: Plan,
        known: Mapping[str, TrialRecord | None],
        fingerprints: Mapping[str, str],
        held: Held,
        summary: RunSummary,
    ) -> None:
        """known: how trials have ended by the record. fingerprints: of the data of every trial that may come."""
        # trials that failed before are tried again, so comparisons wait for them
        self.ended_by_now: dict[str, TrialRecord | None] = {
            id: record for id, record in known.items() if record is not None
        }
        self.ids = largest(plan).ids
        self.found = followed(plan, self.ended_by_now)
        self.fingerprints = fingerprints
        self.held = held
        self.summary = summary

    def refill(self, driver: Driver) -> None:
        """See events.Supply. Nothing to do: trials are added as soon as those end that they follow from."""

    def is_over(self) -> bool:
        """See events.Supply."""
        return True

    def watched(self, trial: str) -> str | None:
        """See events.Supply. None is watched: a trial that is compared must not be ended early."""
        return None

    def epoch(self, trial: str, course: Sequence[Epoch]) -> None:
        """See events.Supply."""

    def is_hopeless(self, trial: str) -> bool:
        """See events.Work."""
        return False

    def ended(self, driver: Driver, trial: Trial, result: Result) -> None:
        """See events.Supply."""
        record = make_record(driver.plan, trial, result, self.fingerprints[trial.id])
        self._hear(driver.plan, {trial.id: record if record.status == "finished" else None})
        while new := self._wanted(driver):
            mine = self._reserved(new)
            # another process may have trained some since this one began
            found = recorded(driver.plan, mine, self.fingerprints, pruned=False)
            driver.add(driver.plan, [each for each in mine if each.id not in found])
            self._hear(driver.plan, found)
        self.tell(driver.progress)

    def tell(self, progress: Progress) -> None:
        """Tell the display whether more trials may come than it knows."""
        progress.may_grow = any(each.may_get_seeds for each in self.found)

    def _hear(self, plan: Plan, ended: Mapping[str, TrialRecord | None]) -> None:
        """Take note of trials that have ended, and look again at the comparisons of their cells."""
        self.ended_by_now |= ended
        cells = {cell for (cell, _), id in self.ids.items() if id in ended}
        for place, each in enumerate(self.found):
            sides = (each.comparison.left, each.comparison.right)
            if any(side is not None and side.cell in cells for side in sides):
                self.found[place] = follow_one(plan, each.comparison, self.ended_by_now, self.ids)

    def _wanted(self, driver: Driver) -> list[Trial]:
        """The wanted trials that the driver's plan lacks; it is replaced by one that has them."""
        before = {trial.id for trial in driver.plan.trials}
        driver.plan = with_wanted_seeds(driver.plan, self.found)
        return [trial for trial in driver.plan.trials if trial.id not in before]

    def _reserved(self, trials: Sequence[Trial]) -> list[Trial]:
        """Reserve trials; returns those that no other process has, and enters the others in the summary."""
        folders = {trial.id: folder_name(trial.id, self.fingerprints[trial.id]) for trial in trials}
        self.held.add(folders.values())
        taken = {id: str(self.held.others[folder]) for id, folder in folders.items() if folder in self.held.others}
        self.summary.elsewhere |= taken
        return [trial for trial in trials if trial.id not in taken]
