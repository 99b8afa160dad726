"""What an engine (Ray, or this process) is given to do, and what it tells: the contract between schedule and run."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from experiments.trial import Job, Result
from trainer.recorder import Epoch

from .needs import Needs
from .shares import Room, Share


class Work(Protocol):
    """Jobs for an engine, which are called for as there is room for them, and what hears how they go.

    Called in the driver, one call at a time, in the order in which things happen.
    """

    def next_job(self) -> tuple[Job, Share] | None:
        """None: no job is ready before another one ends, or none is left."""

    def is_over(self) -> bool:
        """Whether no job will come any more."""

    def started(self, trial: str) -> None:
        """A worker has taken up the trial of this id."""

    def epoch(self, trial: str, number: int, metrics: Epoch) -> None:
        """A running trial has ended an epoch (from 1)."""

    def ended(self, trial: str, result: Result) -> None:
        """The attempt is over."""


class Engine(Protocol):
    """Carries out work, as many jobs at once as their shares allow."""

    @property
    def room(self) -> Room:
        """What it has to share out."""

    def run(self, work: Work) -> None:
        """Return when the work is over. Raises KeyboardInterrupt when interrupted, after every job has stopped."""


class Executor(Protocol):
    """Starts an engine; leaving it stops everything. It has `cpus` cores, or those of a cluster at `address`.

    Started before the first job, because that takes seconds in which the record can open.
    """

    def __call__(
        self, *, cpus: int, address: str | None = None, needs: Needs | None = None
    ) -> AbstractContextManager[Engine]:
        """`needs` goes with `address`. Raises UserError where it can't be started, or a node lacks what it needs."""
