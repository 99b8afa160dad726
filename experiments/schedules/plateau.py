"""Reduce on plateau: the rate falls when a metric of the epochs so far has stopped improving.

As torch.optim.lr_scheduler.ReduceLROnPlateau does it. What it remembers is a function of the recorded epochs, so a
resumed training goes on with the same rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from pydantic import Field, NonNegativeInt

from trainer.hooks import Moment
from trainer.metrics import Watched, direction

from ..options import Schedule


def reductions(values: Iterable[float], patience: int, threshold: float, cooldown: int, sign: int) -> int:
    """How often the rate has fallen after these values; sign 1: higher is better, -1: lower.

    A value improves if it beats the best so far by more than the share `threshold` of it. The rate falls after more
    than `patience` values in a row without improvement; the `cooldown` values after a fall don't count.
    """
    falls, stale, cooling = 0, 0, 0
    best: float | None = None
    for value in values:
        if math.isfinite(value) and (best is None or sign * value > sign * best + threshold * abs(best)):
            best, stale = value, 0
        else:
            stale += 1
        if cooling > 0:
            cooling, stale = cooling - 1, 0
        if stale > patience:
            falls, stale, cooling = falls + 1, 0, cooldown
    return falls


class Plateau(Schedule):
    """Multiplies the rate by `gamma` when `metric` has not improved for more than `patience` epochs."""

    kind: Literal["plateau"] = "plateau"

    metric: Watched = "val_loss"
    """What has to improve, judged after each epoch."""

    gamma: float = Field(default=0.1, gt=0.0, lt=1.0)
    """The factor of each fall."""

    patience: NonNegativeInt = 10
    """Epochs without improvement that are tolerated; the rate falls after the next one."""

    threshold: float = Field(default=1e-4, ge=0.0)
    """An improvement must be by more than this share of the best value."""

    cooldown: NonNegativeInt = 0
    """Epochs after a fall in which patience is not counted."""

    floor: float = Field(default=0.0, ge=0.0, lt=1.0)
    """The least factor, as a fraction of the base rate."""

    def factor(self, moment: Moment) -> float:  # noqa: D102
        sign = 1 if direction(self.metric) == "max" else -1
        values = [epoch[self.metric] for epoch in moment.history]
        falls = reductions(values, self.patience, self.threshold, self.cooldown, sign)
        return max(float(self.gamma**falls), self.floor)
