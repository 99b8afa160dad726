"""Cosine learning rate decay (Loshchilov & Hutter, "SGDR", ICLR 2017, eq. 5; He et al. 2019, section 5.1, eq. 1)."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from trainer.hooks import Moment

from ..options import Schedule


def cosine_factor(progress: float, floor: float = 0.0) -> float:
    """1 at progress 0, `floor` at progress 1, half a cosine between."""
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


class Cosine(Schedule):
    """From the base rate to `floor` times it along half a cosine, updated at every step."""

    kind: Literal["cosine"] = "cosine"

    floor: float = Field(default=0.0, ge=0.0, le=1.0)
    """What the factor falls to at the end of the last epoch; the last step is one step above it."""

    def factor(self, moment: Moment) -> float:  # noqa: D102
        return cosine_factor(moment.epoch / moment.epochs, self.floor)
