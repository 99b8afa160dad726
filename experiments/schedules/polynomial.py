"""Polynomial decay (Chen et al., "DeepLab", TPAMI 2018, section 4.1: "poly", with a power of 0.9)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trainer.hooks import Moment

from ..options import Schedule


class Polynomial(Schedule):
    """From the base rate to `floor` times it as (1 - progress) ** power, updated at every step; linear by default."""

    kind: Literal["polynomial"] = "polynomial"

    power: float = Field(default=1.0, gt=0.0)
    """1: along a line; above, it falls more at first; below, more at the end (Chen et al.: 0.9)."""

    floor: float = Field(default=0.0, ge=0.0, le=1.0)
    """What the factor falls to at the end of the last epoch; the last step is one step above it."""

    def factor(self, moment: Moment) -> float:  # noqa: D102
        return float(self.floor + (1 - self.floor) * (1 - moment.epoch / moment.epochs) ** self.power)
