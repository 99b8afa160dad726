"""The function that a worker runs for each trial; it reports the trial's epochs to Tune."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import ray
from ray import tune

from experiments.job import Job, Result
from experiments.training.environment import missing_gpu
from experiments.trial import run_trial
from trainer.failures import is_device_lost
from trainer.files import JOURNAL
from trainer.garbage import collect_seldom
from trainer.recorder import Epoch, Journal
from trainer.stopping import is_over, value_so_far

from ..cluster import away
from ..cluster.needs import node_name
from .nodes import Home
from .rules import OBJECTIVE


def resources_of(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """The cores and GPUs that Tune reserves for a trial."""
    return tune.PlacementGroupFactory([{"CPU": config["cpus"], "GPU": config["gpus"]}])


def train(config: dict[str, Any], home: Home | None = None) -> None:
    """Run one trial in a worker. A failed training is reported as a result, so that the worker lives on."""
    collect_seldom()
    if not config["gpus"]:
        # where none was reserved, Ray leaves all of a node's GPUs in sight
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    job = Job(**json.loads(config["job"]))
    recorder = _Recorder(job)
    if config["gpus"] and (reason := missing_gpu()):
        result = Result("failed", reason=reason)
    elif home is None or ray.get_runtime_context().get_node_id() == home.node:
        result = in_one_thread(lambda: run_trial(job, recorder))
    else:
        node = node_name(socket.gethostname(), ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
        result = in_one_thread(lambda: away.run_away(job, home.needs, home, recorder, node))
    if result.status == "failed" and is_device_lost():
        # further trials in this process would fail as well, so another worker must take its place
        os._exit(1)
    tune.report({"result": json.dumps(result.as_data()), **recorder.last})


def in_one_thread(training: Callable[[], Result]) -> Result:
    """What `training` returns or raises, called in the thread that trains all of a worker's trials.

    Tune begins a thread for each; but what cuDNN has measured of a convolution stays with the thread that asked.
    """
    done: Future[Result] = Future()
    _trainings().put((training, done))
    return done.result()


@cache
def _trainings() -> SimpleQueue[tuple[Callable[[], Result], Future[Result]]]:
    waiting: SimpleQueue[tuple[Callable[[], Result], Future[Result]]] = SimpleQueue()

    def train_all() -> None:
        while True:
            training, done = waiting.get()
            try:
                done.set_result(training())
            except BaseException as error:
                # also the SystemExit by which Tune ends a trial
                done.set_exception(error)
            del training, done

    # a daemon, as Tune's own: a training that hangs must not keep the process
    Thread(target=train_all, name="training", daemon=True).start()
    return waiting


class _Recorder:
    """Reports each epoch, for a watched trial with its objective. If Tune ends the trial, reporting does not return.

    A report waits until the driver has heard it, so the last epoch goes with the result, which follows at once.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.course: list[Epoch] = []
        self.last: dict[str, Any] = {}

    def epoch(self, number: int, metrics: Epoch) -> None:
        told: dict[str, Any] = {"epoch": number, "metrics": json.dumps(metrics)}
        if len(self.course) < number - 1:
            self.course = Journal(Path(self.job.folder) / JOURNAL).read()[: number - 1]
        self.course.append(metrics)
        # Tune must not end a training that has reached its own end
        if is_over(self.job.recipe, self.course):
            self.last = told
            return
        if self.job.watched is not None:
            told[OBJECTIVE] = value_so_far(self.job.watched, self.course, self.job.recipe["select"])
        tune.report(told)
