"""Exponential decay (Tan & Le, "EfficientNet", ICML 2019, section 5.2: by 0.97 every 2.4 epochs)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trainer.hooks import Moment

from ..options import Schedule


class Exponential(Schedule):
    """Multiplies the rate by `gamma` over `every` epochs, a little at every step."""

    kind: Literal["exponential"] = "exponential"

    gamma: float = Field(default=0.97, gt=0.0, lt=1.0)
    """The factor of `every` epochs."""

    every: float = Field(default=1.0, gt=0.0)
    """Epochs, also a fraction, in which the rate falls by `gamma` (Tan & Le: 2.4)."""

    def factor(self, moment: Moment) -> float:  # noqa: D102
        return float(self.gamma ** (moment.epoch / self.every))
