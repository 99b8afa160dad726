"""`ablate run`: prepare the data, find what is missing, train it, record it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console

from experiments.language.wording import count
from experiments.plan import Cell, Plan, Trial
from experiments.questions.defaults import main_metric
from experiments.questions.unreported import unreported
from experiments.sharing.leases import Lease, leased
from experiments.sharing.reservations import Held, reserved
from experiments.tracking import RunWriter, close_left_open, store_apart
from experiments.tracking.earlier import why_again
from experiments.tracking.states import State, trial_states
from experiments.tracking.uris import absent_record
from experiments.training.folders import folder_name, trial_folder
from experiments.training.preparing import notes_on_data, prepare_data, prepare_weights
from trainer.errors import UserError
from trainer.files import CHECKPOINT, drop_drafts, tidy

from .cluster.needs import Needs, needs_of
from .driver import Driver
from .estimates.paces import estimate_of, known_share
from .estimates.probing import probe_missing
from .estimates.resources import room_here
from .estimates.shares import Shares
from .events import Engine, Executor
from .order import in_order
from .progress import Progress
from .task import RunSummary, Task
from .terms import Terms

if TYPE_CHECKING:
    from reports.renewal import Renewed

    from .replicates import SeedSupply


def run_plan(
    plan: Plan, start: Executor, terms: Terms, console: Console, command: str, report: Callable[[], Renewed]
) -> RunSummary:
    """Train and record what the record lacks and no other process is training; then report.

    report: writes the report of what is recorded. Raises UserError, before anything is written, if the data can't be
    used or if everything that is missing is being trained elsewhere.
    """
    # weights before data: data take minutes to read and decode, and a missing file of weights should be said at once
    known = trial_states(plan, dict.fromkeys(trial.id for trial in plan.trials))
    prepare_weights(_pending(plan, known), console)
    plan, fingerprints = _prepared(plan, console)
    folders = {trial.id: folder_name(trial.id, fingerprints[trial.id]) for trial in plan.trials}
    with reserved(folders.values()) as held, leased(partial(console.print, style="yellow")) as lease:
        states = trial_states(plan, fingerprints)
        pending = _pending(plan, states)
        taken = {id: str(held.others[folder]) for id, folder in folders.items() if folder in held.others}
        summary = RunSummary(done_before=len(plan.trials) - len(pending), elsewhere=_elsewhere(plan, pending, taken))
        mine = _mine(pending, summary.elsewhere)
        shares = shares_here(plan, [plan.by_name[trial.cell] for trial in mine], terms, console)
        # how much room a cluster has is known once it is joined
        at_once = shares.capacity(mine[0]) if mine and not terms.address else terms.at_once
        _announce(plan, summary, states, at_once, console)
        _tidy_done(plan, pending, fingerprints, held)
        if not mine:
            close_left_open(plan.study.title)
            summary.report = report
            return summary
        estimate = estimate_of(plan, mine, at_once, shares.room)
        mine = in_order(plan, mine, estimate.lengths())
        supply = _supply(plan, fingerprints, held, summary)
        tell, metric = _to_both(held, lease), main_metric(plan.study.tables)
        with Progress(console, plan.study.title, mine, estimate, tell, metric) as progress:
            if supply is not None:
                supply.tell(progress)
            train(
                Task(plan, mine, fingerprints, shares, progress, summary, supply, lease),
                start,
                terms,
                cpus=cpus_for(mine, shares),
                needs=needs_of(plan, mine, fingerprints) if terms.address else None,
                command=command,
                get_ready=_get_ready,
                report=report,
            )
    return summary


def train(
    task: Task,
    start: Executor,
    terms: Terms,
    *,
    cpus: int,
    needs: Needs | None,
    command: str,
    get_ready: Callable[[], None],
    report: Callable[[], Renewed] | None = None,
) -> None:
    """Train, record, report; an interruption is noted in the summary.

    cpus: cores to share out on this machine. needs: what the nodes of a cluster must have. get_ready: loads what a
    report needs, once all has trained. report: writes the report. Raises UserError if the record can't be opened.
    """
    aside = ThreadPoolExecutor(1)
    try:
        with store_apart() as store:
            # to make a new record takes as long as to start workers; if it fails, the writer will notice
            aside.submit(store.open)
            with start(cpus=cpus, address=terms.address, needs=needs) as engine:
                terms.check_cluster(engine.room)
                task.shares.room = engine.room
                writer = RunWriter(task.plan, task.fingerprints, command, store, task.progress.record)
                _drive(engine, Driver(task, writer, terms.retries), lambda: aside.submit(get_ready))
                # written while the engine stops, which is mostly waiting
                known = task.summary.done_before or task.summary.finished or task.summary.finished_elsewhere
                if report and known:
                    task.summary.report = aside.submit(report).result
    except KeyboardInterrupt as stopped:
        task.summary.interrupted = stopped
    finally:
        # without waiting: whoever calls `summary.report` waits for the report
        aside.shutdown(wait=False)
        for trial in task.summary.cut_short:
            # what a worker left that was ended in the middle of writing
            drop_drafts(trial_folder(trial.id, task.fingerprints[trial.id]))


def _to_both(held: Held, lease: Lease) -> Callable[[float | None, Mapping[str, str]], None]:
    """A `tell` for Progress that informs the other processes of this machine and those of others."""

    def tell(ends: float | None, shares: Mapping[str, str]) -> None:
        held.tell(ends, shares)
        lease.tell(ends, shares)

    return tell


def _get_ready() -> None:
    from reports.report import get_ready

    get_ready()


def _drive(engine: Engine, driver: Driver, then: Callable[[], object]) -> None:
    """Have an engine carry out a driver's work. then: is called when all has trained, before the writer closes."""
    # whatever ends it early, trials that have not begun have not failed
    interrupted = True
    try:
        engine.run(driver)
        interrupted = False
        then()
    finally:
        driver.close(interrupted)


def _prepared(plan: Plan, console: Console) -> tuple[Plan, dict[str, str]]:
    """The plan with the seeds that the record asks for, and the data fingerprints of all trials that may come."""
    if plan.study.replicates is None:
        return plan, prepare_data(plan, console)
    from reports.replicates.seeds import largest, replayed

    fingerprints = prepare_data(largest(plan), console)
    return replayed(plan, fingerprints), fingerprints


def _supply(plan: Plan, fingerprints: Mapping[str, str], held: Held, summary: RunSummary) -> SeedSupply | None:
    """What adds seeds as the run goes on; None for a study that does not ask for that."""
    if plan.study.replicates is None:
        return None
    from reports.replicates.seeds import recorded_ends

    from .replicates import SeedSupply

    return SeedSupply(plan, recorded_ends(plan, fingerprints), fingerprints, held, summary)


def cpus_for(trials: Sequence[Trial], shares: Shares) -> int:
    """Cores to share out on this machine: all, or what as many trials at once need as the user asks for."""
    return shares.at_once * max(shares.of(trial).cpus for trial in trials) if shares.at_once else shares.room.cpus


def _announce(
    plan: Plan, summary: RunSummary, states: Mapping[str, State], at_once: int | None, console: Console
) -> None:
    together = f"; {at_once} at once" if at_once else ""
    already = f", {summary.done_before} of them done" if summary.done_before else ""
    trials = count(len(plan.trials), "trial")
    if plan.study.replicates is not None:
        from reports.replicates.text import extent

        trials = f"{extent(plan)}; {trials} so far"
    head = f"{plan.study.title}: {count(len(plan.cells), 'cell')}, {trials}{already}{together}"
    console.print(head)
    for note in (*absent_record(plan.study.source.file), *unreported(plan), *notes_on_data(plan.trials)):
        console.print(f"note: {note}", style="yellow")
    for process, number in Counter(summary.elsewhere.values()).items():
        console.print(f"{count(number, 'trial')} left to {process}")
    for line in why_again(plan, states):
        console.print(line, style="yellow")


def _elsewhere(plan: Plan, pending: list[Trial], taken: dict[str, str]) -> dict[str, str]:
    """Trial id to the process that has it, for pending trials that are taken, and for those with such a teacher."""
    found = {trial.id: taken[trial.id] for trial in pending if trial.id in taken}
    left = [trial.id for trial in pending if trial.id not in found]
    while late := {id: found[t] for id in left for t in plan.needs.get(id, ()) if t in found}:
        found |= late
        left = [id for id in left if id not in late]
    return found


def _mine(pending: list[Trial], elsewhere: Mapping[str, str]) -> list[Trial]:
    """The trials that this process is to train; raises UserError if trials are missing and others have all of them."""
    mine = [trial for trial in pending if trial.id not in elsewhere]
    if pending and not mine:
        process = next(iter(elsewhere.values()))
        missing = "the trial that is" if len(pending) == 1 else f"all {len(pending)} trials that are"
        raise UserError(f"{missing} missing are left to {process}; expected one `ablate run` of them at a time")
    return mine


def shares_here(plan: Plan, cells: Sequence[Cell], terms: Terms, console: Console) -> Shares:
    """What each trial is to have of this machine. Shares of GPUs are measured for `cells`, unless the user sets any."""
    room = room_here()
    if terms.at_once and terms.at_once > 1 and not terms.address:
        # cores that are not there are shared out as well: the user wants so many at once, on however few
        threads = max(cell.recipe.numerics.threads for cell in plan.cells)
        room = replace(room, cpus=max(room.cpus, terms.at_once * threads))
    if room.gpus and terms.has_no_share():
        probe_missing(plan, cells, room, console)
    return Shares(room, at_once=terms.at_once, gpu=terms.gpu, measured=partial(known_share, room=room))


def _pending(plan: Plan, states: Mapping[str, State]) -> list[Trial]:
    return [trial for trial in plan.trials if states[trial.id].name != "done"]


def _tidy_done(plan: Plan, pending: list[Trial], fingerprints: Mapping[str, str], held: Held) -> None:
    """Delete checkpoints of done trials, which a driver leaves that is killed between recording and tidying up."""
    missing = {trial.id for trial in pending}
    for trial in plan.trials:
        folder = trial_folder(trial.id, fingerprints[trial.id])
        # another process may train it again: a teacher whose weights are gone
        if trial.id not in missing and folder.name not in held.others and (folder / CHECKPOINT).exists():
            tidy(folder)
