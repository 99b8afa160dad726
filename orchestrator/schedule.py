"""The Ray executor: jobs on Ray Tune, in worker processes that outlive their trials. The only file that imports ray."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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
        # only watched trials report what a rule looks at
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        # a trial that is ended early may still write its checkpoint; a worker that is not waited for is killed
        "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
        "TUNE_GLOBAL_CHECKPOINT_S": "86400",
        "TUNE_MAX_PENDING_TRIALS_PG": "16",
        "TUNE_WARN_THRESHOLD_S": "60",
    }
)

import ray
from ray import tune
from ray._private import utils
from ray.tune.execution import class_cache
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from experiments.trial import Job, Result, run_trial
from trainer.errors import UserError
from trainer.files import JOURNAL
from trainer.recorder import Epoch, Journal
from trainer.stopping import value_so_far

from . import away
from .desk import Desk
from .events import Engine, Rule, Work
from .needs import Needs, fitting, import_failed, node_name, unfit
from .resources import gpu_count
from .scratch import scratch_folder
from .shares import Room
from .signals import Stop, unstoppable
from .watch import Watch

_OBJECT_STORE_BYTES = 128 * 2**20
_GONE = (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError, ray.exceptions.LocalRayletDiedError)
_LOG_BYTES = 2**20
"""What Ray's own files take before the first trial, at least."""
_OBJECTIVE = "objective"
"""The key under which a watched trial reports what Tune's rule looks at."""


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
                room = _room()
                home = _prepare_nodes(needs, room, address, stop) if address and needs else None
            yield _Ray(scratch, room, home)
        finally:
            with unstoppable():
                ray.shutdown()


class _Ray:
    """See events.Engine."""

    def __init__(self, scratch: Path, room: Room, home: _Home | None) -> None:
        self.scratch = scratch
        self.room = room
        self.home = home

    def run(self, work: Work) -> None:
        """See events.Engine."""
        stop = Stop()
        tuner = tune.Tuner(
            tune.with_resources(partial(_work, home=self.home), _resources),
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                num_samples=-1,
                search_alg=_Source(work, stop),
                scheduler=_scheduler(work.rule),
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


class _Before:
    """A trial of an earlier process, for Tune's scheduler."""

    def __init__(self, number: int) -> None:
        self.trial_id = f"before-{number}"


def _scheduler(rule: Rule | None) -> tune.schedulers.TrialScheduler:
    """Tune's scheduler for a rule, which knows what went before."""
    if rule is None:
        return tune.schedulers.FIFOScheduler()  # type: ignore[no-untyped-call]
    scheduler: Any = _of_kind(rule)
    for number, course in enumerate(rule.before):
        trial = _Before(number)
        scheduler.on_trial_add(None, trial)
        for epoch, value in course.items():
            if epoch < rule.epochs:
                scheduler.on_trial_result(None, trial, {"epoch": epoch, _OBJECTIVE: value})
    return scheduler  # type: ignore[no-any-return]


def _of_kind(rule: Rule) -> tune.schedulers.TrialScheduler:
    """It sees an epoch's objective, but for the last epoch: that trial has ended well."""
    if rule.kind == "median":
        return _Median(
            "epoch",
            _OBJECTIVE,
            rule.better,
            rule.grace,
            min_samples_required=3,
            # without an end to its slice, a trial would be paused as soon as another one waits
            min_time_slice=math.inf,  # type: ignore[arg-type]
        )
    return tune.schedulers.AsyncHyperBandScheduler(
        "epoch",
        _OBJECTIVE,
        rule.better,
        max_t=max(rule.epochs, rule.grace),
        grace_period=rule.grace,
        reduction_factor=rule.factor,
        brackets=3 if rule.kind == "hyperband" else 1,
        stop_last_trials=False,
    )


class _Median(tune.schedulers.MedianStoppingRule):
    """Leaves out the results that are no epochs of a watched trial; Tune's own would look for an objective in them."""

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if _OBJECTIVE in result:
            super().on_trial_complete(tune_controller, trial, result)


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


def _resources(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    return tune.PlacementGroupFactory([{"CPU": config["cpus"], "GPU": config["gpus"]}])


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


@dataclass(frozen=True)
class _Home:
    """Where the driver is, for workers on other nodes; a `desk.Files` by way of an actor that runs there."""

    node: str
    needs: Needs
    desk: Any

    def read(self, file: str) -> bytes | None:
        return ray.get(self.desk.read.remote(file))  # type: ignore[no-any-return]

    def folder(self, folder: str) -> dict[str, bytes]:
        return ray.get(self.desk.folder.remote(folder))  # type: ignore[no-any-return]

    def write(self, folder: str, files: Mapping[str, bytes], names: list[str]) -> None:
        ray.get(self.desk.write.remote(folder, files, names))


def _room() -> Room:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    return Room(max(cpus), sum(node.get("GPU", 0) for node in nodes), sum(cpus))


def _prepare_nodes(needs: Needs, room: Room, address: str, stop: Stop) -> _Home:
    """Every node that can train, the driver's own apart, has what trials need; raises UserError where one can't."""
    here = ray.get_runtime_context().get_node_id()
    share = {"cpu": 1.0} | ({"gpu": 1.0} if room.gpus else {})
    restarted = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
    desk = ray.remote(Desk).options(**restarted, scheduling_strategy=_only_on(here)).remote()
    home = _Home(here, needs, desk)
    check = ray.remote(_check_node)
    waiting = {
        check.options(num_cpus=0, max_retries=0, scheduling_strategy=_only_on(node)).remote(home): name
        for node, name in fitting(ray.nodes(), share, address).items()  # type: ignore[no-untyped-call]
        if node != here
    }
    problems = []
    while waiting:
        stop.check()
        for done in ray.wait(list(waiting), timeout=0.2)[0]:
            name = waiting.pop(done)
            try:
                reason = ray.get(done)
            except _GONE:
                # it died a moment ago, and Ray has just noticed
                continue
            except ray.exceptions.RayError as error:
                reason = import_failed(str(error))
            if reason:
                problems.append((name, reason))
    if problems:
        raise unfit(sorted(problems))
    return home


def _only_on(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node, soft=False)


def _check_node(home: _Home) -> str:
    """What the node where this runs lacks, in a line; nothing where it is fit."""
    try:
        away.prepare(home.needs, home)
    except UserError as error:
        return str(error)
    return ""


def _work(config: dict[str, Any], home: _Home | None = None) -> None:
    """One trial in a worker; a failed training is a result as well, so the worker lives on."""
    job = Job(**json.loads(config["job"]))
    if reason := away.check_gpu(ray.get_gpu_ids()):
        result = Result("failed", reason=reason)
    elif home is None or ray.get_runtime_context().get_node_id() == home.node:
        result = run_trial(job, _Recorder(job))
    else:
        node = node_name(socket.gethostname(), ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
        result = away.run_away(job, home.needs, home, _Recorder(job), node)
    tune.report({"result": json.dumps(result.as_data())})


class _Recorder:
    """Reports each epoch, of a watched trial with its objective. Where Tune ends the trial, reporting exits."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.course: list[Epoch] = []

    def epoch(self, number: int, metrics: Epoch) -> None:
        seen = self._objective(number, metrics) if number < self.job.recipe["epochs"] else {}
        tune.report({"epoch": number, "metrics": json.dumps(metrics), **seen})

    def _objective(self, number: int, metrics: Epoch) -> dict[str, float]:
        if self.job.watched is None:
            return {}
        if len(self.course) < number - 1:
            self.course = Journal(Path(self.job.folder) / JOURNAL).read()[: number - 1]
        self.course.append(metrics)
        return {_OBJECTIVE: value_so_far(self.job.watched, self.course, self.job.recipe["select"])}


class _Forward(tune.Callback):
    """Tells the work what happens; pickled by Tune as nothing, because what they hold can't be."""

    def __init__(self, work: Work, stop: Stop) -> None:
        self.work: Work | None = work
        self.stop: Stop | None = stop
        self.watch = Watch()
        self.hanging: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.work = self.stop = None

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
        for kept in ("metric_analysis", "metric_n_steps", "last_result"):
            getattr(trial.run_metadata, kept, {}).clear()

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
