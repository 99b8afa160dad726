"""Contextual transformer (Li et al., "Contextual transformer networks for visual recognition", TPAMI 2022, sec. 3.2).

What the paper leaves open (norms, widths, which channels share a head) is as in the authors' code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveInt

from ..options import Block
from ._settings import KernelSize

if TYPE_CHECKING:
    from torch import nn


class ContextualTransformer(Block):
    """Mixes a convolution of the map (static context) with local attention that is guided by it (dynamic context)."""

    kind: Literal["cot"] = "cot"

    replaces_convolution: ClassVar[bool] = True

    kernel_size: KernelSize = 3
    """Side of the neighbourhood that gives a position its context, k in the paper, in pixels; odd."""

    groups: PositiveInt = 4
    """Groups of the keys' convolution; the block's channels must be a multiple of it."""

    share: PositiveInt = 8
    """Channels that share the weights of an attention head, so that there are channels / share heads; the block's
    channels must be a multiple of it."""

    def build(self, channels: int) -> nn.Module:  # noqa: D102
        from ._modules.cot import Cot

        for name in ("groups", "share"):
            divisor = getattr(self, name)
            if channels % divisor:
                raise ValueError(f"got {channels} channels with {name} {divisor}, expected a multiple of it")
        return Cot(channels, self.kernel_size, self.groups, heads=channels // self.share)
