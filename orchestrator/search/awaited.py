"""Configurations whose outcome the memory does not know yet: which trials they wait for, and how those end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean

from experiments.plan import Trial
from experiments.search.plan import SearchPlan
from experiments.tracking.records import TrialRecord

from ..driver import Driver
from ..holdings import Reservations
from .memory import Memory
from .outcomes import course_of, values_of


@dataclass
class Open:
    """A configuration whose outcome the memory has not been told yet."""

    number: int
    trials: dict[int, Trial]
    """Seed to trial; the search's first seed comes first."""

    values: dict[int, tuple[float, ...]] = field(default_factory=dict)
    """Seed to the objectives of its trial, once that has ended."""

    waiting: list[Trial] = field(default_factory=list)
    """Trials that begin once the first one has ended without being pruned."""

    @property
    def first(self) -> Trial:
        """The trial that is watched by the pruning rule, if there is one."""
        return next(iter(self.trials.values()))


class Awaited:
    """Tells the memory the outcome of each configuration, once all its trials have ended or one decides it."""

    def __init__(self, search: SearchPlan, memory: Memory, reservations: Reservations) -> None:
        self.search = search
        self.memory = memory
        self.reservations = reservations
        self.open: dict[int, Open] = {}
        """Number to configuration."""

        self.records: dict[str, TrialRecord] = {}
        """Trial id to the record of how it ended: here, where MLflow's may be written later, or as MLflow's says."""

        self._by_trial: dict[str, list[Open]] = {}

    def add(self, number: int, trials: Mapping[int, Trial]) -> Open:
        """Add a configuration with these trials, by seed."""
        opened = self.open[number] = Open(number, dict(trials))
        return opened

    def of(self, trial: str) -> list[Open]:
        """The configurations that wait for the trial of this id."""
        return self._by_trial.get(trial, [])

    def first_of(self, trial: str) -> list[Open]:
        """The open configurations whose first trial has this id."""
        return [found for found in self.of(trial) if found.first.id == trial and found.number in self.open]

    def begin(self, driver: Driver, configuration: Open, trials: Sequence[Trial]) -> None:
        """Let a configuration wait for trials; the driver trains those that no other configuration waits for."""
        for trial in trials:
            self._by_trial.setdefault(trial.id, []).append(configuration)
        driver.add(driver.plan, [trial for trial in trials if len(self._by_trial[trial.id]) == 1])

    def ended(self, trial: Trial, record: TrialRecord) -> list[Open]:
        """Take note of how a trial has ended; returns the configurations that have waited for it."""
        if record.status in ("finished", "pruned"):
            self.records[trial.id] = record
        return self._by_trial.pop(trial.id, [])

    def hear(self, driver: Driver, configuration: Open, trial: Trial, record: TrialRecord) -> None:
        """One of a configuration's trials has ended; once all have, or one decides it, tell the memory."""
        number = configuration.number
        if number not in self.open:
            return
        if record.status == "pruned":
            self._report_all(configuration, record)
            self._tell(number, lambda: self.memory.pruned(number, record.reason))
        elif record.status != "finished":
            self._tell(number, lambda: self.memory.failed(number, f"seed {trial.seed}: {record.reason}"))
        elif (values := values_of(self.search, trial, record)) is None:
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
            self.reservations.give_up(trial.id)
        call()

    def _report_all(self, configuration: Open, record: TrialRecord) -> None:
        """Report the course of a recorded trial, of which the memory may know nothing yet."""
        if self.search.pruning.kind != "none":
            for epoch, value in enumerate(course_of(record, self.search.objectives[0]), start=1):
                self.memory.report(configuration.number, epoch, value)


def _why_none(search: SearchPlan, record: TrialRecord) -> str:
    lacking = (each.metric for each in search.objectives if each.value(record) is None)
    missing = [metric for metric in lacking if not record.reports(metric)]
    return f"it reports no {missing[0]}" if missing else "its objective is not a number"
