"""The Ray executor: jobs on Ray Tune, in worker processes that outlive their trials. The only file that imports ray."""

from __future__ import annotations

import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

# read by Ray when it is imported
os.environ.update(
    {
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        # what Ray would print of a worker's death is the reason of a trial's failure
        "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_process_group_cleanup_enabled": "1",
        "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "86400",
        "TUNE_MAX_PENDING_TRIALS_PG": "16",
        "TUNE_WARN_THRESHOLD_S": "60",
    }
)

import ray
from ray import tune
from ray._private import utils
from ray.tune.execution import class_cache

from experiments.trial import Job, Result, run_trial
from trainer.errors import UserError
from trainer.recorder import Epoch

from .events import Events, Execute
from .scratch import scratch_folder
from .signals import Stop, unstoppable
from .watch import Watch

_OBJECT_STORE_BYTES = 128 * 2**20
_LOG_BYTES = 2**20
"""What Ray's own files take before the first trial, at least."""


@contextmanager
def start(*, concurrency: int | None, address: str | None = None) -> Iterator[Execute]:
    """See events.Executor. `address` joins a running cluster instead of starting Ray on this machine."""
    stop = Stop()
    with scratch_folder() as scratch:
        try:
            with stop.on_signal():
                try:
                    _start_ray(concurrency, address, scratch)
                except Exception as error:
                    # Ray itself says that its node timed out
                    if shutil.disk_usage(scratch).free > _LOG_BYTES:
                        raise
                    place = f"no space left in {scratch.parent} for Ray's files"
                    raise UserError(f"{place}; make room, or set TMPDIR to a short path elsewhere") from error
                finally:
                    # a signal to the whole process group has ended some of Ray as well: that is no failure
                    stop.check()
            yield partial(_run, share=_share(concurrency), concurrency=concurrency, scratch=scratch)
        finally:
            with unstoppable():
                ray.shutdown()


def _run(
    jobs: Sequence[Job], events: Events, *, share: dict[str, float], concurrency: int | None, scratch: Path
) -> None:
    stop = Stop()
    tuner = tune.Tuner(
        tune.with_resources(_work, share),
        param_space={"job": tune.grid_search([json.dumps(job.as_data()) for job in jobs])},
        tune_config=tune.TuneConfig(
            reuse_actors=True,
            max_concurrent_trials=concurrency,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name=uuid4().hex,
            storage_path=str(scratch),
            callbacks=[_Forward(events, stop)],
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
        ),
    )
    with stop.on_signal():
        tuner.fit()


def _start_ray(concurrency: int | None, address: str | None, scratch: Path) -> None:
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
    ray.init(
        address="local",
        num_cpus=concurrency,
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


def _share(concurrency: int | None) -> dict[str, float]:
    """What a trial takes of the cluster so that `concurrency` of them run at once; at most a GPU each."""
    gpus = ray.cluster_resources().get("GPU", 0)  # type: ignore[no-untyped-call]
    if not gpus:
        return {"cpu": 1}
    return {"cpu": 1, "gpu": gpus / concurrency if concurrency and concurrency > gpus else 1}


def _work(config: dict[str, Any]) -> None:
    """One trial in a worker; a failed training is a result as well, so the worker lives on."""
    result = run_trial(Job(**json.loads(config["job"])), _Recorder())
    tune.report({"result": json.dumps(result.as_data())})


class _Recorder:
    def epoch(self, number: int, metrics: Epoch) -> None:
        tune.report({"epoch": number, "metrics": json.dumps(metrics)})


class _Forward(tune.Callback):
    """Tells the driver's events; pickled by Tune as nothing, because what they hold can't be."""

    def __init__(self, events: Events, stop: Stop) -> None:
        self.events: Events | None = events
        self.stop: Stop | None = stop
        self.watch = Watch()
        self.hanging: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.events = self.stop = None

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Several times a second, between the events of trials."""
        if self.stop:
            self.stop.check()
        silent = self.watch.silent()
        for trial in trials if silent else ():
            reason, worker = silent.get(_id(trial)), trial.temporary_state.ray_actor
            if reason and worker and _id(trial) not in self.hanging:
                self.hanging[_id(trial)] = reason
                ray.kill(worker)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if self.events:
            self.watch.started(_id(trial))
            self.events.started(_id(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if self.events is None:
            return
        if "result" in result:
            self.watch.ended(_id(trial))
            self.events.ended(_id(trial), Result(**json.loads(result["result"])))
        elif "epoch" in result:
            metrics = json.loads(result["metrics"])
            self.watch.epoch(_id(trial), metrics["epoch_seconds"])
            self.events.epoch(_id(trial), int(result["epoch"]), metrics)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The worker itself died, or what it ran could not be run."""
        if self.events:
            last = (trial.get_error() or "").__str__().strip().splitlines()
            reason = f"the worker died: {last[-1] if last else 'no reason given'}"
            reason = self.hanging.pop(_id(trial), reason)
            self.watch.ended(_id(trial))
            self.events.ended(_id(trial), Result("failed", reason=reason[:500], again=True))


def _id(trial: Any) -> str:
    return str(json.loads(trial.config["job"])["id"])


def _name(trial: Any) -> str:
    return _id(trial)
