"""The driver of one `ablate run`: hands out jobs as there is room, and tells record and display how they go."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from experiments.job import Job, Result, make_job
from experiments.plan import Plan, Trial
from experiments.tracking import RunWriter
from experiments.training.folders import trial_folder
from trainer.errors import UserError
from trainer.files import JOURNAL, LOG, drop_drafts, tidy
from trainer.recorder import Epoch, Journal
from trainer.stopping import is_over

from .elsewhere import Elsewhere
from .estimates.paces import remember_pace, remember_start
from .estimates.shares import Share
from .events import PruningRule
from .order import teachers_of
from .task import Task


def working_folder() -> str:
    """Where this process works, by the folder's present name; empty where it was deleted."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


class Driver:
    """The work (see events.Work) that a task makes: its trials in their order, teachers before their students."""

    def __init__(self, task: Task, writer: RunWriter, retries: int) -> None:
        self.plan = task.plan
        self.trials = {trial.id: trial for trial in task.trials}
        self.fingerprints = task.fingerprints
        self.shares = task.shares
        self.progress = task.progress
        self.summary = task.summary
        self.supply = task.supply
        self.elsewhere = Elsewhere(task.lease, task.progress.say)
        self.writer = writer
        self.retries = retries
        self.tries_left = dict.fromkeys(self.trials, retries)
        self.waiting = list(task.trials)
        self.handed: dict[str, Share] = {}
        self.running: set[str] = set()
        self.over: set[str] = set()
        self.recorded: set[str] = set()
        self.begun_in = working_folder()
        self.courses: dict[str, list[Epoch]] = {}
        """Epochs of each running trial, kept only for a supply."""

    @property
    def rule(self) -> PruningRule | None:
        """See events.Work."""
        return self.supply.rule if self.supply else None

    def add(self, plan: Plan, trials: Sequence[Trial]) -> None:
        """Take on further trials, behind those that wait. plan: the larger one that contains them."""
        self.plan = self.writer.plan = plan
        self.trials |= {trial.id: trial for trial in trials}
        self.tries_left |= dict.fromkeys((trial.id for trial in trials), self.retries)
        # a trial that was ended early may be asked for again, to its end
        self.over -= {trial.id for trial in trials}
        self.waiting += trials
        self.progress.add(trials)

    def close(self, interrupted: bool) -> None:
        """Record what has not ended: as interrupted what was running and, unless `interrupted`, as failed the rest."""
        for trial in sorted(self.running):
            self.summary.cut_short.append(self.trials[trial])
            self.writer.finish(self.trials[trial], Result("interrupted", reason="interrupted"))
        # trials that it would add could not begin any more
        self.supply = None
        if not interrupted:
            for trial in self.trials.keys() - self.over:
                self.ended(trial, Result("failed", reason="the executor ended without finishing it"))
        self.running.clear()
        complete = not self.summary.failed
        self.writer.close("KILLED" if interrupted else "FINISHED" if complete else "FAILED")
        self.summary.record_errors = self.writer.errors

    def check(self, *, wait: bool = False) -> None:
        """See events.Work."""
        self.writer.check(wait=wait)
        if (here := working_folder()) != self.begun_in:
            # the record is found from where the folder is now, files of trials from where it was
            now = f"is now {here}; the same command there goes on" if here else "was deleted"
            raise UserError(f"the working folder {self.begun_in} {now}")

    def is_over(self) -> bool:
        """See events.Work. Not while a trial runs, as it may have to be tried again."""
        mine = self.waiting or self.handed
        return not mine and not self.elsewhere.left and (self.supply is None or self.supply.is_over())

    def next_job(self) -> tuple[Job, Share] | None:
        """See events.Work. Hands out one job more than there is room for, so that no free worker has to wait."""
        ahead = 0 if self.shares.at_once else self.supply.ahead if self.supply else 1
        # first in line: most have ended elsewhere, and once that is known the estimate leaves them out
        self.waiting[:0] = self.elsewhere.come_back(idle=not self.waiting and not self.handed)
        if self.supply and not self.waiting and self._has_room():
            self.supply.refill(self)
        for trial in list(self.waiting):
            if len(self.handed) >= self.shares.capacity(trial) + ahead:
                return None
            if not self._is_ready(trial):
                continue
            self.waiting.remove(trial)
            if not self._may_begin(trial):
                continue
            try:
                job = self._job(trial)
            except UserError as error:
                self.ended(trial.id, Result("failed", reason=f"what it needs is missing: {error}"))
                continue
            more = self.supply is not None and not self.supply.is_over()
            left = self.shares.capacity(trial) if more else 1 + len(self.waiting)
            self.handed[trial.id] = self.shares.spread(trial, self.handed.values(), left)
            return job, self.handed[trial.id]
        return None

    def _may_begin(self, trial: Trial) -> bool:
        """Whether this process should train it: another one may train it, or have done so since this one began."""
        found = self.elsewhere.begin(trial, self.fingerprints[trial.id])
        if isinstance(found, bool):
            return found
        self.recorded.add(trial.id)
        if found.status == "finished":
            self.summary.finished_elsewhere.append(trial)
        else:
            self.summary.failed.append((trial, found))
        self._conclude(trial, found, elsewhere=True)
        return False

    def _has_room(self) -> bool:
        """Whether there is room to train one more trial like those that run."""
        running = [self.trials[id] for id in self.handed]
        return all(len(running) < self.shares.capacity(trial) for trial in running)

    def started(self, trial: str) -> None:
        """See events.Work."""
        self.running.add(trial)
        self.writer.start(self.trials[trial])
        self.progress.started(self.trials[trial], str(self.handed[trial]))

    def epoch(self, trial: str, number: int, metrics: Epoch) -> None:
        """See events.Work."""
        if not self.progress.epochs_done:
            remember_start(time.monotonic() - self.progress.begin - metrics["epoch_seconds"], self.shares.room)
        if number < self.trials[trial].recipe.epochs:
            # the last epoch is recorded with the result, which follows at once
            self.writer.epoch(self.trials[trial], number, metrics)
        self.progress.epoch(self.trials[trial], number, metrics)
        if self.supply:
            course = self.courses.setdefault(trial, [])
            if len(course) < number - 1:
                # a resumed training: earlier epochs come from its journal
                course[:] = Journal(self._folder(trial) / JOURNAL).read()[: number - 1]
            course[number - 1 :] = [metrics]
            self.supply.epoch(trial, course)

    def is_hopeless(self, trial: str) -> bool:
        """See events.Work."""
        # a training that has reached its own end gets a result and is not pruned
        over = is_over(self.trials[trial].recipe.as_data(), self.courses.get(trial, ()))
        return self.supply is not None and not over and self.supply.is_hopeless(trial)

    def pruned(self, trial: str) -> None:
        """See events.Work."""
        course = self.courses[trial]
        seconds = sum(epoch["epoch_seconds"] for epoch in course)
        reason = f"pruned after epoch {len(course)}"
        log = str(self._folder(trial).resolve() / LOG)
        self.ended(trial, Result("pruned", list(course), seconds, reason=reason, log=log))

    def ended(self, trial: str, result: Result) -> None:
        """See events.Work."""
        self.running.discard(trial)
        self.courses.pop(trial, None)
        had, of = self.handed.pop(trial, None), self.trials[trial]
        result = self._completed(trial, had, result)
        if had is not None and self.elsewhere.is_lost(of, self.fingerprints[trial]):
            self.writer.finish(of, Result("interrupted", reason="another process took it over"))
            here = f" (here: {result.reason})" if result.reason else ""
            self.progress.retried(of, f"left to the process that took it over{here}")
            return
        again = self._another_try(of, had, result) if had is not None else ""
        self.writer.finish(of, result, then=lambda: None if again else self._is_recorded(of, result))
        if again:
            # first in line: its checkpoint is at hand, and students may wait for it
            self.waiting.insert(0, of)
            self.progress.retried(of, f"failed and {again}: {result.reason}")
            return
        self._count(of, result)
        self._conclude(of, result)

    def _completed(self, trial: str, had: Share | None, result: Result) -> Result:
        """The result with what only the driver knows: the trial's share and, of a worker that died, its log."""
        if had is not None:
            result = replace(result, cores=had.cpus, gpus=had.gpus)
        if not result.log and (log := self._folder(trial).resolve() / LOG).exists():
            result = replace(result, log=str(log))
        return result

    def _count(self, trial: Trial, result: Result) -> None:
        """Enter a result in the summary; of a finished one, remember how long its epochs take here."""
        if result.status == "finished":
            self.summary.finished.append(trial)
            self.summary.training_seconds += result.seconds
            remember_pace(trial.recipe, result.history, self.shares.room)
        elif result.status == "pruned":
            self.summary.pruned.append(trial)
        else:
            self.summary.failed.append((trial, result))

    def _conclude(self, trial: Trial, result: Result, *, elsewhere: bool = False) -> None:
        """Take note that there will be no further attempt at a trial."""
        self.over.add(trial.id)
        self.progress.finished(trial, result, elsewhere=elsewhere)
        for note in result.notes:
            self.progress.say_once(f"note: {note}")
        if self.supply:
            self.supply.ended(self, trial, result)

    def _another_try(self, trial: Trial, had: Share, result: Result) -> str:
        """Arrange another attempt at a failed trial; returns how it is tried again, in words, or "" if it is not."""
        if result.short_of_memory and self.shares.raise_for(trial, had, result.needed):
            return f"goes on with {self.shares.of(trial)} instead of {had}"
        if result.again and self.tries_left[trial.id]:
            self.tries_left[trial.id] -= 1
            return "will be tried again"
        return ""

    def _is_ready(self, trial: Trial) -> bool:
        """Whether every teacher that is trained here has ended and is in the record, which has its weights."""
        teachers = {teacher for teacher in self.plan.needs.get(trial.id, ()) if teacher in self.trials}
        # if nothing is being written, a teacher that is not recorded has failed or was refused: the job will say so
        return teachers <= self.over and (teachers <= self.recorded or self.writer.is_idle())

    def _job(self, trial: Trial) -> Job:
        teachers = teachers_of(self.plan, trial, self.fingerprints)
        watched = self.supply.watched(trial.id) if self.supply else None
        found = self.fingerprints[trial.id]
        return make_job(trial, self._folder(trial.id), self.plan.study.plugins, teachers, watched, found)

    def _folder(self, trial: str) -> Path:
        return trial_folder(trial, self.fingerprints[trial])

    def _is_recorded(self, trial: Trial, result: Result) -> None:
        """The record holds the last attempt at a trial; called by the record's writer."""
        finished = result.status == "finished"
        if finished:
            tidy(self._folder(trial.id))
            self.recorded.add(trial.id)
        else:
            drop_drafts(self._folder(trial.id))
        self.elsewhere.recorded(trial, self.fingerprints[trial.id], finished=finished)
