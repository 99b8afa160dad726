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
"""Of every epoch: name to the direction of better, None where there is none.

`top1`, `top5`: fraction of the validation images whose class is the first, among the first five (or all, if fewer)
logits. `val_loss`: their mean cross-entropy, without smoothing. `train_*`: the same over the epoch's training batches
as the network saw them, loss as optimized; a mixed image counts by its heaviest class. `ema_*`: validation with the
averaged weights, where they are kept. `learning_rate`: at the epoch's last step.
`epoch_seconds`: training and evaluation. `images_per_second`: training images over training time.
"""

FINAL_METRICS: dict[str, Direction] = {
    "test_top1": "max",
    "test_top5": "max",
    "test_loss": "min",
    "ema_test_top1": "max",
    "ema_test_top5": "max",
    "ema_test_loss": "min",
}
"""Of a finished training: the test split, where the data set has one, with the weights that the recipe selects."""

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
    """The metric that a name of METRIC_NAMES is a value of."""
    return name.removeprefix("best_").removeprefix("selected_")


def direction(name: str) -> Direction:
    """Which way is better for a name of METRIC_NAMES."""
    return {**METRICS, **FINAL_METRICS}[plain(name)]


def best(values: list[float], metric: str) -> float:
    """The best value of a metric that has a direction."""
    return max(values) if direction(metric) == "max" else min(values)
