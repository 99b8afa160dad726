"""The supply of a run that adds seeds to what is open (see events.Supply): the next round of each comparison.

A comparison whose seeds are all in asks for its next ones at once, whatever the others are at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.job import Result
from experiments.plan import Plan, Trial
from experiments.sharing.claims import Held
from experiments.tracking.records import TrialRecord, make_record
from experiments.training.folders import trial_folder
from reports.replicates.seeds import follow_one, followed, grown, largest
from trainer.recorder import Epoch

from .driver import Driver
from .events import Rule
from .holdings import recorded
from .progress import Progress
from .task import Summary


class Replicates:
    """Hears how trials end, and adds those that the comparisons want next."""

    rule: Rule | None = None
    ahead = 1
    """What is wanted once stays wanted, whatever ends meanwhile: so none that begins early is one too many."""

    def __init__(
        self,
        plan: Plan,
        known: Mapping[str, TrialRecord | None],
        fingerprints: Mapping[str, str],
        held: Held,
        summary: Summary,
    ) -> None:
        """known: what the record holds; fingerprints: of the data of every trial that may come."""
        # what has failed before is tried again, and waited for
        self.ended_by_now: dict[str, TrialRecord | None] = {
            id: record for id, record in known.items() if record is not None
        }
        self.ids = largest(plan).ids
        self.found = followed(plan, self.ended_by_now)
        self.fingerprints = fingerprints
        self.held = held
        self.summary = summary

    def refill(self, driver: Driver) -> None:
        """See events.Supply. What is wanted follows from trials that have ended, and is added when they do."""

    def is_over(self) -> bool:
        """See events.Supply."""
        return True

    def watched(self, trial: str) -> str | None:
        """See events.Supply. No trial that is compared is ended early."""
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
            mine = self._claimed(new)
            # another process may have trained it since this one began
            found = recorded(driver.plan, mine, self.fingerprints, pruned=False)
            driver.add(driver.plan, [each for each in mine if each.id not in found])
            self._hear(driver.plan, found)
        self.tell(driver.progress)

    def tell(self, progress: Progress) -> None:
        """Let the display know whether more trials may come than it has heard of."""
        progress.may_grow = any(each.may_get_seeds for each in self.found)

    def _hear(self, plan: Plan, ended: Mapping[str, TrialRecord | None]) -> None:
        """Look again at the comparisons in which these trials stand."""
        self.ended_by_now |= ended
        cells = {cell for (cell, _), id in self.ids.items() if id in ended}
        for place, each in enumerate(self.found):
            sides = (each.comparison.left, each.comparison.right)
            if any(side is not None and side.cell in cells for side in sides):
                self.found[place] = follow_one(plan, each.comparison, self.ended_by_now, self.ids)

    def _wanted(self, driver: Driver) -> list[Trial]:
        """Trials that the driver has not heard of; its plan holds them from here on."""
        before = {trial.id for trial in driver.plan.trials}
        driver.plan = grown(driver.plan, self.found)
        return [trial for trial in driver.plan.trials if trial.id not in before]

    def _claimed(self, trials: Sequence[Trial]) -> list[Trial]:
        """Those that no other process has; the summary hears of the others."""
        folders = {trial.id: trial_folder(trial.id, self.fingerprints[trial.id]).name for trial in trials}
        self.held.add(folders.values())
        taken = {id: str(self.held.others[folder]) for id, folder in folders.items() if folder in self.held.others}
        self.summary.elsewhere |= taken
        return [trial for trial in trials if trial.id not in taken]
