"""The supply of a search (see events.Supply): turns the sampler's configurations into trials, and tells it the results.

A configuration has a trial for each seed. Results that the record holds already are told without training.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from experiments.job import Result
from experiments.language.wording import count
from experiments.plan import Cell, Plan, Trial
from experiments.search.plan import IN_VAIN, SearchPlan, with_cells
from experiments.sharing.leases import Lease
from experiments.tracking.records import make_record
from experiments.training.folders import trial_folder
from reports.search.told import cell_of
from trainer.errors import Diverged, UserError
from trainer.recorder import Epoch
from trainer.stopping import value_so_far

from ..driver import Driver
from ..events import PruningRule
from ..holdings import Reservations, recorded
from .awaited import Awaited, Open
from .budget import POLL, Budget
from .finalists import Finalists
from .memory import Configuration, Memory
from .outcomes import excesses_of
from .unrecorded import Unrecorded

DIVERGED = f"{Diverged.__name__}: "
"""In the reason of a training that diverged, as it would again."""


class Configurations:
    """Asks the sampler while the budget lasts; then it is the finalists' turn."""

    ahead = 0
    """Each suggestion should follow from all earlier results."""

    def __init__(
        self,
        search: SearchPlan,
        memory: Memory,
        fingerprints: dict[str, str],
        fingerprint: Callable[[Plan], Mapping[str, str]],
        lease: Lease,
    ) -> None:
        """fingerprints: grows by those of new trials, which `fingerprint` finds (see data.prepare_data)."""
        self.search = search
        self.memory = memory
        self.fingerprints = fingerprints
        self.fingerprint = fingerprint
        self.broken: UserError | None = None
        """Why the search can't go on; None: it can."""

        self.budget = Budget(search, memory)
        history = memory.history()
        self.courses = tuple(told.course for told in history if told.state in ("complete", "pruned") and told.course)
        """Courses of configurations that were told before this process began, for the engine's rule."""

        self.known = {told.first for told in history if told.state in ("complete", "pruned")}
        """First trials of configurations that have completed or were pruned."""

        self.diverged = {
            told.first: told.reason for told in history if told.state == "failed" and DIVERGED in told.reason
        }
        """First trial of each configuration that would diverge again, and the reason of its failure."""

        self.reservations = Reservations(fingerprints, lease)
        self.awaited = Awaited(search, memory, self.reservations)
        self.elsewhere: list[tuple[Open, float]] = []
        """Configurations with a trial that another process trains, and when to look at them again."""

        self.unrecorded = Unrecorded(search, history, self.awaited, fingerprints, fingerprint)
        self.finalists = Finalists(search, memory, self.reservations, fingerprints, fingerprint)

    @property
    def rule(self) -> PruningRule | None:
        """See events.Work."""
        kind, rule = self.search.pruning.kind, self.search.pruning
        if kind == "none":
            return None
        epochs = self.search.study.recipe.epochs
        return PruningRule(
            kind, self.search.objectives[0].direction, rule.grace, rule.factor or 3, epochs, self.courses
        )

    def has_ended(self) -> bool:
        """Whether nothing is left to train, the trials under fresh seeds included."""
        if self.unrecorded.left or self.budget.left or self.budget.running_elsewhere or not self.budget.is_spent():
            return False
        return self.finalists.are_recorded()

    def folder(self, trial: Trial) -> Path:
        """The trial's folder."""
        return trial_folder(trial.id, self.fingerprints[trial.id])

    def refill(self, driver: Driver) -> None:
        """See events.Supply."""
        self._guarded(lambda: self._refill(driver))

    def is_over(self) -> bool:
        """See events.Supply."""
        if self.broken is not None:
            return True
        return self.finalists.are_begun and not self.finalists.elsewhere and not self.awaited.open

    def watched(self, trial: str) -> str | None:
        """See events.Supply. Each configuration's first seed is watched; the others follow if it was not pruned."""
        return self.search.objectives[0].metric if self.rule is not None and self.awaited.first_of(trial) else None

    def epoch(self, trial: str, course: Sequence[Epoch]) -> None:
        """See events.Supply."""
        # a result in the record is lost to the search if the memory has lost its configuration
        self._guarded(self.memory.keep)
        for configuration in self.awaited.first_of(trial) if self.rule is not None else ():
            value = value_so_far(self.search.objectives[0].metric, course, configuration.first.recipe.select)
            self._guarded(partial(self.memory.report, configuration.number, len(course), value))

    def is_hopeless(self, trial: str) -> bool:
        """See events.Work."""
        try:
            return any(self.memory.is_hopeless(configuration.number) for configuration in self.awaited.first_of(trial))
        except UserError as error:
            self.broken = self.broken or error
            return False

    def ended(self, driver: Driver, trial: Trial, result: Result) -> None:
        """See events.Supply."""
        # only then: whoever takes it next must find the result, not train it again
        driver.writer.then(self.reservations.let_go(trial.id))
        record = make_record(driver.plan, trial, result, self.fingerprints[trial.id])
        for configuration in self.awaited.ended(trial, record):
            if record.status == "failed" and DIVERGED in record.reason:
                self.diverged[configuration.first.id] = f"seed {trial.seed}: {record.reason}"
            self._guarded(partial(self.awaited.hear, driver, configuration, trial, record))
        self._expect(driver)

    def _guarded(self, call: Callable[[], object]) -> None:
        """Call, and keep a UserError in `broken`, not to raise it into the engine: running trials are to end first."""
        if self.broken is None:
            try:
                call()
            except UserError as error:
                self.broken = error

    def _refill(self, driver: Driver) -> None:
        self.unrecorded.train(driver)
        self._look_elsewhere(driver)
        while not driver.waiting and self.broken is None:
            configuration = self._next()
            if configuration is None:
                break
            self._begin(driver, configuration)
        if not driver.waiting and not self.awaited.open:
            if left := self.budget.running_elsewhere:
                driver.progress.say_once(f"{count(left, 'configuration')} left to other machines")
            else:
                self.finalists.train(driver)
        self._expect(driver)

    def _next(self) -> Configuration | None:
        if self.finalists.are_begun and not self.budget.left:
            return None
        return self.budget.next(lambda: self.memory.ask(self.budget.refused_in_a_row, self.budget.repeated_in_a_row))

    def _begin(self, driver: Driver, configuration: Configuration) -> None:
        """Take up a configuration: tell its outcome at once if that needs no training, else train it."""
        number = configuration.number
        try:
            cell = cell_of(self.search, f"#{number}", configuration.point)
            excesses = excesses_of(self.search, cell)
        except UserError as error:
            # its values don't fit together, or make a network that can't be built
            self.memory.failed(number, str(error))
            return
        if self._is_refused(driver, number, excesses):
            return
        trials = self._trials(driver, cell, self.search.seeds)
        self._count(driver, trials[0].id)
        self.memory.note_trials(number, {trial.seed: trial.id for trial in trials})
        if trials[0].id in self.diverged:
            self.memory.failed(number, self.diverged[trials[0].id])
            return
        self._train(driver, self.awaited.add(number, {trial.seed: trial for trial in trials}))

    def _count(self, driver: Driver, first: str) -> None:
        """Refund a configuration that is known or being trained; end the search if it suggests nothing else."""
        known = first in self.known or first in self.diverged or first in self.awaited.records
        elsewhere = any(configuration.first.id == first for configuration, _ in self.elsewhere)
        if not known and not elsewhere and not self.awaited.of(first):
            self.budget.repeated_in_a_row = 0
            return
        self.budget.refund()
        self.budget.repeated_in_a_row += 1
        if self.budget.repeated_in_a_row == IN_VAIN:
            driver.progress.say(f"nothing new in {IN_VAIN} suggestions in a row: the search ends here")

    def _is_refused(self, driver: Driver, number: int, excesses: Mapping[str, float]) -> bool:
        if max(excesses.values(), default=0.0) <= 0:
            self.budget.refused_in_a_row = 0
            self.memory.within(number, excesses)
            return False
        self.memory.refused(number, excesses)
        self.budget.refund()
        self.budget.refused_in_a_row += 1
        if self.budget.refused_in_a_row >= IN_VAIN:
            what = f"{IN_VAIN} configurations in a row break {', '.join(excesses)}"
            if self.budget.begun == 0:
                message = f"{what}; expected ranges that hold some that keep them"
                raise self.search.study.error(("constraints",), message)
            driver.progress.say_once(f"{what}: the search ends here")
        return True

    def _trials(self, driver: Driver, cell: Cell, seeds: Sequence[int]) -> list[Trial]:
        driver.plan, trials = with_cells(driver.plan, [cell], seeds)
        self.fingerprints |= self.fingerprint(dataclasses.replace(driver.plan, trials=tuple(trials)))
        return trials

    def _train(self, driver: Driver, configuration: Open) -> None:
        """Train what a configuration lacks, at first only its first seed if that may be pruned; hear what is known."""
        trials = [trial for seed, trial in configuration.trials.items() if seed not in configuration.values]
        found = recorded(driver.plan, trials, self.fingerprints, pruned=self.rule is not None)
        found |= {trial.id: self.awaited.records[trial.id] for trial in trials if trial.id in self.awaited.records}
        missing = [trial for trial in trials if trial.id not in found]
        if not self.reservations.take(missing):
            self.elsewhere.append((configuration, time.monotonic() + POLL))
            return
        if missing:
            # another process may have recorded one since, and let it go
            found |= recorded(driver.plan, missing, self.fingerprints, pruned=self.rule is not None)
            missing = self.reservations.still_missing(missing, found)
        # suggested again, it costs nothing
        self.awaited.records |= found
        first = configuration.first
        now = [first] if self.rule and first in missing else missing
        configuration.waiting = [trial for trial in missing if trial not in now]
        self.awaited.begin(driver, configuration, now)
        for trial in trials:
            if trial.id in found:
                self.awaited.hear(driver, configuration, trial, found[trial.id])

    def _look_elsewhere(self, driver: Driver) -> None:
        due = [configuration for configuration, at in self.elsewhere if time.monotonic() >= at]
        self.elsewhere = [(configuration, at) for configuration, at in self.elsewhere if configuration not in due]
        for configuration in due:
            self._train(driver, configuration)

    def _expect(self, driver: Driver) -> None:
        """Tell the display how many trials are still to come."""
        more = 0 if self.finalists.are_begun else self.budget.to_come() or 0
        later = sum(len(configuration.waiting) for configuration in self.awaited.open.values())
        fresh = 0 if self.finalists.are_begun else (1 + self.search.finalists) * self.search.words.confirm
        like = Trial("", "#0", 0, self.search.study.recipe)
        driver.progress.expect(more * len(self.search.seeds) + later + fresh, like)
