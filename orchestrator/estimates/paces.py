"""What a training costs on this machine: remembered from trainings, and from probes of a few steps."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from experiments.language.references import referred
from experiments.plan import Cell, Plan, Trial
from experiments.recipe import Recipe
from experiments.training.measuring import Measured
from experiments.training.remembered import recall, remember
from trainer.recorder import Epoch
from trainer.settings import digest

from .eta import Estimate
from .resources import gpu_kinds
from .shares import Room


def remember_pace(recipe: Recipe, history: Iterable[Epoch], room: Room) -> None:
    """Keep the median epoch of a finished training, without the first, which holds what comes before it."""
    seconds = [epoch["epoch_seconds"] for epoch in history]
    remember("paces", _pace_key(recipe, room), {"seconds": statistics.median(seconds[1:] or seconds)})


def remember_start(seconds: float, room: Room) -> None:
    """Keep how long it took until the first trial trained."""
    remember("starts", _device(room), {"seconds": seconds})


def remember_engine(seconds: float, room: Room) -> None:
    """Keep how long Ray alone took to start, before a run has shown how long all of it takes."""
    remember("engines", _device(room), {"seconds": seconds})


def is_start_known(room: Room) -> bool:
    """Whether a run, or Ray started for a trial, has told how long it takes until something trains."""
    return any(_positive(recall(what, _device(room))) for what in ("starts", "engines"))


def remember_probe(recipe: Recipe, room: Room, share: float, measured: Measured) -> None:
    """Keep what a few steps have told. share: of a GPU, or of the machine where there is none, that a trial takes."""
    remember("probes", _probe_key(recipe, room), {"share": share, **asdict(measured)})


def known_probe(recipe: Recipe, room: Room) -> tuple[float, Measured] | None:
    """What was remembered of this kind of training; nothing if the data have come to hand since then."""
    found = recall("probes", _probe_key(recipe, room)) or {}
    try:
        share, measured = float(found.pop("share")), Measured(**found)
    except (KeyError, TypeError, ValueError):
        return None
    return None if measured.train is None and recipe.dataset.files() else (share, measured)


def kind_of_probe(recipe: Recipe, room: Room) -> str:
    """Names the kind of training, of which one probe is enough."""
    return digest(_probe_key(recipe, room))


def known_share(trial: Trial, room: Room) -> float | None:
    """The share that such a trial takes, where its steps have been measured here."""
    probe = known_probe(trial.recipe, room)
    return probe[0] if probe is not None else None


def known_paces(plan: Plan, room: Room) -> dict[str, float]:
    """Cell to the seconds of its epoch, training and evaluation, of those that have been measured on this machine."""
    found = [(cells, _known(cells[0].recipe, room)) for cells in _alike(plan, room)]
    return {cell.name: seconds for cells, seconds in found if seconds is not None for cell in cells}


def estimate_of(plan: Plan, trials: Sequence[Trial], at_once: int | None, room: Room) -> Estimate:
    """An estimate of what these trials take, `at_once` at a time, that knows what this machine remembers."""
    work = {cell.name: cell.known_macs for cell in plan.cells}
    before = _positive(recall("starts", _device(room))) or _start(plan, room)
    return Estimate(trials, at_once, work, known_paces(plan, room), before)


def _start(plan: Plan, room: Room) -> float:
    """Seconds until the first trial trains: Ray's start and then a worker's, each as measured before, else 0."""
    engine = _positive(recall("engines", _device(room))) or 0.0
    probes = [known_probe(cells[0].recipe, room) for cells in _alike(plan, room)]
    return engine + max((probe[1].loading or 0.0 for probe in probes if probe is not None), default=0.0)


def _alike(plan: Plan, room: Room) -> list[list[Cell]]:
    """The cells in groups whose trainings take equally long: what is remembered is read once for each."""
    groups: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        key = json.dumps([_pace_key(cell.recipe, room), sorted(referred(cell.recipe))])
        groups.setdefault(key, []).append(cell)
    return list(groups.values())


def _known(recipe: Recipe, room: Room) -> float | None:
    """Seconds of an epoch, as whole trainings have told, else a few steps."""
    seconds = _positive(recall("paces", _pace_key(recipe, room)))
    if seconds is None and (probe := known_probe(recipe, room)) is not None:
        seconds = _positive({"seconds": probe[1].epoch_seconds(recipe.batch_size)})
    return seconds


def _positive(found: Mapping[str, Any] | None) -> float | None:
    """The seconds that were remembered; None where the file holds no positive number."""
    seconds = (found or {}).get("seconds")
    return seconds if isinstance(seconds, float) and math.isfinite(seconds) and seconds > 0 else None


def _device(room: Room) -> str:
    """What trains: another GPU has another memory and another pace, under the same cache."""
    return f"gpu {gpu_kinds()}" if room.gpus else "cpu"


def _pace_key(recipe: Recipe, room: Room) -> list[Any]:
    """What decides how long an epoch takes: which refinements and criterion there are, not their settings."""
    phases = [sorted(phase.refinements) for phase in recipe.phases]
    return _key(recipe, room, recipe.loss.identity()["kind"], sorted(recipe.refinements), phases)


def _probe_key(recipe: Recipe, room: Room) -> list[Any]:
    """What decides what a few steps cost: the criterion is always cross-entropy there, and the phase the first one."""
    return _key(recipe, room, sorted(recipe.refinements), sorted(referred(recipe)))


def _key(recipe: Recipe, room: Room, *others: Any) -> list[Any]:
    """What decides what any part of a training costs, and between its parts `others`; learning rates don't matter."""
    return [
        recipe.dataset.identity(),
        recipe.architecture.untrained().identity(),
        recipe.optimizer.identity()["kind"],
        *others,
        recipe.batch_size,
        # so that what is known without it stays known
        *([recipe.micro_batches] if recipe.micro_batches > 1 else []),
        recipe.numerics.model_dump(mode="json"),
        _device(room),
    ]
