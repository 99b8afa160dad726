"""`ablate run`: prepare the data, find what is missing, train it, record it."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rich.console import Console

from experiments.claims import claimed
from experiments.data import prepare_data, prepare_weights
from experiments.folders import trial_folder
from experiments.plan import Plan, Trial
from experiments.states import trial_states
from experiments.tracking import RunWriter, close_left_open, open_client
from experiments.wording import count
from trainer.errors import UserError
from trainer.files import CHECKPOINT

from .driver import Driver, Summary, in_order, tidy
from .events import Engine, Executor, Supply
from .paces import estimate_of
from .progress import Progress
from .resources import room_here
from .shares import Shares
from .signals import handled, raise_interrupt


@dataclass(frozen=True)
class Terms:
    """What the user asks of an `ablate run` besides its study."""

    at_once: int | None = None
    """Trials at once; None: as many as there is room for."""

    gpu: float | None = None
    """The share of a GPU that a trial has; None: as measured."""

    address: str | None = None
    """Of the Ray cluster to join; None: this machine."""

    retries: int = 1
    """How often a trial that failed for a reason that may pass is begun again."""


def run_plan(plan: Plan, start: Executor, terms: Terms, console: Console, command: str) -> Summary:
    """Train and record what the record lacks and no other process of this folder is training.

    Raises UserError before anything is written if the data are unfit, and if everything is being trained elsewhere.
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
        shares = Shares(room_here(), at_once=terms.at_once, gpu=terms.gpu)
        # what a cluster has is known once it is joined
        at_once = shares.capacity(mine[0]) if mine and not terms.address else terms.at_once
        _announce(plan, summary, at_once, console)
        _tidy_done(plan, pending, fingerprints)
        if not mine:
            close_left_open(plan.study.title)
            return summary
        estimate = estimate_of(plan, mine, at_once)
        mine = in_order(plan, mine, estimate.length)
        with Progress(console, plan.study.title, mine, estimate) as progress:
            cpus = cpus_for(mine, shares)
            train(Task(plan, mine, fingerprints, cpus, shares, progress, summary, command), start, terms)
    return summary


@dataclass(frozen=True)
class Task:
    """What is to be trained, with everything that hears of it."""

    plan: Plan
    trials: Sequence[Trial]
    """In the order in which they begin."""

    fingerprints: Mapping[str, str]
    cpus: int
    """Cores to share out on this machine."""

    shares: Shares
    progress: Progress
    summary: Summary
    command: str
    supply: Supply | None = None
    """Where further trials come from."""


def train(task: Task, start: Executor, terms: Terms) -> None:
    """Train and record; an interruption is noted in the summary."""
    shares = task.shares
    try:
        with handled(raise_interrupt, signal.SIGTERM), ThreadPoolExecutor(1) as aside:
            # opening a fresh record takes as long as starting workers
            opening = aside.submit(open_client)
            with start(cpus=task.cpus, address=terms.address) as engine:
                shares.room = engine.room
                writer = RunWriter(task.plan, task.fingerprints, task.command, opening.result(), task.progress.record)
                driver = Driver(
                    task.plan,
                    task.trials,
                    task.fingerprints,
                    shares,
                    writer,
                    task.progress,
                    task.summary,
                    terms.retries,
                    task.supply,
                )
                _drive(engine, driver)
    except KeyboardInterrupt:
        task.summary.interrupted = True


def _drive(engine: Engine, driver: Driver) -> None:
    interrupted = False
    try:
        engine.run(driver)
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        driver.close(interrupted)


def cpus_for(trials: Sequence[Trial], shares: Shares) -> int:
    """Cores to share out on this machine: its own, unless the user says how many trials are to have some."""
    return shares.at_once * max(shares.of(trial).cpus for trial in trials) if shares.at_once else shares.room.cpus


def _announce(plan: Plan, summary: Summary, at_once: int | None, console: Console) -> None:
    together = f"; {at_once} at once" if at_once else ""
    already = f", {summary.done_before} of them done" if summary.done_before else ""
    head = (
        f"{plan.study.title}: {count(len(plan.cells), 'cell')}, {count(len(plan.trials), 'trial')}{already}{together}"
    )
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


def _tidy_done(plan: Plan, pending: list[Trial], fingerprints: Mapping[str, str]) -> None:
    """A driver that was killed between recording a trial and tidying up has left its checkpoint."""
    missing = {trial.id for trial in pending}
    for trial in plan.trials:
        folder = trial_folder(trial.id, fingerprints[trial.id])
        if trial.id not in missing and (folder / CHECKPOINT).exists():
            tidy(folder)
