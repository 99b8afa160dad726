"""`ablate search`: find good settings in the ranges of a study's search section, record them, report."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path

from rich.console import Console

from experiments.language import file_name
from experiments.search import SearchPlan, plan_search
from experiments.study import load_study
from reports.report import results_folder
from trainer.errors import UserError

from .terms import checked_terms, executor_of


def run(
    study: Path,
    profile: str | None,
    trials: int | None,
    name: str | None,
    emit: Path | None,
    concurrency: int | None,
    gpu: float | None,
    executor: str,
    address: str | None,
    retries: int,
) -> int:
    """Returns the exit code: 0 the budget is spent and reported, 1 a fresh trial failed, 130 interrupted."""
    search = load_search(study, profile, trials, name)
    threads = search.study.recipe.numerics.threads
    terms = checked_terms(results_folder(search.plan), threads, concurrency, gpu, executor, address, retries)
    # here: it imports optuna, and what is wrong with the study is said at once
    from ..searching import run_search

    console = Console(soft_wrap=True)
    command = shlex.join(["ablate", *sys.argv[1:]])
    found = run_search(search, executor_of(executor), terms, console, command, prunes=executor == "inline")
    for told in found.history:
        print(told)
    print(found.importances)
    return 0


def load_search(study: Path, profile: str | None, trials: int | None, name: str | None) -> SearchPlan:
    """The search of a study file, with another budget of configurations or another name where given."""
    loaded = load_study(study, profile)
    if name is not None:
        try:
            loaded = dataclasses.replace(loaded, name=file_name(name))
        except ValueError as error:
            raise UserError(f"--name: {error}") from None
    if trials is not None and loaded.search is not None:
        budget = loaded.search.budget.model_copy(update={"trials": trials})
        loaded = dataclasses.replace(loaded, search=loaded.search.model_copy(update={"budget": budget}))
    return plan_search(loaded)
