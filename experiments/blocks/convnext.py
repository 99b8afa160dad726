"""The ConvNeXt block (Liu et al., "A ConvNet for the 2020s", CVPR 2022, section 2 and figure 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from ..options import Block
from ._settings import KernelSize

if TYPE_CHECKING:
    from torch import nn


class ConvnextBlock(Block):
    """Depthwise convolution, layer norm over channels, and a GELU network at each position, added to the input.

    Weights start as in the authors' code: truncated normal of standard deviation 0.02 (table 5 says 0.2), biases 0.
    """

    kind: Literal["convnext"] = "convnext"

    kernel_size: KernelSize = 7
    """Side of the depthwise convolution, in pixels; odd."""

    expansion: PositiveInt = 4
    """Hidden channels of the network at each position, as a multiple of the block's channels."""

    layer_scale: float = Field(default=1e-6, gt=0.0)
    """First value of each channel's learned factor of what is added to the input (Touvron et al., "Going deeper with
    image transformers", ICCV 2021): the smaller, the closer the block starts to the identity."""

    def build(self, channels: int) -> nn.Module:  # noqa: D102
        from timm.models.convnext import ConvNeXtBlock
        from torch import nn

        block: nn.Module = ConvNeXtBlock(
            channels, kernel_size=self.kernel_size, mlp_ratio=self.expansion, ls_init_value=self.layer_scale
        )
        for layer in block.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        return block
