"""Preparing what a plan needs before its first trial starts: data in place and decoded, pretrained weights at hand."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trainer.errors import UserError

from ..catalog import kind_of
from ..options import Dataset
from ..plan import Plan, Trial
from .folders import cache_folder, locked
from .plugged_data import checked_source

LONG = 1.0
"""Seconds of decoding after which a line announces it, where there is no terminal for a bar."""


def prepare_data(plan: Plan, console: Console) -> dict[str, str]:
    """Trial id to data fingerprint, once every data set of the plan is in place and decoded.

    Raises UserError for data that are missing, malformed or hold an image that can't be read.
    """
    from trainer.cache import decoded

    known: dict[str, str] = {}
    found = {}
    for trial in plan.trials:
        dataset = trial.recipe.dataset
        key = dataset.model_dump_json()
        if key not in known:
            put_in_place(dataset, console.print)
            fingerprint = dataset.fingerprint()
            if fingerprint is None:
                kind, plugin = kind_of(type(dataset)), sys.modules[type(dataset).__module__].__file__
                expected = "expected files() to name some, or a fingerprint() of its own"
                raise UserError(f"{plugin}: {kind} has no files after prepare(); {expected}")
            with _display(console, kind_of(type(dataset))) as progress:
                decoded(
                    checked_source(dataset, dataset.read(dataset.split_key(trial.seed))),
                    dataset.decoded_size,
                    cache_folder(),
                    progress,
                    squash=dataset.fit == "squash",
                )
            known[key] = fingerprint
        found[trial.id] = known[key]
    return found


def put_in_place(dataset: Dataset, say: Callable[[str], None]) -> None:
    """Download or render what a data set lacks; raises UserError where it can't be had."""
    kind = kind_of(type(dataset))
    # one process at a time: torchvision's loaders download to the archive's own name
    with locked(f"data {kind}", lambda: say(f"{kind}: waiting for another process that puts it in place")):
        dataset.prepare(say)


def notes_on_data(trials: Iterable[Trial]) -> list[str]:
    """What a user should know of the data that are at hand, a sentence each."""
    datasets = {trial.recipe.dataset.model_dump_json(): trial.recipe.dataset for trial in trials}
    notes = (f"{kind_of(type(dataset))}: {note}" for dataset in datasets.values() for note in dataset.notes())
    # data sets that differ in the size of images have the same
    return list(dict.fromkeys(notes))


def prepare_weights(trials: Iterable[Trial], console: Console) -> None:
    """Put the pretrained weights of the trials' networks in place; raises UserError where they can't be had."""
    seen = set()
    for trial in trials:
        key = trial.recipe.architecture.model_dump_json()
        if key not in seen:
            seen.add(key)
            trial.recipe.architecture.prepare(console.print)


@contextmanager
def _display(console: Console, name: str) -> Iterator[Callable[[int, int], None]]:
    """Yields what shows a cache's progress: as a bar in a terminal, elsewhere as a line when it takes long."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars = Progress(*columns, console=console, transient=True, disable=not console.is_interactive)
    task = bars.add_task(name, total=None)
    begin = time.monotonic()
    said = set()

    def show(done: int, total: int) -> None:
        doing = f"{name}: decoding {total:,} images"
        if not done:
            doing = f"{name}: waiting for another process that decodes {total:,} images"
        bars.start()
        bars.update(task, description=doing, completed=done, total=total)
        if bars.disable and doing not in said and time.monotonic() - begin > LONG:
            said.add(doing)
            console.print(f"{doing} ...")

    try:
        yield show
    finally:
        bars.stop()
