"""`ablate search`: find good settings in the ranges of a study's search section, record them, report."""

from __future__ import annotations

import dataclasses
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from experiments.language.names import file_name
from experiments.language.wording import count, duration
from experiments.search.emitted import check_emitted
from experiments.search.emitted import emit as emit_study
from experiments.search.plan import SearchPlan, plan_search
from reports.folder import results_folder
from reports.search.best_text import best_lines
from reports.search.report import make_search_report, write_search_report
from reports.search.told import fresh_plan
from trainer.errors import UserError

from ..output import steady_console
from ..signals import interruptible
from ..terms import Terms
from .ending import interrupted, say_refused
from .loading import read_study
from .starting import checked, executor_of

if TYPE_CHECKING:
    from ..search.run import SearchResult


def run(study: Path, profile: str | None, trials: int | None, name: str | None, emit: Path | None, terms: Terms) -> int:
    """Run a search; returns the exit code: 0 done, 1 a trial under fresh seeds failed, or all did, 130 interrupted."""
    with interruptible():
        begin = time.monotonic()
        search = load_search(study, profile, trials, name)
        if emit is not None:
            check_emitted(search, emit)
        terms = checked(terms, results_folder(search.plan), search.study.recipe.numerics.threads)
        # imported here: it loads optuna, and mistakes in the study should be reported at once
        from ..search.run import run_search

        console = steady_console()
        command = shlex.join(["ablate", *sys.argv[1:]])
        prunes = terms.executor == "inline"
        found = run_search(search, executor_of(terms.executor), terms, console, command, prunes=prunes)
        return _conclude(search, found, emit, console, time.monotonic() - begin)


def _conclude(search: SearchPlan, found: SearchResult, emitted: Path | None, console: Console, seconds: float) -> int:
    summary = found.summary
    say_refused(summary, console)
    if (code := interrupted(summary, console)) is not None:
        return code
    fresh = {trial.id: trial for trial in fresh_plan(search, found.history).trials}
    failed = [(trial, result) for trial, result in summary.failed if trial.id in fresh]
    for trial, result in failed:
        console.print(f"failed: {trial.cell} seed {trial.seed}: {result.reason}", style="red")
    numbers = {"trained": len(summary.finished), "ended early": len(summary.pruned), "failed": len(summary.failed)}
    if said := ", ".join(f"{count(number, 'trial')} {word}" for word, number in numbers.items() if number):
        console.print(f"{said} in {duration(seconds)}")
    report = make_search_report(search, found.history, found.importances)
    for line in best_lines(report):
        console.print(line)
    console.print(f"report: {write_search_report(report, results_folder(search.plan))}")
    if emitted is not None and report.winner is not None:
        emit_study(search, report.winner.point, emitted, better=report.is_better)
        console.print(f"study of #{report.winner.number}: {emitted}")
    elif emitted is not None:
        why = "no configuration is better than the recipe" if report.best else "no configuration was trained to its end"
        # a file of that name would be from an earlier search
        emitted.unlink(missing_ok=True)
        console.print(f"{why}, so there is no {emitted}", style="yellow")
    return 1 if failed or summary.record_errors or report.best is None else 0


def load_search(study: Path, profile: str | None, trials: int | None, name: str | None) -> SearchPlan:
    """The search of a study file; if given, with `trials` as its budget of configurations, and with another name."""
    loaded = read_study(study, profile)
    if name is not None:
        try:
            loaded = dataclasses.replace(loaded, name=file_name(name))
        except ValueError as error:
            raise UserError(f"--name: {error}") from None
    if trials is not None and loaded.search is not None:
        budget = loaded.search.budget.model_copy(update={"trials": trials})
        loaded = dataclasses.replace(loaded, search=loaded.search.model_copy(update={"budget": budget}))
    return plan_search(loaded)
