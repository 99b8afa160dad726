"""The end of a search: its finalists and the recipe, trained under seeds by which no configuration was chosen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from experiments.language.wording import count
from experiments.plan import Plan, Trial
from experiments.search.plan import SearchPlan, with_cells
from reports.search.told import fresh_plan

from ..driver import Driver
from ..holdings import Reservations, recorded
from .budget import POLL
from .memory import Memory


class Finalists:
    """Hands the driver those trials under fresh seeds that are not recorded yet."""

    def __init__(
        self,
        search: SearchPlan,
        memory: Memory,
        reservations: Reservations,
        fingerprints: dict[str, str],
        fingerprint: Callable[[Plan], Mapping[str, str]],
    ) -> None:
        """See Configurations."""
        self.search = search
        self.memory = memory
        self.reservations = reservations
        self.fingerprints = fingerprints
        self.fingerprint = fingerprint
        self.are_begun = False
        self.elsewhere: list[Trial] = []
        """Trials that another process trains."""

        self._looked = -math.inf
        """When it was last checked whether those of others are recorded or free."""

    def are_recorded(self) -> bool:
        """Whether the record holds all trials under fresh seeds."""
        plan = self._plan()
        return len(recorded(plan, plan.trials, self.fingerprints, pruned=False)) == len(plan.trials)

    def train(self, driver: Driver) -> None:
        """Train the missing trials, at the first call; at later ones, those that another process has left untrained."""
        if not self.are_begun:
            self.are_begun = True
            driver.plan, trials = with_cells(driver.plan, self._plan().cells, self.search.fresh_seeds)
        elif self.elsewhere and time.monotonic() >= self._looked + POLL:
            trials = self.elsewhere
        else:
            return
        self._looked = time.monotonic()
        found = recorded(driver.plan, trials, self.fingerprints, pruned=False)
        missing = [trial for trial in trials if trial.id not in found]
        taken = [trial for trial in missing if self.reservations.take([trial])]
        self.elsewhere = [trial for trial in missing if trial not in taken]
        # another process may have recorded one since, and let it go
        late = recorded(driver.plan, taken, self.fingerprints, pruned=False)
        driver.add(driver.plan, self.reservations.still_missing(taken, late))
        if self.elsewhere:
            driver.progress.say_once(f"{count(len(self.elsewhere), 'trial')} under fresh seeds left to others")

    def _plan(self) -> Plan:
        """The finalists by what the memory knows so far; their data are put in place."""
        plan = fresh_plan(self.search, self.memory.history())
        self.fingerprints |= self.fingerprint(plan)
        return plan
