"""How long an epoch takes on this machine: remembered from trainings, for what a plan will cost."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from experiments.costs import recall, remember
from experiments.plan import Plan, Trial
from experiments.recipe import Recipe
from trainer.recorder import Epoch

from .eta import Estimate
from .resources import gpu_count


def remember_pace(recipe: Recipe, history: Iterable[Epoch], on_gpu: bool) -> None:
    """Keep the median epoch of a finished training, without the first, which holds what comes before it."""
    seconds = [epoch["epoch_seconds"] for epoch in history]
    remember("paces", _key(recipe, on_gpu), {"seconds": statistics.median(seconds[1:] or seconds)})


def known_paces(plan: Plan, on_gpu: bool) -> dict[str, float]:
    """Cell to the seconds of its epoch, training and evaluation, of those that have been measured on this machine."""
    found = {cell.name: _known(cell.recipe, on_gpu) for cell in plan.cells}
    return {cell: seconds for cell, seconds in found.items() if seconds is not None}


def estimate_of(plan: Plan, trials: Sequence[Trial], at_once: int | None) -> Estimate:
    """An estimate of what these trials take, `at_once` at a time, that knows what this machine remembers."""
    work = {cell.name: cell.known_macs for cell in plan.cells}
    return Estimate(trials, at_once, work, known_paces(plan, gpu_count() > 0))


def _known(recipe: Recipe, on_gpu: bool) -> float | None:
    seconds = (recall("paces", _key(recipe, on_gpu)) or {}).get("seconds")
    return seconds if isinstance(seconds, float) and math.isfinite(seconds) and seconds > 0 else None


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
