"""Stochastic depth (Huang et al., "Deep networks with stochastic depth", ECCV 2016, section 3), timm's drop path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..options import Surgery

if TYPE_CHECKING:
    from torch import nn


class StochasticDepth(Surgery):
    """Skips the residual branches of each block at random while training, the deeper the block the more often.

    Each image of a batch draws for itself, and branches that stay are scaled up by 1 / (1 - rate), as in timm; Huang et
    al. skip a block for the whole batch, and scale down when they evaluate.
    """

    kind: Literal["stochastic_depth"] = "stochastic_depth"

    rate: float = Field(default=0.1, gt=0.0, lt=1.0)
    """How often the last of L blocks is skipped; the l-th is with rate * l / L (Huang et al., equation 4: 0.5)."""

    def apply(self, model: nn.Module) -> nn.Module:  # noqa: D102
        from timm.layers.drop import DropPath
        from torch import nn

        def branches(block: nn.Module) -> list[str]:
            """Where a block of timm's has what drops a branch, or an identity or None in its place."""
            found = [name for name in {**vars(block), **block._modules} if re.fullmatch(r"drop_path\d?", name)]
            return [name for name in found if isinstance(getattr(block, name), DropPath | nn.Identity | None)]

        blocks = [(block, names) for block in model.modules() if (names := branches(block))]
        if not blocks:
            raise ValueError("the network has no residual blocks whose branches timm can drop")
        for depth, (block, names) in enumerate(blocks, 1):
            for name in names:
                setattr(block, name, DropPath(self.rate * (depth / len(blocks))))
        return model
