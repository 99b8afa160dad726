"""Configurations that have not been told yet: which trials they wait for, and what those come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean

from experiments.plan import Trial
from experiments.search.plan import SearchPlan
from experiments.tracking.records import TrialRecord

from ..driver import Driver
from ..holdings import Claims
from .memory import Memory
from .outcomes import course_of, objectives


@dataclass
class Open:
    """A configuration that has not been told yet."""

    number: int
    trials: dict[int, Trial]
    """By seed, the search's first one first."""

    values: dict[int, tuple[float, ...]] = field(default_factory=dict)
    """Objectives of the seeds that have ended."""

    waiting: list[Trial] = field(default_factory=list)
    """Those that begin once the first one was not pruned."""

    @property
    def first(self) -> Trial:
        """The trial that is watched; the others begin once it was not pruned."""
        return next(iter(self.trials.values()))


class Awaited:
    """Tells the memory what becomes of each configuration, once all its trials have ended or one is enough."""

    def __init__(self, search: SearchPlan, memory: Memory, claims: Claims) -> None:
        self.search = search
        self.memory = memory
        self.claims = claims
        self.open: dict[int, Open] = {}
        """By number."""

        self.records: dict[str, TrialRecord] = {}
        """Trial id to what it came to in this process; the record itself is written later."""

        self._by_trial: dict[str, list[Open]] = {}

    def add(self, number: int, trials: Mapping[int, Trial]) -> Open:
        """A configuration of these trials, by seed."""
        opened = self.open[number] = Open(number, dict(trials))
        return opened

    def of(self, trial: str) -> list[Open]:
        """The configurations that wait for the trial of this id."""
        return self._by_trial.get(trial, [])

    def first_of(self, trial: str) -> list[Open]:
        """Those of which it is the first."""
        return [configuration for configuration in self.of(trial) if configuration.first.id == trial]

    def begin(self, driver: Driver, configuration: Open, trials: Sequence[Trial]) -> None:
        """Have the driver train what no other configuration waits for."""
        for trial in trials:
            self._by_trial.setdefault(trial.id, []).append(configuration)
        driver.add(driver.plan, [trial for trial in trials if len(self._by_trial[trial.id]) == 1])

    def ended(self, trial: Trial, record: TrialRecord) -> list[Open]:
        """The configurations that have waited for it."""
        if record.status in ("finished", "pruned"):
            self.records[trial.id] = record
        return self._by_trial.pop(trial.id, [])

    def hear(self, driver: Driver, configuration: Open, trial: Trial, record: TrialRecord) -> None:
        """One of a configuration's trials has come to something; once all have, or one is enough, tell it."""
        number = configuration.number
        if number not in self.open:
            return
        if record.status == "pruned":
            self._report_all(configuration, record)
            self._tell(number, lambda: self.memory.pruned(number, record.reason))
        elif record.status != "finished":
            self._tell(number, lambda: self.memory.failed(number, f"seed {trial.seed}: {record.reason}"))
        elif (values := objectives(self.search, trial, record)) is None:
            self._tell(
                number, lambda: self.memory.failed(number, f"seed {trial.seed}: {_why_none(self.search, record)}")
            )
        else:
            # another configuration of the same recipe may have trained it
            if trial.id == configuration.first.id:
                self._report_all(configuration, record)
            configuration.values[trial.seed] = values
            if len(configuration.values) == len(configuration.trials):
                means = [mean(column) for column in zip(*configuration.values.values(), strict=True)]
                self._tell(number, lambda: self.memory.complete(number, means))
            elif configuration.waiting:
                later, configuration.waiting = configuration.waiting, []
                self.begin(driver, configuration, later)

    def _tell(self, number: int, call: Callable[[], None]) -> None:
        configuration = self.open.pop(number)
        for trial in configuration.waiting:
            self.claims.give_up(trial.id)
        call()

    def _report_all(self, configuration: Open, record: TrialRecord) -> None:
        """The course of a trial that is recorded, of which nothing may have been told."""
        if self.search.pruning.kind != "none":
            for epoch, value in enumerate(course_of(record, self.search.aims[0]), start=1):
                self.memory.report(configuration.number, epoch, value)


def _why_none(search: SearchPlan, record: TrialRecord) -> str:
    missing = [aim.metric for aim in search.aims if aim.value(record) is None and not record.reports(aim.metric)]
    return f"it reports no {missing[0]}" if missing else "its objective is not a number"
