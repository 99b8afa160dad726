"""Preparing what a plan needs before its first trial starts: data in place and decoded, pretrained weights at hand."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from rich.console import Console
from rich.progress import Progress, TaskID

from .folders import cache_folder
from .plan import Plan, Trial


def prepare_data(plan: Plan, console: Console) -> dict[str, str]:
    """Trial id to data fingerprint, once every data set of the plan is in place and decoded.

    Raises UserError for data that are missing, malformed or hold an image that can't be read.
    """
    from trainer.data import decoded

    known: dict[str, str] = {}
    found = {}
    for trial in plan.trials:
        dataset = trial.recipe.dataset
        key = dataset.model_dump_json()
        if key not in known:
            dataset.prepare(lambda line: console.print(line, highlight=False, markup=False))
            fingerprint = dataset.fingerprint()
            assert fingerprint is not None, "prepare() leaves files"
            with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
                task = bars.add_task("decoding images", total=None)
                report = partial(_show, bars, task)
                decoded(
                    dataset.read(trial.seed),
                    dataset.stored_size or dataset.image_size,
                    cache_folder(),
                    report,
                    squash=dataset.fit == "squash",
                )
            known[key] = fingerprint
        found[trial.id] = known[key]
    return found


def prepare_weights(trials: Iterable[Trial], console: Console) -> None:
    """Put the pretrained weights of the trials' networks in place; raises UserError where they can't be had."""
    seen = set()
    for trial in trials:
        key = trial.recipe.architecture.model_dump_json()
        if key not in seen:
            seen.add(key)
            trial.recipe.architecture.prepare(lambda line: console.print(line, highlight=False, markup=False))


def _show(bars: Progress, task: TaskID, done: int, total: int) -> None:
    bars.update(task, completed=done, total=total)
