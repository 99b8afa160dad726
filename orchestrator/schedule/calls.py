"""What Tune calls: for the next trial, and to tell what becomes of one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune

from experiments.job import Result

from ..events import EngineDied, Work
from ..signals import Stop
from ..watch import Watch

_GONE = "connection error code 2. End of file"
"""What Ray says of a process that has left without a word."""

_BETWEEN_LOOKS = 5.0
"""Seconds between two looks at whether Ray lives, which take a millisecond."""


class Source(tune.search.Searcher):
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


class Forward(tune.Callback):
    """Tells the work what happens; pickled by Tune as nothing, because what it holds can't be."""

    def __init__(self, work: Work, stop: Stop) -> None:
        self.work: Work | None = work
        self.stop: Stop | None = stop
        self.watch = Watch()
        self.hanging: dict[str, str] = {}
        self.looked = time.monotonic()
        self.complete: list[Any] = []

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.work = self.stop = None

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Several times a second, between the events of trials."""
        if self.stop and self.work:
            self.stop.check()
            self.work.check()
        if time.monotonic() - self.looked > _BETWEEN_LOOKS:
            self._look_after_ray()
        self._forget_complete()
        silent = self.watch.silent()
        for trial in trials if silent else ():
            reason, worker = silent.get(trial_id(trial)), trial.temporary_state.ray_actor
            if reason and worker and trial_id(trial) not in self.hanging:
                self.hanging[trial_id(trial)] = reason
                ray.kill(worker)

    def _look_after_ray(self) -> None:
        """Tune would wait for a node for ever."""
        self.looked = time.monotonic()
        if not any(node["Alive"] for node in ray.nodes()):  # type: ignore[no-untyped-call]
            raise EngineDied("Ray has died, none of its nodes answers")

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker has it."""
        if self.work:
            self.watch.started(trial_id(trial))
            self.work.started(trial_id(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch, the end of a trial that its worker lived to tell, or both."""
        if self.work is None:
            return
        if "epoch" in result:
            metrics = json.loads(result["metrics"])
            self.watch.epoch(trial_id(trial), metrics["epoch_seconds"])
            self.work.epoch(trial_id(trial), int(result["epoch"]), metrics)
        if "result" in result:
            self.watch.ended(trial_id(trial))
            self.work.ended(trial_id(trial), Result(**json.loads(result["result"])))
        elif result.get("done"):
            self.watch.ended(trial_id(trial))
            self.work.pruned(trial_id(trial))

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
            self._look_after_ray()
            reason = self.hanging.pop(trial_id(trial), f"the worker died: {_why(trial)}")
            self.watch.ended(trial_id(trial))
            self.work.ended(trial_id(trial), Result("failed", reason=reason[:500], again=True))


def _why(trial: Any) -> str:
    """What Ray says of a worker's death, in a line; of one that is simply gone Ray knows no more than that."""
    # not trial.get_error, which looks where nothing is copied to
    file = trial.error_file
    lines = Path(file).read_text(encoding="utf-8").strip().splitlines() if file and Path(file).exists() else []
    if not lines or _GONE in lines[-1]:
        return "killed, crashed, or ended by what it ran"
    return lines[-1].strip()


def trial_id(trial: Any) -> str:
    """Ours, of a trial of Tune's."""
    return str(json.loads(trial.config["job"])["id"])
