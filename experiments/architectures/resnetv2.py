"""ResNet v2: pre-activation residual blocks (He et al., "Identity mappings in deep residual networks", ECCV 2016).

Built on timm's ResNetV2, whose stride sits on the 3x3 convolution, as in Model-B of resnet.py. With `norm: group_ws` it
is the network of BiT (Kolesnikov et al., "Big transfer", ECCV 2020).
"""

from __future__ import annotations

from functools import partial
from math import gcd
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import PositiveInt, model_validator

from ._staged import Anatomy, Depth, _Staged

if TYPE_CHECKING:
    from torch import nn

DIVISOR = 8
"""timm rounds every number of channels to a multiple of this."""


class Resnetv2(_Staged):
    """A pre-activation network of four stages of bottlenecks; resnet50v2 and resnet101v2 preset `layers`.

    The norm behind the last stage closes its last block (He et al., 2016, appendix), and is frozen with that stage.
    """

    kind: Literal["resnetv2"] = "resnetv2"

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "resnet50v2": {"layers": [3, 4, 6, 3]},
        "resnet101v2": {"layers": [3, 4, 23, 3]},
    }

    layers: tuple[Depth, Depth, Depth, Depth]
    """Blocks in each of the four stages; each stage after the first halves the resolution."""

    width: PositiveInt = 64
    """Channels of the stem and inside the first stage's blocks (outside four times as many); doubled by each stage."""

    norm: Literal["batch", "group_ws"] = "batch"
    """batch: batch norm; timm's `resnetv2_50`. group_ws: BiT, timm's `resnetv2_50x1_bit`.

    BiT has group norm of 32 groups (fewer where a width has no 32), convolutions whose weights are standardised (Qiao
    et al., 2019), and a stem that pads with zeros before its max pooling.
    """

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.width % DIVISOR:
            raise ValueError(f"got width {self.width}, expected a multiple of {DIVISOR}")
        return self

    def anatomy(self) -> Anatomy:  # noqa: D102
        named = [name for name, preset in self.presets.items() if tuple(preset["layers"]) == self.layers]
        return Anatomy(
            name=(*named, self.kind)[0],
            stages=tuple(f"stages.{stage}" for stage in range(len(self.layers))),
            channels=self._channels(),
            residual="bottleneck",
        )

    def _channels(self) -> tuple[int, ...]:
        return tuple(4 * self.width * 2**stage for stage in range(len(self.layers)))

    def plain(self, num_classes: int) -> nn.Module:  # noqa: D102
        import timm
        from timm.models.resnetv2 import ResNetV2

        layers: Any = timm.layers
        variants: dict[str, dict[str, Any]] = {
            "batch": {"conv_layer": layers.create_conv2d, "norm_layer": layers.BatchNormAct2d},
            "group_ws": {
                "conv_layer": partial(layers.StdConv2d, eps=1e-8),
                "norm_layer": partial(layers.GroupNormAct, num_groups=gcd(32, self.width)),
                "stem_type": "fixed",
            },
        }
        network: nn.Module = ResNetV2(
            layers=list(self.layers),
            channels=self._channels(),
            num_classes=num_classes,
            stem_chs=self.width,
            **variants[self.norm],
        )
        return network
