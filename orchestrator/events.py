"""The contract between an engine (Ray, or this process) and the driver: jobs to do, and events to report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from experiments.job import Job, Result
from experiments.plan import Trial
from trainer.recorder import Epoch

from .cluster.needs import Needs
from .estimates.shares import Room, Share

if TYPE_CHECKING:
    from .driver import Driver


class EngineDied(KeyboardInterrupt):
    """The engine is gone; the message says how.

    It stops a study as an interruption does, and is derived from KeyboardInterrupt so that no library catches it.
    """


@dataclass(frozen=True)
class PruningRule:
    """By which rule watched jobs (see job.Job) are ended early, from the course of their metric."""

    kind: str
    """asha, hyperband or median."""

    better: str
    """max or min."""

    grace: int
    """Epochs that each job trains at least."""

    factor: int
    """One in so many goes on; the median rule has no use for it."""

    epochs: int
    """Epochs of a whole training."""

    before: Sequence[Mapping[int, float]] = ()
    """Epoch to metric, for each trial that ended before this process began; new ones are compared with them."""


class Work(Protocol):
    """Jobs for an engine, which asks for them as it has room, and the listener to how they go.

    The engine calls it in the driver's process, one call at a time, in the order of events.
    """

    def next_job(self) -> tuple[Job, Share] | None:
        """The next job and its share. None: no job is ready before another one ends, or none is left."""

    def check(self, *, wait: bool = False) -> None:
        """Raise UserError if work can't go on: the record does not open (wait: until that is known), a folder moved.

        Called often.
        """

    def is_over(self) -> bool:
        """Whether no further job will come."""

    @property
    def rule(self) -> PruningRule | None:
        """The rule by which the engine ends watched jobs early; None: it ends none."""

    def started(self, trial: str) -> None:
        """A worker has taken up the trial of this id."""

    def epoch(self, trial: str, number: int, metrics: Epoch) -> None:
        """A running trial has ended an epoch (from 1)."""

    def ended(self, trial: str, result: Result) -> None:
        """An attempt at a trial is over."""

    def is_hopeless(self, trial: str) -> bool:
        """Whether a watched trial should end after the epoch that it has just reported; for an engine without rules."""

    def pruned(self, trial: str) -> None:
        """A watched trial was ended early, after the epoch that it reported last."""


class Supply(Protocol):
    """Where a driver's further trials come from, one after another, depending on what is known by then."""

    ahead: int
    """How many jobs beyond those that there is room for may be handed out; 0 if each depends on all earlier results."""

    @property
    def rule(self) -> PruningRule | None:
        """See events.Work."""

    def refill(self, driver: Driver) -> None:
        """There is room and nothing waits: add trials to the driver, if there are any by now."""

    def is_over(self) -> bool:
        """Whether no further trial will come."""

    def watched(self, trial: str) -> str | None:
        """See job.Job."""

    def epoch(self, trial: str, course: Sequence[Epoch]) -> None:
        """A running trial has ended an epoch. course: all its epochs so far."""

    def is_hopeless(self, trial: str) -> bool:
        """See events.Work."""

    def ended(self, driver: Driver, trial: Trial, result: Result) -> None:
        """A trial has ended, and there will be no further attempt at it."""


class Engine(Protocol):
    """Carries out work, as many jobs at once as their shares allow."""

    @property
    def room(self) -> Room:
        """The cores and GPUs that trials share."""

    def run(self, work: Work) -> None:
        """Return when the work is over. Raises KeyboardInterrupt when interrupted, after every job has stopped."""


class Executor(Protocol):
    """Starts an engine with `cpus` cores, or with those of a cluster at `address`; leaving it stops everything."""

    def __call__(
        self, *, cpus: int, address: str | None = None, needs: Needs | None = None
    ) -> AbstractContextManager[Engine]:
        """`needs` goes with `address`. Raises UserError if the engine can't start, or if a node lacks what it needs."""
