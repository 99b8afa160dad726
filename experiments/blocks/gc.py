"""Global context (Cao et al., "GCNet: Non-local networks meet squeeze-excitation networks", ICCVW 2019, eq. 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import PositiveInt

from ..options import Block

if TYPE_CHECKING:
    from torch import nn


class GlobalContext(Block):
    """Adds to every position one vector: a bottleneck's transform of the map's average under learned attention.

    The last layer starts at zero, as in the authors' code, so that the block starts as the identity.
    """

    kind: Literal["gc"] = "gc"

    reduction: PositiveInt = 16
    """Channels to one hidden channel of the bottleneck, r in the paper, rounded down. At least 3 stay: layer norm
    makes a constant of a single hidden channel, and of two no more than a sign."""

    def build(self, channels: int) -> nn.Module:  # noqa: D102
        from timm.layers.global_context import GlobalContext as Module
        from torch import nn

        hidden = max(3, channels // self.reduction)
        block: Any = Module(channels, fuse_add=True, fuse_scale=False, rd_channels=hidden)
        # eq. 5 has none, and no gradient would reach it: a softmax does not see what all its inputs have in common
        block.conv_attn.bias = None
        # timm zeroes only the weights
        nn.init.zeros_(block.mlp_add.fc2.bias)
        module: nn.Module = block
        return module
