"""The inline engine: one trial after the other in this process, for tests and debuggers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from experiments.job import Job, Result
from experiments.training.environment import missing_gpu
from experiments.trial import run_trial
from trainer.recorder import Epoch

from .cluster.needs import Needs
from .estimates.resources import gpu_count
from .estimates.shares import Room
from .events import Engine, Work


@contextmanager
def start(*, cpus: int = 1, address: str | None = None, needs: Needs | None = None) -> Iterator[Engine]:
    """See events.Executor."""
    yield Inline(cpus)


class Inline:
    """See events.Engine."""

    def __init__(self, cpus: int) -> None:
        self.room = Room(cpus, gpu_count())

    def run(self, work: Work) -> None:
        """See events.Engine. One job after the other, each with the whole machine."""
        # torch loads here while another process opens the record
        import torch  # noqa: F401

        work.check(wait=True)
        while not work.is_over():
            work.check()
            found = work.next_job()
            if found is None:
                # a teacher is being recorded, or other machines train what is left
                time.sleep(0.05)
                continue
            job, share = found
            work.started(job.id)
            if share.gpus and (reason := missing_gpu()):
                work.ended(job.id, Result("failed", reason=reason))
                continue
            try:
                work.ended(job.id, run_trial(job, _Recorder(job, work), prints=True))
            except _Pruned:
                work.pruned(job.id)


class _Pruned(BaseException):
    """Ends a training early; not derived from Exception, so that nothing takes it for a failure."""


class _Recorder:
    def __init__(self, job: Job, work: Work) -> None:
        self.job = job
        self.work = work

    def epoch(self, number: int, metrics: Epoch) -> None:
        self.work.epoch(self.job.id, number, metrics)
        if self.job.watched and self.work.is_hopeless(self.job.id):
            raise _Pruned
