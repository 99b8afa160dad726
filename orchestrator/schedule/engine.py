"""Ray started or joined, and Tune driven: it asks the work for jobs and tells it what becomes of them."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from ray import tune
from ray._private import utils
from ray.tune.execution import class_cache

from experiments.trial import Result
from trainer.errors import UserError

from ..events import Engine, Work
from ..needs import Needs
from ..resources import gpu_count
from ..scratch import scratch_folder
from ..shares import Room
from ..signals import Stop, unstoppable
from ..watch import Watch
from .lean import lean_ray
from .nodes import Home, prepare_nodes, room_of_nodes
from .rules import scheduler_of
from .worker import resources_of, train

_OBJECT_STORE_BYTES = 128 * 2**20
_LOG_BYTES = 2**20
"""What Ray's own files take before the first trial, at least."""


@contextmanager
def start(*, cpus: int, address: str | None = None, needs: Needs | None = None) -> Iterator[Engine]:
    """See events.Executor. `address` joins a running cluster instead of starting Ray on this machine."""
    stop = Stop()
    with scratch_folder() as scratch:
        try:
            with stop.on_signal():
                try:
                    _start_ray(cpus, address, scratch)
                except Exception as error:
                    # Ray itself says that its node timed out
                    if shutil.disk_usage(scratch).free > _LOG_BYTES:
                        raise
                    place = f"no space left in {scratch.parent} for Ray's files"
                    raise UserError(f"{place}; make room, or set TMPDIR to a short path elsewhere") from error
                finally:
                    # a signal to the whole process group has ended some of Ray as well: that is no failure
                    stop.check()
                room = room_of_nodes()
                home = prepare_nodes(needs, room, address, stop) if address and needs else None
            yield _Ray(scratch, room, home)
        finally:
            with unstoppable():
                ray.shutdown()


class _Ray:
    """See events.Engine."""

    def __init__(self, scratch: Path, room: Room, home: Home | None) -> None:
        self.scratch = scratch
        self.room = room
        self.home = home

    def run(self, work: Work) -> None:
        """See events.Engine."""
        stop = Stop()
        tuner = tune.Tuner(
            tune.with_resources(partial(train, home=self.home), resources_of),
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                num_samples=-1,
                search_alg=_Source(work, stop),
                scheduler=scheduler_of(work.rule),
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name=uuid4().hex,
                storage_path=str(self.scratch),
                callbacks=[_Forward(work, stop)],
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
            ),
        )
        with stop.on_signal():
            tuner.fit()


def _start_ray(cpus: int, address: str | None, scratch: Path) -> None:
    warnings.filterwarnings("ignore", module=r"ray(\.|$)")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # else Ray takes SIGTERM for itself: it exits in the middle of starting and leaves what it has started
    utils.set_sigterm_handler = lambda handler: None
    if address is not None:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(f"--address {address}: no Ray cluster answers there ({reason})") from error
        return
    with lean_ray():
        ray.init(
            address="local",
            num_cpus=cpus,
            num_gpus=gpu_count(),
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(scratch),
            object_store_memory=_OBJECT_STORE_BYTES,
            **quiet,
        )
    _take_started_workers()


def _take_started_workers() -> None:
    """Let trials run in the workers that Ray starts at once, which have this process's environment.

    Tune asks for a few variables by name, even where they are the same: such workers start only after an agent has
    made their environment, three seconds later.
    """
    class_cache.DEFAULT_ENV_VARS = {}
    class_cache.ENV_VARS_TO_PROPAGATE = set()


class _Source(tune.search.Searcher):
    """Where Tune gets its next trial: a job of the work. Pickled by Tune as nothing, because a work can't be."""

    def __init__(self, work: Work, stop: Stop) -> None:
        super().__init__()
        self.work: Work | None = work
        self.stop: Stop | None = stop

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.work = self.stop = None

    def suggest(self, trial_id: str) -> Any:
        """The next job; nothing while none is ready."""
        assert self.work is not None, "only a copy lacks it"
        assert self.stop is not None, "only a copy lacks it"
        self.stop.check()
        found = self.work.next_job()
        if found is None:
            return tune.search.Searcher.FINISHED if self.work.is_over() else None
        job, share = found
        return {"job": json.dumps(job.as_data()), "cpus": share.cpus, "gpus": share.gpus}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The work hears of it by its own events."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "") -> None:
        """The record is what an interrupted study goes on from."""


class _Forward(tune.Callback):
    """Tells the work what happens; pickled by Tune as nothing, because what they hold can't be."""

    def __init__(self, work: Work, stop: Stop) -> None:
        self.work: Work | None = work
        self.stop: Stop | None = stop
        self.watch = Watch()
        self.hanging: dict[str, str] = {}
        self.complete: list[Any] = []

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.work = self.stop = None

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Several times a second, between the events of trials."""
        if self.stop:
            self.stop.check()
        self._forget_complete()
        silent = self.watch.silent()
        for trial in trials if silent else ():
            reason, worker = silent.get(_id(trial)), trial.temporary_state.ray_actor
            if reason and worker and _id(trial) not in self.hanging:
                self.hanging[_id(trial)] = reason
                ray.kill(worker)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if self.work:
            self.watch.started(_id(trial))
            self.work.started(_id(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if self.work is None:
            return
        if "result" in result:
            self.watch.ended(_id(trial))
            self.work.ended(_id(trial), Result(**json.loads(result["result"])))
        elif "epoch" in result:
            metrics = json.loads(result["metrics"])
            self.watch.epoch(_id(trial), metrics["epoch_seconds"])
            self.work.epoch(_id(trial), int(result["epoch"]), metrics)
            if result.get("done"):
                self.watch.ended(_id(trial))
                self.work.pruned(_id(trial))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune keeps every trial to the end; what it has counted of each metric is of no use to anyone."""
        self.complete.append(trial)

    def _forget_complete(self) -> None:
        # not while Tune's own callbacks hear of the end: where its last result is gone they print a line
        while self.complete:
            counted = self.complete.pop().run_metadata
            for kept in ("metric_analysis", "metric_n_steps", "last_result"):
                getattr(counted, kept, {}).clear()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The worker itself died, or what it ran could not be run."""
        if self.work:
            last = (trial.get_error() or "").__str__().strip().splitlines()
            reason = f"the worker died: {last[-1] if last else 'no reason given'}"
            reason = self.hanging.pop(_id(trial), reason)
            self.watch.ended(_id(trial))
            self.work.ended(_id(trial), Result("failed", reason=reason[:500], again=True))


def _id(trial: Any) -> str:
    return str(json.loads(trial.config["job"])["id"])


def _name(trial: Any) -> str:
    return _id(trial)
