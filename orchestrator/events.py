"""What an engine (Ray, or this process) is given to do, and what it tells: the contract between schedule and run."""

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
    """What runs the jobs is gone, in words; it stops a study as an interruption does, and no library catches it."""


@dataclass(frozen=True)
class Rule:
    """How jobs that are watched (see job.Job) are ended early, by the course of their metric."""

    kind: str
    """asha, hyperband or median."""

    better: str
    """max or min."""

    grace: int
    """Epochs that each has at least."""

    factor: int
    """One in so many goes on."""

    epochs: int
    """Of a whole training."""

    before: Sequence[Mapping[int, float]] = ()
    """Epoch to metric of trials that ended before this process began, with which new ones are compared."""


class Work(Protocol):
    """Jobs for an engine, which are called for as there is room for them, and what hears how they go.

    Called in the driver, one call at a time, in the order in which things happen.
    """

    def next_job(self) -> tuple[Job, Share] | None:
        """None: no job is ready before another one ends, or none is left."""

    def check(self, *, wait: bool = False) -> None:
        """Raise UserError where it can't go on, as its record does not open; asked often. wait: until that is known."""

    def is_over(self) -> bool:
        """Whether no job will come any more."""

    @property
    def rule(self) -> Rule | None:
        """By which the engine ends watched jobs early; None: it ends none."""

    def started(self, trial: str) -> None:
        """A worker has taken up the trial of this id."""

    def epoch(self, trial: str, number: int, metrics: Epoch) -> None:
        """A running trial has ended an epoch (from 1)."""

    def ended(self, trial: str, result: Result) -> None:
        """The attempt is over."""

    def is_hopeless(self, trial: str) -> bool:
        """Whether a watched trial should end after the epoch it has just told; for an engine without rules."""

    def pruned(self, trial: str) -> None:
        """A watched trial was ended after the epoch that it told last."""


class Supply(Protocol):
    """Where a driver's further trials come from, one after the other, after what is known by then."""

    ahead: int
    """How many trials beyond those that there is room for may be handed out; 0 where one should know all results."""

    @property
    def rule(self) -> Rule | None:
        """See events.Work."""

    def refill(self, driver: Driver) -> None:
        """There is room and nothing waits: add trials to the driver, if there are any by now."""

    def is_over(self) -> bool:
        """Whether none will come any more."""

    def watched(self, trial: str) -> str | None:
        """See job.Job."""

    def epoch(self, trial: str, course: Sequence[Epoch]) -> None:
        """A running trial has ended an epoch; all of them so far."""

    def is_hopeless(self, trial: str) -> bool:
        """See events.Work."""

    def ended(self, driver: Driver, trial: Trial, result: Result) -> None:
        """There will be no other attempt at it."""


class Engine(Protocol):
    """Carries out work, as many jobs at once as their shares allow."""

    @property
    def room(self) -> Room:
        """What it has to share out."""

    def run(self, work: Work) -> None:
        """Return when the work is over. Raises KeyboardInterrupt when interrupted, after every job has stopped."""


class Executor(Protocol):
    """Starts an engine; leaving it stops everything. It has `cpus` cores, or those of a cluster at `address`."""

    def __call__(
        self, *, cpus: int, address: str | None = None, needs: Needs | None = None
    ) -> AbstractContextManager[Engine]:
        """`needs` goes with `address`. Raises UserError where it can't be started, or a node lacks what it needs."""
