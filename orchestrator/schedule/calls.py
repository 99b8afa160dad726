"""The objects that Tune calls: for the next trial, and to report what becomes of trials."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune

from experiments.job import Result
from trainer.errors import harmless

from ..events import EngineDied, Work
from ..signals import Stop
from ..watch import Watch

_GONE = "connection error code 2. End of file"
"""Part of what Ray says about a process that has disappeared."""

_BETWEEN_LOOKS = 5.0
"""Seconds between two checks whether Ray lives, each of which takes a millisecond."""


class JobSource(tune.search.Searcher):
    """Where Tune gets its next trial: a job of the work. Tune pickles it, without the work, which can't be pickled."""

    def __init__(self, work: Work, stop: Stop) -> None:
        super().__init__()
        self.work: Work | None = work
        self.stop: Stop | None = stop

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.work = self.stop = None

    def suggest(self, trial_id: str) -> Any:
        """The next job as Tune's configuration; None while none is ready."""
        assert self.work is not None, "only a copy lacks it"
        assert self.stop is not None, "only a copy lacks it"
        self.stop.check()
        found = self.work.next_job()
        if found is None:
            return tune.search.Searcher.FINISHED if self.work.is_over() else None
        job, share = found
        return {"job": json.dumps(job.as_data()), "cpus": share.cpus, "gpus": share.gpus}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to do: `Forward` tells the work."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "") -> None:
        """Nothing to do: an interrupted study goes on from the record."""


class Forward(tune.Callback):
    """Tells the work what happens. Tune pickles it, without what it holds, which can't be pickled."""

    def __init__(self, work: Work, stop: Stop) -> None:
        self.work: Work | None = work
        self.stop: Stop | None = stop
        self.watch = Watch()
        self.hanging: dict[str, str] = {}
        self.looked = time.monotonic()
        self.complete: list[Any] = []
        self.told: set[str] = set()
        """Tune's ids of trials whose end the work knows, although Tune has yet to end them."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.work = self.stop = None

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Look for requests to stop, Ray's death and hanging workers; several times a second, between events."""
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
        """Raise EngineDied if no node of Ray's lives: Tune would wait for one for ever."""
        self.looked = time.monotonic()
        if not any(node["Alive"] for node in ray.nodes()):  # type: ignore[no-untyped-call]
            raise EngineDied("Ray has died, none of its nodes answers")

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker has taken up a trial."""
        if self.work:
            self.watch.started(trial_id(trial))
            self.work.started(trial_id(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A worker has reported an epoch, the end of its trial, or both; or Tune has ended the trial early."""
        if self.work is None:
            return
        if "epoch" in result:
            metrics = json.loads(result["metrics"])
            self.watch.epoch(trial_id(trial), metrics["epoch_seconds"])
            self.work.epoch(trial_id(trial), int(result["epoch"]), metrics)
        if "result" in result or result.get("done"):
            self.told.add(trial.trial_id)
        if "result" in result:
            self.watch.ended(trial_id(trial))
            self.work.ended(trial_id(trial), Result(**json.loads(result["result"])))
        elif result.get("done"):
            self.watch.ended(trial_id(trial))
            self.work.pruned(trial_id(trial))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Have the trial's statistics deleted soon: Tune keeps every trial to the end, and nothing here reads them."""
        self.told.discard(trial.trial_id)
        self.complete.append(trial)

    def _forget_complete(self) -> None:
        # not in `on_trial_complete`: Tune's own callbacks, which come later, complain if the last result is gone
        while self.complete:
            counted = self.complete.pop().run_metadata
            for kept in ("metric_analysis", "metric_n_steps", "last_result"):
                getattr(counted, kept, {}).clear()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The worker has died, or could not run its trial at all."""
        if self.work:
            self._look_after_ray()
            if trial.trial_id in self.told:
                # the worker died after its trial's end
                return
            reason = self.hanging.pop(trial_id(trial), f"the worker died: {_why(trial)}")
            self.watch.ended(trial_id(trial))
            self.work.ended(trial_id(trial), Result("failed", reason=reason[:500], again=True))


def _why(trial: Any) -> str:
    """What Ray says about a worker's death, in a line, or our own words where Ray only knows that it is gone."""
    # not trial.get_error, which looks in the storage folder, to which nothing is copied
    file = trial.error_file
    lines = Path(file).read_text(encoding="utf-8").strip().splitlines() if file and Path(file).exists() else []
    if not lines or _GONE in lines[-1]:
        return "killed, crashed, or ended by what it ran"
    return harmless(lines[-1].strip())


def trial_id(trial: Any) -> str:
    """Our id of a trial of Tune's."""
    return str(json.loads(trial.config["job"])["id"])
