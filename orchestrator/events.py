"""What an executor tells of its work, and the signature that all executors share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from experiments.trial import Job, Result
from trainer.recorder import Epoch

from .needs import Needs


class Events(Protocol):
    """Called in the driver, one call at a time, in the order in which things happen."""

    def started(self, trial: str) -> None:
        """A worker has taken up the trial of this id."""

    def epoch(self, trial: str, number: int, metrics: Epoch) -> None:
        """A running trial has ended an epoch (from 1)."""

    def ended(self, trial: str, result: Result) -> None:
        """The attempt is over."""


class Execute(Protocol):
    """Runs jobs in their order, as many at once as its executor was started for; returns when all ended."""

    def __call__(self, jobs: Sequence[Job], events: Events) -> None:
        """Raises KeyboardInterrupt when interrupted, after every job has stopped."""


class Executor(Protocol):
    """Starts what runs jobs, `concurrency` at once (None: as many as a cluster holds); leaving it stops everything.

    Started before the first job, because that takes seconds in which the record can open; once for all waves of jobs.
    """

    def __call__(
        self, *, concurrency: int | None, address: str | None = None, needs: Needs | None = None
    ) -> AbstractContextManager[Execute]:
        """`needs` goes with `address`. Raises UserError where it can't be started, or a node lacks what it needs."""
