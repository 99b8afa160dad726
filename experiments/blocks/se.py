"""Squeeze-and-excitation (Hu et al., "Squeeze-and-excitation networks", CVPR 2018, section 3, eqs 2 to 4)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt, model_validator

from ..options import Block

if TYPE_CHECKING:
    from torch import nn


class SqueezeExcitation(Block):
    """Scales each channel by a sigmoid gate that two fully connected layers derive from all channels' averages.

    The layers have biases, as in the authors' models; eq. 3 leaves them out.
    """

    kind: Literal["se"] = "se"

    ratio: float | None = Field(default=None, gt=0.0, le=1.0)
    """Hidden channels as a share of the block's channels, rounded down, at least 1; null: given by `reduction`."""

    reduction: PositiveInt | None = None
    """r in the paper: channels / r hidden channels, rounded down, at least 1; null: given by `ratio`, else 16."""

    @model_validator(mode="after")
    def _has_one_size(self) -> SqueezeExcitation:
        if self.ratio is not None and self.reduction is not None:
            raise ValueError("got both ratio and reduction, expected one of them")
        return self

    def build(self, channels: int) -> nn.Module:  # noqa: D102
        from timm.layers.squeeze_excite import SqueezeExcite

        if self.ratio is None:
            hidden = channels // (self.reduction or 16)
        else:
            # rounded first, because 0.29 * 100 is just below 29
            hidden = math.floor(round(self.ratio * channels, 6))
        # told the hidden channels, timm does not round them to a multiple of 8
        return SqueezeExcite(channels, rd_channels=max(1, hidden))
