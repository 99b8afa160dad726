"""MLflow's entities of ours: parameters, metrics, the data set."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer.recorder import Epoch

from ..plan import Cell, Trial

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric, Param


def settings_of(trial: Trial, cell: Cell) -> dict[str, object]:
    """What a trial differs in and its whole recipe, with dotted names."""
    choice = {f"factor.{name}": option for name, option in cell.choice.items()}
    return {"cell": trial.cell, "seed": trial.seed, **choice, **_flat(trial.recipe.as_data())}


def dataset_of(trial: Trial, fingerprint: str) -> DatasetInput:
    """The data that a trial trains on."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    kind = trial.recipe.as_data()["dataset"]["kind"]
    dataset = Dataset(kind, fingerprint, "ablate", json.dumps(trial.recipe.dataset.identity()))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def params_of(params: Mapping[str, object]) -> list[Param]:
    """MLflow's parameters of these settings."""
    from mlflow.entities import Param

    # MLflow takes letters, digits and / _ - . : and blanks in names
    named = {re.sub(r"[^\w/.: -]", "_", key): value for key, value in params.items()}
    return [Param(key, str(value)[:6000]) for key, value in named.items()]


def metrics_of(number: int, metrics: Epoch, at: int) -> list[Metric]:
    """MLflow's metrics of an epoch. at: milliseconds since 1970."""
    from mlflow.entities import Metric

    return [Metric(name, value, at, number) for name, value in metrics.items()]


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted names; what is off (None, empty) is left out."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        elif value is not None:
            flat[prefix + key] = value
    return flat
