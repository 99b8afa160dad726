"""The inline executor: one trial after the other in this process, for tests and debuggers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from experiments.trial import Job, run_trial
from trainer.recorder import Epoch

from .events import Events, Execute
from .needs import Needs


@contextmanager
def start(*, concurrency: int | None = 1, address: str | None = None, needs: Needs | None = None) -> Iterator[Execute]:
    """See events.Executor; there is one trial at a time, here."""
    yield run


def run(jobs: Sequence[Job], events: Events) -> None:
    """See events.Execute."""
    for job in jobs:
        events.started(job.id)
        events.ended(job.id, run_trial(job, _Recorder(job.id, events)))


class _Recorder:
    def __init__(self, trial: str, events: Events) -> None:
        self.trial = trial
        self.events = events

    def epoch(self, number: int, metrics: Epoch) -> None:
        self.events.epoch(self.trial, number, metrics)
