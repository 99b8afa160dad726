"""`ablate run`: train what is missing, record it, report."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from experiments.language.wording import count, duration
from experiments.plan import Plan
from experiments.sharing.reservations import reservations_of_others
from experiments.tracking.attempts import read_record
from experiments.tracking.states import data_fingerprints, trial_states
from experiments.training.folders import trial_of
from reports.folder import PAGE, results_folder
from reports.renewal import Renewed, namesake, renew_report
from trainer.errors import UserError

from ..output import steady_console
from ..run import run_plan
from ..signals import interruptible
from ..task import RunSummary
from ..terms import Terms
from ..writable import writing
from .comparing import show_comparisons
from .ending import interrupted, say_refused
from .loading import by_now, load_plan
from .looks import other_rule
from .starting import checked, executor_of


def run(study: Path, profile: str | None, seeds: int | None, terms: Terms) -> int:
    """Run a study; returns the exit code: 0 all finished, 1 some failed or left to others, or Ray died, 130 stopped."""
    with interruptible():
        return _run(study, profile, seeds, terms)


def _run(study: Path, profile: str | None, seeds: int | None, terms: Terms) -> int:
    begin = time.monotonic()
    plan = load_plan(study, profile, seeds)
    threads = max(cell.recipe.numerics.threads for cell in plan.cells)
    terms = checked(terms, results_folder(plan), threads)
    console = steady_console()
    command = shlex.join(["ablate", *sys.argv[1:]])
    for note in (other_rule(plan, results_folder(plan)), namesake(plan, results_folder(plan))):
        if note:
            console.print(note, style="yellow")
    summary = run_plan(plan, executor_of(terms.executor), terms, console, command, lambda: _report(by_now(plan)))
    left = _left(summary)
    if left:
        summary.elsewhere = {}
    code = _conclude(plan, summary, console, time.monotonic() - begin, goes_on=bool(left))
    if left:
        console.print(f"{count(left, 'trial')} left to a process that has ended: they are taken on")
        return max(code, _run(study, profile, seeds, terms))
    return code


def _left(summary: RunSummary) -> int:
    """How many trials were left to another process, if no process has any of them any more; else 0."""
    taken = {trial_of(folder) for folder in reservations_of_others()} if summary.elsewhere else set()
    return len(summary.elsewhere) if summary.interrupted is None and not taken & summary.elsewhere.keys() else 0


def _cost(plan: Plan) -> str:
    """Says how long the trials of a complete study took to train."""
    seconds = 0.0
    for state in trial_states(plan, data_fingerprints(plan)).values():
        # the report says of a record that it can't be read
        with suppress(UserError):
            seconds += read_record(state.attempt).seconds if state.attempt else 0.0
    return f"their training times add up to {duration(seconds)}"


def _report(plan: Plan, *, partial: bool = True) -> Renewed:
    with writing():
        return renew_report(plan, results_folder(plan), allow_partial=partial, allow_mixed=True)


def _unreadable(plan: Plan) -> str:
    """Why the report is not complete although all trials are recorded, in a line; empty if it is."""
    try:
        _report(plan, partial=False)
    except UserError as error:
        return str(error)
    return ""


def _no_report(plan: Plan) -> str:
    """Said if nothing has finished, so that an earlier report in the folder is not taken for this run's."""
    earlier = results_folder(plan) / PAGE
    return f"no report: no trial has finished{f'; {earlier} is of an earlier run' if earlier.exists() else ''}"


def _conclude(plan: Plan, summary: RunSummary, console: Console, seconds: float, *, goes_on: bool) -> int:
    _tell(plan, summary, seconds, console)
    if (code := interrupted(summary, console)) is not None:
        return code
    if plan.study.replicates is not None:
        show_comparisons(by_now(plan), console)
    left_out = bool(summary.failed or summary.record_errors or summary.elsewhere)
    if summary.report is not None:
        try:
            renewed = summary.report()
        except UserError as error:
            if not left_out:
                raise
            # it follows from the failures named above, and is not a mistake of the user's
            console.print(f"no report: {error}", style="red")
            return 1
        console.print(f"report: {renewed.path}")
        whole = left_out or goes_on or renewed.finished == renewed.planned
        if not whole and (missing := _unreadable(by_now(plan))):
            console.print(missing, style="red")
            left_out = True
    elif summary.failed:
        console.print(_no_report(plan), style="red")
    for process, number in Counter(summary.elsewhere.values()).items():
        console.print(f"{count(number, 'trial')} left to {process}; once they are done, the same command reports them")
    return 1 if left_out else 0


def _tell(plan: Plan, summary: RunSummary, seconds: float, console: Console) -> None:
    """Say what became of the trials, and which writes the record refused."""
    say_refused(summary, console)
    if summary.record_errors:
        console.print("what it lacks is kept in .ablate/ and is recorded by the same command")
    if summary.finished:
        console.print(
            f"{count(len(summary.finished), 'trial')} trained in {duration(seconds)}; their training times add up to "
            f"{duration(summary.training_seconds)}"
        )
    elif summary.done_before and not (summary.failed or summary.elsewhere or summary.interrupted):
        console.print(_cost(plan))
    if summary.finished_elsewhere:
        console.print(f"{count(len(summary.finished_elsewhere), 'trial')} trained by other machines meanwhile")
    for trial, result in summary.failed:
        console.print(
            f"failed: {trial.cell} seed {trial.seed}: {result.reason}"
            + (f" (log: {result.log})" if result.log else ""),
            style="red",
        )
    if failed := len(summary.failed):
        console.print(
            f"{count(failed, 'trial')} failed; the same command tries {'it' if failed == 1 else 'them'} again",
            style="red",
        )
