"""CBAM (Woo et al., "CBAM: Convolutional block attention module", ECCV 2018, section 3, eqs 1 to 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from ..options import Block
from ._settings import KernelSize

if TYPE_CHECKING:
    from torch import nn


class Cbam(Block):
    """Scales each channel, then each position, by a sigmoid gate that is derived from averages and maxima.

    As in the authors' code, the channels' layers have biases and the positions' convolution is followed by batch norm;
    eqs 2 and 3 leave both out.
    """

    kind: Literal["cbam"] = "cbam"

    reduction: PositiveInt = 16
    """r in the paper: the channel attention has channels / r hidden channels, rounded down, at least 1."""

    kernel_size: KernelSize = 7
    """Side of the spatial attention's convolution, in pixels; odd."""

    def build(self, channels: int) -> nn.Module:  # noqa: D102
        from timm.layers.cbam import CbamModule

        hidden = max(1, channels // self.reduction)
        return CbamModule(channels, rd_channels=hidden, spatial_kernel_size=self.kernel_size, mlp_bias=True)
