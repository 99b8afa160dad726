"""Cosine annealing with warm restarts (Loshchilov & Hutter, "SGDR", ICLR 2017, eq. 5)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainer.hooks import Moment

from ..options import Schedule
from .cosine import cosine_factor

if TYPE_CHECKING:
    from ..recipe import Recipe


_ROUNDING = 1e-9
"""A step that is no more than this part of a cycle before a restart counts as the restart."""


def cycle_progress(epoch: float, period: float, multiplier: float) -> float:
    """How far into its cycle `epoch` is, 0 <= progress < 1; the i-th cycle is period * multiplier^i epochs long."""
    periods = epoch / period
    if multiplier == 1.0:
        return max(0.0, periods - math.floor(periods + _ROUNDING))
    cycle = math.floor(math.log1p(periods * (multiplier - 1)) / math.log(multiplier) + _ROUNDING)
    begin = (multiplier**cycle - 1) / (multiplier - 1)
    return max(0.0, (periods - begin) / multiplier**cycle)


class CosineRestarts(Schedule):
    """From the base rate to `floor` times it along half a cosine, again and again, updated at every step."""

    kind: Literal["cosine_restarts"] = "cosine_restarts"

    period: float = Field(ge=0.01)
    """T_0: epochs of the first cycle; a fraction is allowed."""

    multiplier: float = Field(default=1.0, ge=1.0, le=1e6)
    """T_mult: each cycle is this many times as long as the one before."""

    floor: float = Field(default=0.0, ge=0.0, lt=1.0)
    """The factor at a cycle's end, as a fraction of the base rate."""

    def check(self, recipe: Recipe) -> None:  # noqa: D102
        if self.period >= recipe.epochs:
            raise ValueError(
                f"got a period of {self.period:g} epochs, which never restarts in {recipe.epochs}; expected less, or "
                "the schedule cosine"
            )

    def factor(self, moment: Moment) -> float:  # noqa: D102
        return cosine_factor(cycle_progress(moment.epoch, self.period, self.multiplier), self.floor)
