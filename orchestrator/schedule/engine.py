"""Starts or joins Ray, and runs Tune."""

from __future__ import annotations

import gc
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import ray
from ray import tune
from ray._private import node, ray_constants, utils
from ray.tune.execution import class_cache

from trainer.errors import UserError

from ..cluster.needs import Needs
from ..estimates.resources import gpu_count
from ..estimates.shares import Room
from ..events import Engine, Work
from ..scratch import scratch_folder
from ..signals import Stop, unstoppable
from .calls import Forward, JobSource, trial_id
from .lean import lean_ray, lean_tune
from .nodes import Home, prepare_nodes, room_of_nodes
from .rules import scheduler_of
from .worker import resources_of, train

_OBJECT_STORE_BYTES = 128 * 2**20
_LOG_BYTES = 2**20
"""Least bytes that Ray's own files take before the first trial."""


@contextmanager
def start(*, cpus: int, address: str | None = None, needs: Needs | None = None) -> Iterator[Engine]:
    """See events.Executor. `address` joins a running cluster instead of starting Ray on this machine."""
    stop = Stop()
    with scratch_folder() as scratch:
        try:
            with stop.on_signal():
                try:
                    _start_ray(cpus, address, scratch)
                except UserError:
                    raise
                except Exception as error:
                    raise _not_started(error, scratch) from error
                finally:
                    # a signal to the whole process group also ends some of Ray's processes: no failure, but a stop
                    stop.check()
                room = room_of_nodes()
                home = prepare_nodes(needs, room, address, stop) if address and needs else None
            # what is loaded stays, so that `_stop_ray` need not look through it
            gc.freeze()
            yield _Ray(scratch, room, home, cores=address is None and not room.gpus)
        finally:
            _stop_ray()


def _stop_ray() -> None:
    """Shut Ray down, ignoring signals and without collecting garbage.

    Half-way Ray gives SIGTERM its deadly default back. And if any thread drops a reference of Ray's after the core
    worker is gone, Ray ends this process.
    """
    stop = node.Node.kill_all_processes

    def still_deaf(*arguments: Any, **named: Any) -> Any:
        with unstoppable():
            return stop(*arguments, **named)

    gc.collect()
    gc.disable()
    try:
        with unstoppable(), patch.object(node.Node, "kill_all_processes", still_deaf):
            ray.shutdown()
    finally:
        gc.enable()


class _Ray:
    """See events.Engine."""

    def __init__(self, scratch: Path, room: Room, home: Home | None, *, cores: bool) -> None:
        self.scratch = scratch
        self.room = room
        self.home = home
        self.cores = cores

    def run(self, work: Work) -> None:
        """See events.Engine."""
        stop = Stop()
        tuner = tune.Tuner(
            tune.with_resources(partial(train, home=self.home), resources_of),
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                num_samples=-1,
                search_alg=JobSource(work, stop),
                scheduler=scheduler_of(work.rule),
                trial_name_creator=trial_id,
                trial_dirname_creator=trial_id,
            ),
            run_config=tune.RunConfig(
                name=uuid4().hex,
                storage_path=str(self.scratch),
                callbacks=[Forward(work, stop)],
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
            ),
        )
        with stop.on_signal(), lean_tune(cores=self.cores):
            tuner.fit()


def _start_ray(cpus: int, address: str | None, scratch: Path) -> None:
    warnings.filterwarnings("ignore", module=r"ray(\.|$)")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # else Ray handles SIGTERM itself: it exits in the middle of starting and leaves processes behind
    utils.set_sigterm_handler = lambda handler: None
    # else its core aborts on SIGTERM with a dump, in this process; workers read the environment instead
    ray_constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER = True
    if address is not None:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(f"--address {address}: no Ray cluster answers there ({reason})") from error
        return
    # elsewhere than on macOS, Ray takes 127.0.0.1 for this machine's address in its network, and listens on all of them
    with lean_ray(), patch.object(ray_constants, "ENABLE_RAY_CLUSTER", False):
        ray.init(
            address="local",
            num_cpus=cpus,
            num_gpus=gpu_count(),
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(scratch),
            object_store_memory=_OBJECT_STORE_BYTES,
            # a worker that is killed while it starts is replaced if a trial has asked for it, else waited for for ever
            _system_config={"prestart_worker_first_driver": False},
            **quiet,
        )
    _ask_for_no_environment()


def _not_started(error: Exception, scratch: Path) -> UserError:
    # if the disk is full, Ray only says that its node timed out
    if shutil.disk_usage(scratch).free <= _LOG_BYTES:
        place = f"no space left in {scratch.parent} for Ray's files"
        return UserError(f"{place}; make room, or set TMPDIR to a short path elsewhere")
    reason = " ".join(str(error).split())[:160].rstrip(" .")
    return UserError(f"Ray does not start here ({reason}); `--executor inline` trains without it, a trial at a time")


def _ask_for_no_environment() -> None:
    """Let trials run in workers with this process's environment.

    Tune asks for a few variables by name, even if their values are the same. Workers with such a wish start three
    seconds later, after an agent has made their environment.
    """
    class_cache.DEFAULT_ENV_VARS = {}
    class_cache.ENV_VARS_TO_PROPAGATE = set()
