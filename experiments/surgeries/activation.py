"""Another activation (SiLU: Ramachandran et al., "Searching for activation functions", 2017, where it is Swish-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ..options import Surgery
from ._replacing import replace_modules

if TYPE_CHECKING:
    from torch import nn

_KINDS = {"ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "CELU", "SELU", "SiLU", "Mish", "HardMish", "Hardswish"}
_KINDS |= {"GELU", "GELUTanh", "QuickGELU"}
"""Classes, of torch's or of timm's own, between layers; sigmoids stay, because they are gates."""


class Activation(Surgery):
    """Puts one activation in the place of every activation between layers: ReLU and its successors, but no gates.

    Functions that a network calls without a module stay, as in mobilevitv2 and the nfnets. The initial weights stay as
    well, whose scale is made for ReLU.
    """

    kind: Literal["activation"] = "activation"

    to: Literal["relu", "relu6", "leaky_relu", "elu", "silu", "gelu", "mish", "hard_swish"]
    """The activation that takes the place of the others; silu is also called Swish, leaky_relu has the slope 0.01."""

    def apply(self, model: nn.Module) -> nn.Module:  # noqa: D102
        from timm.layers.create_act import create_act_layer

        def replacement(module: nn.Module) -> nn.Module | None:
            found = any(kind.__name__ in _KINDS for kind in type(module).__mro__)
            return create_act_layer(self.to) if found else None

        if not replace_modules(model, replacement):
            raise ValueError("the network has no activation to replace")
        return model
