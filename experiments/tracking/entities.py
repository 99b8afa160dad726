"""What MLflow is told of a trial: params, data set, metrics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from trainer.recorder import Epoch

from ..plan import Cell, Trial
from .store import Point


def params_of(trial: Trial, cell: Cell) -> dict[str, object]:
    """What a trial differs in and its whole recipe, with dotted names."""
    choice = {f"factor.{name}": option for name, option in cell.choice.items()}
    return {"cell": trial.cell, "seed": trial.seed, **choice, **_flat(trial.recipe.as_data())}


def dataset_of(trial: Trial) -> tuple[str, str]:
    """Kind and source of the data that a trial trains on."""
    return trial.recipe.as_data()["dataset"]["kind"], json.dumps(trial.recipe.dataset.identity())


def points_of(epochs: Iterable[tuple[int, Epoch]], at: int) -> list[Point]:
    """The metrics of these epochs, by number. at: milliseconds since 1970."""
    return [(name, value, at, number) for number, metrics in epochs for name, value in metrics.items()]


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted names; what is off (None, empty) is left out."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        elif value is not None:
            flat[prefix + key] = value
    return flat
