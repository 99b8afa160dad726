"""Global context (Cao et al., "GCNet: Non-local networks meet squeeze-excitation networks", ICCVW 2019, eq. 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import PositiveInt

from ..options import Block

if TYPE_CHECKING:
    from torch import nn


class GlobalContext(Block):
    """Adds one vector to every position: the map's average under learned attention, put through a bottleneck.

    The last layer starts at zero, as in the authors' code, so that the block starts as the identity.
    """

    kind: Literal["gc"] = "gc"

    reduction: PositiveInt = 16
    """r in the paper: the bottleneck has channels / r hidden channels, rounded down, at least 3: layer norm makes a
    constant of a single hidden channel, and of two no more than a sign."""

    def build(self, channels: int) -> nn.Module:  # noqa: D102
        from timm.layers.global_context import GlobalContext as Module
        from torch import nn

        hidden = max(3, channels // self.reduction)
        block: Any = Module(channels, fuse_add=True, fuse_scale=False, rd_channels=hidden)
        # eq. 5 has no bias, and no gradient would reach one: a softmax ignores what all its inputs have in common
        block.conv_attn.bias = None
        # timm zeroes only the weights
        nn.init.zeros_(block.mlp_add.fc2.bias)
        module: nn.Module = block
        return module
