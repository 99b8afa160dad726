"""`ablate run`: prepare the data, find what is missing, train it, record it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.claims import claimed
from experiments.data import prepare_data, prepare_weights
from experiments.folders import trial_folder
from experiments.plan import Plan, Trial
from experiments.states import State, trial_states
from experiments.tracking import RunWriter, close_left_open, open_client
from experiments.trial import Job, Result, make_job
from experiments.weights import weights_of
from experiments.wording import count
from trainer.errors import UserError
from trainer.files import CHECKPOINT, WEIGHTS
from trainer.recorder import Epoch

from .events import Execute, Executor
from .paces import estimate_of, remember_pace
from .progress import Progress
from .resources import gpu_count


@dataclass
class Summary:
    """What one `ablate run` did."""

    done_before: int
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Trial id to the process of this folder that trains it."""

    finished: list[Trial] = field(default_factory=list)
    failed: list[tuple[Trial, Result]] = field(default_factory=list)
    interrupted: bool = False
    record_errors: list[str] = field(default_factory=list)
    training_seconds: float = 0.0
    """Sum of the finished trials' training times."""


def run_plan(
    plan: Plan,
    start: Executor,
    *,
    concurrency: int | None,
    address: str | None,
    retries: int,
    console: Console,
    command: str,
) -> Summary:
    """Train and record what the record lacks and no other process of this folder is training.

    retries: how often a trial that failed for a reason that may pass is begun again. Raises UserError before anything
    is written if the data are unfit, and if everything is being trained elsewhere.
    """
    # weights first: reading and decoding data takes minutes, and a file that is missing is soon said
    prepare_weights(_pending(plan, dict.fromkeys(trial.id for trial in plan.trials)), console)
    fingerprints = prepare_data(plan, console)
    folders = {trial.id: trial_folder(trial.id, fingerprints[trial.id]).name for trial in plan.trials}
    with claimed(folders.values()) as others:
        pending = _pending(plan, fingerprints)
        summary = Summary(done_before=len(plan.trials) - len(pending))
        summary.elsewhere = _elsewhere(plan, pending, {id: str(others[f]) for id, f in folders.items() if f in others})
        mine = [trial for trial in pending if trial.id not in summary.elsewhere]
        if pending and not mine:
            process = next(iter(summary.elsewhere.values()))
            missing = "the trial that is" if len(pending) == 1 else f"all {len(pending)} trials that are"
            raise UserError(f"{missing} missing are left to {process}; expected one `ablate run` of them at a time")
        _announce(plan, summary, concurrency, console)
        _tidy_done(plan, pending, fingerprints)
        if not mine:
            close_left_open(plan.study.title)
            return summary
        with Progress(console, plan.study.title, mine, estimate_of(plan, mine, concurrency)) as progress:
            # opening a fresh record takes as long as starting workers
            aside = ThreadPoolExecutor(1)
            try:
                opening = aside.submit(open_client)
                with start(concurrency=concurrency, address=address) as execute:
                    writer = RunWriter(plan, fingerprints, command, opening.result(), progress.record)
                    _Driver(plan, mine, fingerprints, writer, progress, summary, retries).run(execute)
            except KeyboardInterrupt:
                summary.interrupted = True
            finally:
                # a record that does not answer would be waited for
                aside.shutdown(wait=False)
    return summary


def _announce(plan: Plan, summary: Summary, concurrency: int | None, console: Console) -> None:
    at_once = f"; {concurrency} at once" if concurrency else ""
    already = f", {summary.done_before} of them done" if summary.done_before else ""
    head = f"{plan.study.title}: {count(len(plan.cells), 'cell')}, {count(len(plan.trials), 'trial')}{already}{at_once}"
    console.print(head, highlight=False, markup=False)
    for process, number in Counter(summary.elsewhere.values()).items():
        console.print(f"{count(number, 'trial')} left to {process}", highlight=False, markup=False)


def _elsewhere(plan: Plan, pending: list[Trial], taken: dict[str, str]) -> dict[str, str]:
    """The pending trials that are taken, and those that need one of them as their teacher; by id, who has them."""
    found = {trial.id: taken[trial.id] for trial in pending if trial.id in taken}
    left = [trial.id for trial in pending if trial.id not in found]
    while late := {id: found[t] for id in left for t in plan.needs.get(id, ()) if t in found}:
        found |= late
        left = [id for id in left if id not in late]
    return found


def _pending(plan: Plan, fingerprints: Mapping[str, str | None]) -> list[Trial]:
    states = trial_states(plan, fingerprints)
    return [trial for trial in plan.trials if states[trial.id].name != "done"]


class _Driver:
    """Passes what the executor tells to the record and to the display."""

    def __init__(
        self,
        plan: Plan,
        trials: list[Trial],
        fingerprints: Mapping[str, str],
        writer: RunWriter,
        progress: Progress,
        summary: Summary,
        retries: int,
    ) -> None:
        self.plan = plan
        self.trials = {trial.id: trial for trial in trials}
        self.fingerprints = fingerprints
        self.writer = writer
        self.progress = progress
        self.summary = summary
        self.running: set[str] = set()
        self.tries_left = dict.fromkeys(self.trials, retries)
        self.again: list[Trial] = []
        self.on_gpu = gpu_count() > 0

    def run(self, execute: Execute) -> None:
        """Every trial, teachers before students; whatever happens, nothing stays recorded as running."""
        interrupted = False
        try:
            for wave in waves(self.plan, list(self.trials.values())):
                while wave:
                    self.again = []
                    if jobs := self.jobs(wave):
                        execute(jobs, self)
                    wave = self.again
            self.fail_rest()
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            self.interrupt_rest()
            ended = len(self.summary.finished) == len(self.trials)
            self.writer.close("KILLED" if interrupted else "FINISHED" if ended else "FAILED")
            self.summary.record_errors = self.writer.errors

    def jobs(self, wave: list[Trial]) -> list[Job]:
        """What an executor is to do; a student whose teacher has not finished fails here."""
        if self.plan.needs:
            # teachers of the waves before must be in the record, where their weights are found
            self.writer.wait()
        plugins = self.plan.study.plugins
        states = trial_states(self.plan, self.fingerprints) if self.plan.needs else {}
        found = []
        for trial in wave:
            try:
                teachers = teachers_of(self.plan, trial, states)
            except UserError as error:
                self.ended(trial.id, Result("failed", reason=f"its teacher is missing: {error}"))
                continue
            found.append(make_job(trial, trial_folder(trial.id, self.fingerprints[trial.id]), plugins, teachers))
        return found

    def started(self, trial: str) -> None:
        self.running.add(trial)
        self.writer.start(self.trials[trial])
        self.progress.started(self.trials[trial])

    def epoch(self, trial: str, number: int, metrics: Epoch) -> None:
        self.writer.epoch(self.trials[trial], number, metrics)
        self.progress.epoch(self.trials[trial], number, metrics)

    def ended(self, trial: str, result: Result) -> None:
        self.running.discard(trial)
        of = self.trials[trial]
        if result.status == "finished":
            folder = trial_folder(trial, self.fingerprints[trial])
            self.writer.finish(of, result, then=lambda: _tidy(folder))
            self.summary.finished.append(of)
            self.summary.training_seconds += result.seconds
            remember_pace(of.recipe, result.history, self.on_gpu)
        else:
            self.writer.finish(of, result)
            if result.again and self.tries_left[trial]:
                self.tries_left[trial] -= 1
                self.again.append(of)
                self.progress.retried(of, result)
                return
            self.summary.failed.append((of, result))
        self.progress.finished(of, result)

    def fail_rest(self) -> None:
        """An executor that returns has ended every trial; one that it left out must not pass for done."""
        ended = {trial.id for trial in (*self.summary.finished, *(trial for trial, _ in self.summary.failed))}
        for trial in self.trials.keys() - ended:
            self.ended(trial, Result("failed", reason="the executor ended without finishing it"))

    def interrupt_rest(self) -> None:
        """Nothing stays recorded as running."""
        for trial in sorted(self.running):
            self.writer.finish(self.trials[trial], Result("interrupted", reason="interrupted"))
        self.running.clear()


def waves(plan: Plan, pending: list[Trial]) -> list[list[Trial]]:
    """The trials in an order in which teachers are trained before their students: each wave needs those before it."""
    missing = {trial.id for trial in pending}
    depths: dict[str, int] = {}

    def depth(trial: str) -> int:
        if trial not in depths:
            depths[trial] = max((1 + depth(t) for t in plan.needs.get(trial, ()) if t in missing), default=0)
        return depths[trial]

    found: list[list[Trial]] = [[] for _ in range(1 + max(depth(trial.id) for trial in pending))]
    for trial in pending:
        found[depth(trial.id)].append(trial)
    teachers = {teacher for needed in plan.needs.values() for teacher in needed}
    # a teacher is often the largest network: begun last, it would be waited for alone
    return [sorted(wave, key=lambda trial: trial.id not in teachers) for wave in found]


def teachers_of(plan: Plan, trial: Trial, states: Mapping[str, State]) -> dict[str, dict[str, Any]]:
    """Of each teacher of a trial its recipe and weights, as a job takes them; raises UserError where one is missing."""
    by_id = {other.id: other for other in plan.trials}
    found = {}
    for teacher in plan.needs.get(trial.id, ()):
        attempt, of = states[teacher].attempt, by_id[teacher]
        if states[teacher].name != "done" or attempt is None:
            raise UserError(f"trial {teacher} (cell {of.cell}, seed {of.seed}): {states[teacher]}")
        found[teacher] = {"recipe": of.recipe.as_data(), "weights": str(weights_of(attempt)[1])}
    return found


def _tidy_done(plan: Plan, pending: list[Trial], fingerprints: Mapping[str, str]) -> None:
    """A driver that was killed between recording a trial and tidying up has left its checkpoint."""
    missing = {trial.id for trial in pending}
    for trial in plan.trials:
        folder = trial_folder(trial.id, fingerprints[trial.id])
        if trial.id not in missing and (folder / CHECKPOINT).exists():
            _tidy(folder)


def _tidy(folder: Path) -> None:
    """What is recorded needs no checkpoint; the log and the journal stay."""
    for file in (*folder.glob("*.pt"), *folder.glob("*.part"), folder / WEIGHTS):
        file.unlink(missing_ok=True)
