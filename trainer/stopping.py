"""Which epoch's weights count, and when training ends early: pure functions of the epochs' metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, PositiveInt

from .metrics import Watched, best, direction, plain
from .settings import Settings

History = Sequence[Mapping[str, float]]


class EarlyStopping(Settings):
    """Ends training when `metric` has not improved for `patience` epochs (Prechelt, "Early stopping", 1998)."""

    patience: PositiveInt
    """Epochs without improvement before training ends."""

    metric: Watched = "val_loss"
    """What has to improve."""

    min_delta: float = Field(default=0.0, ge=0.0)
    """An improvement by no more than this counts as none."""

    def is_due(self, history: History) -> bool:
        """Whether training ends after the epochs of `history`."""
        return stale_epochs(history, self.metric, self.min_delta) >= self.patience


def is_over(recipe: Mapping[str, Any], history: History) -> bool:
    """Whether a training by this recipe (as plain data) ends after the epochs of `history`."""
    early = recipe.get("early_stopping")
    return len(history) >= recipe["epochs"] or (early is not None and EarlyStopping(**early).is_due(history))


def stale_epochs(history: History, metric: str, min_delta: float = 0.0) -> int:
    """Epochs since `metric` last improved by more than `min_delta`; a value that is not a number improves nothing."""
    sign = 1 if direction(metric) == "max" else -1
    highest, since = -math.inf, 0
    for epoch in history:
        value = sign * epoch[metric]
        if value > highest + min_delta:
            highest, since = value, 0
        else:
            since += 1
    return since


def value_so_far(name: str, history: History, select: str) -> float:
    """What a metric of epochs (a name of `metrics.metric_names`) would be if training ended after `history`.

    NaN where the metric is missing, or never was a number.
    """
    metric = plain(name)
    if name == f"best_{metric}":
        finite = [epoch[metric] for epoch in history if math.isfinite(epoch.get(metric, math.nan))]
        return best(finite, metric) if finite else math.nan
    epoch = selected_epoch(history, select) if name == f"selected_{metric}" else len(history)
    return history[epoch - 1].get(metric, math.nan)


def selected_epoch(history: History, select: str) -> int:
    """The epoch (from 1) whose weights count: the last, or the first of the best by the metric `select`."""
    if select == "last":
        return len(history)
    # every improvement, however small, is a new best
    return max(len(history) - stale_epochs(history, select), 1)
