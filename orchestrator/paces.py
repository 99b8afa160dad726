"""How long an epoch takes on this machine: remembered from trainings, for what a plan will cost."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from experiments.folders import cache_folder
from experiments.options import digest
from experiments.plan import Plan, Trial
from experiments.recipe import Recipe
from trainer.recorder import Epoch

from .eta import Estimate
from .resources import gpu_count


def remember_pace(recipe: Recipe, history: Iterable[Epoch], on_gpu: bool) -> None:
    """Keep the median epoch of a finished training, without the first, which holds what comes before it.

    A cache that can't be written is passed over.
    """
    seconds = [epoch["epoch_seconds"] for epoch in history]
    file = _file(recipe, on_gpu)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({"seconds": statistics.median(seconds[1:] or seconds)}))
        draft.replace(file)


def known_paces(plan: Plan, on_gpu: bool) -> dict[str, float]:
    """Cell to the seconds of its epoch, training and evaluation, of those that have been measured on this machine."""
    found = {cell.name: _known(_file(cell.recipe, on_gpu)) for cell in plan.cells}
    return {cell: seconds for cell, seconds in found.items() if seconds is not None}


def estimate_of(plan: Plan, trials: Sequence[Trial], at_once: int | None) -> Estimate:
    """An estimate of what these trials take, `at_once` at a time, that knows what this machine remembers."""
    work = {cell.name: cell.known_macs for cell in plan.cells}
    return Estimate(trials, at_once, work, known_paces(plan, gpu_count() > 0))


def _known(file: Path) -> float | None:
    try:
        seconds = float(json.loads(file.read_text())["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _file(recipe: Recipe, on_gpu: bool) -> Path:
    return cache_folder() / "paces" / f"{digest(_key(recipe, on_gpu), 24)}.json"


def _key(recipe: Recipe, on_gpu: bool) -> list[Any]:
    """What decides how long an epoch takes: kinds count, rates and strengths don't."""
    return [
        recipe.dataset.identity(),
        recipe.architecture.untrained().identity(),
        recipe.optimizer.identity()["kind"],
        recipe.loss.identity()["kind"],
        sorted(recipe.refinements),
        [sorted(phase.refinements) for phase in recipe.phases],
        recipe.batch_size,
        recipe.numerics.model_dump(mode="json"),
        "gpu" if on_gpu else "cpu",
    ]
