"""The numbers that every epoch reports, and which way is better."""

from __future__ import annotations

from typing import Literal

METRICS: dict[str, Literal["max", "min"] | None] = {
    "top1": "max",
    "top5": "max",
    "val_loss": "min",
    "train_top1": "max",
    "train_top5": "max",
    "train_loss": "min",
    "learning_rate": None,
    "epoch_seconds": None,
    "images_per_second": None,
}
"""Name to the direction of better, None where there is none.

`top1`, `top5`: fraction of the validation images whose class is the first, among the first five (or all, if fewer)
logits. `val_loss`: their mean cross-entropy, without smoothing. `train_*`: the same over the epoch's training batches
as the network saw them, loss as optimized; a mixed image counts by its heaviest class. `learning_rate`: at the epoch's
last step.
`epoch_seconds`: training and evaluation. `images_per_second`: training images over training time.
"""


def best(values: list[float], metric: str) -> float:
    """The best value of a metric that has a direction."""
    return max(values) if METRICS[metric] == "max" else min(values)
