"""The numbers that a training reports, and which way is better."""

from __future__ import annotations

from typing import Literal

Direction = Literal["max", "min"] | None

METRICS: dict[str, Direction] = {
    "top1": "max",
    "top5": "max",
    "val_loss": "min",
    "train_top1": "max",
    "train_top5": "max",
    "train_loss": "min",
    "ema_top1": "max",
    "ema_top5": "max",
    "ema_val_loss": "min",
    "learning_rate": None,
    "epoch_seconds": None,
    "images_per_second": None,
}
"""Metrics of every epoch: name to whether larger or smaller is better, None where neither is.

`top1`, `top5`: fraction of the validation images whose class has the largest logit, or one of the five largest (of all,
if there are fewer). `val_loss`: their mean cross-entropy, without smoothing. `train_*`: the same over the epoch's
training batches as the network saw them, loss as optimized; a mixed image counts by its heaviest class. `ema_*`:
validation with the averaged weights, where there are such. `learning_rate`: at the epoch's last step. `epoch_seconds`:
training and evaluation. `images_per_second`: training images over training time.
"""

FINAL_METRICS: dict[str, Direction] = {
    "test_top1": "max",
    "test_top5": "max",
    "test_loss": "min",
    "ema_test_top1": "max",
    "ema_test_top5": "max",
    "ema_test_loss": "min",
}
"""Metrics of a finished training: of the test split, if there is one, with the weights that the recipe selects."""

METRIC_NAMES = (
    *METRICS,
    *FINAL_METRICS,
    *(f"best_{name}" for name, direction in METRICS.items() if direction),
    *(f"selected_{name}" for name, direction in METRICS.items() if direction),
)
"""Every name under which a trial's number may be asked for.

A plain name is the value at the last epoch, `best_<name>` the best over all epochs, `selected_<name>` that at the epoch
whose weights the recipe selects.
"""


def plain(name: str) -> str:
    """The metric that a name of METRIC_NAMES is about: the name without `best_` or `selected_`."""
    return name.removeprefix("best_").removeprefix("selected_")


def direction(name: str) -> Direction:
    """Which way is better for a name of METRIC_NAMES."""
    return {**METRICS, **FINAL_METRICS}[plain(name)]


def best(values: list[float], metric: str) -> float:
    """The best value of a metric that has a direction."""
    return max(values) if direction(metric) == "max" else min(values)
