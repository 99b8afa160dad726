"""ResNet (He et al., "Deep residual learning", CVPR 2016) with the tweaks of He et al., "Bag of tricks", CVPR 2019.

Built on timm's ResNet, whose plain bottleneck network *is* Model-B: the stride of a downsampling block sits on its
3x3 convolution. The tweaks add up, as in section 4.2 of the bag of tricks:

    A  the stride sits on the block's first 1x1 convolution (the original network)
    B  ... on its 3x3 convolution
    C  B, and a stem of three 3x3 convolutions instead of one 7x7
    D  C, and downsampling shortcuts that average 2x2 before their 1x1 convolution
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import PositiveInt, model_validator

from trainer.settings import MachinePath

from ..fingerprint import content_digest
from ..options import Architecture

if TYPE_CHECKING:
    from torch import nn


class Resnet(Architecture):
    """A residual network of four stages; resnet18 ... resnet152 preset `block` and `layers`."""

    kind: Literal["resnet"] = "resnet"

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "resnet18": {"block": "basic", "layers": [2, 2, 2, 2]},
        "resnet26": {"block": "bottleneck", "layers": [2, 2, 2, 2]},
        "resnet34": {"block": "basic", "layers": [3, 4, 6, 3]},
        "resnet50": {"block": "bottleneck", "layers": [3, 4, 6, 3]},
        "resnet101": {"block": "bottleneck", "layers": [3, 4, 23, 3]},
        "resnet152": {"block": "bottleneck", "layers": [3, 8, 36, 3]},
    }

    block: Literal["basic", "bottleneck"]
    """basic: two 3x3 convolutions. bottleneck: 1x1, 3x3, 1x1 with four times the channels outside."""

    layers: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]
    """Blocks in each of the four stages; each stage after the first halves the resolution."""

    width: PositiveInt = 64
    """Channels of the stem and of the first stage's blocks; doubled from stage to stage."""

    tweak: Literal["A", "B", "C", "D"]
    """The model tweak, cumulative (see the table above)."""

    zero_gamma: bool = False
    """Start each block's last batch norm at zero, so that blocks begin as identities (bag of tricks, section 3.1)."""

    weights: str | None = None
    """Pretrained weights: a timm model name such as `resnet50.a1_in1k`; null trains from scratch."""

    weights_file: MachinePath | None = None
    """Pretrained weights: a local state dict (.pt, .pth or .safetensors) instead; identified by its content."""

    @model_validator(mode="after")
    def _check(self) -> Resnet:
        if self.block == "basic" and self.tweak == "B":
            raise ValueError("got tweak B with basic blocks, expected A, C or D: B moves a stride inside a bottleneck")
        if self.width % 2:
            raise ValueError(f"got width {self.width}, expected an even one: a deep stem halves it")
        if self.weights and self.weights_file:
            raise ValueError("got both weights and weights_file, expected one of them")
        if self.weights_file and not self.weights_file.is_file():
            raise ValueError(f"weights_file {self.weights_file}: no such file")
        return self

    def identity(self) -> dict[str, Any]:  # noqa: D102
        content = {"weights_file": content_digest([self.weights_file])} if self.weights_file else {}
        return super().identity() | content

    def build(self, num_classes: int) -> nn.Module:  # noqa: D102
        from timm.models.resnet import BasicBlock, Bottleneck, ResNet

        from ._pretrained import load_pretrained

        blocks: dict[str, Any] = {"basic": BasicBlock, "bottleneck": Bottleneck}
        model = ResNet(
            block=blocks[self.block],
            layers=self.layers,
            num_classes=num_classes,
            channels=tuple(self.width * 2**stage for stage in range(len(self.layers))),
            # timm counts the output of a deep stem as twice its stem_width
            stem_width=self.width // 2,
            stem_type="deep",
            avg_down=self.tweak == "D",
            zero_init_last=self.zero_gamma,
        )
        if self.tweak in "AB":
            plain_stem(model, self.width)
        if self.block == "bottleneck" and self.tweak == "A":
            stride_on_first_convolution(model)
        load_pretrained(model, self.weights, self.weights_file)
        return model


def plain_stem(model: nn.Module, width: int) -> None:
    """Put one 7x7 convolution in the place of a deep stem; timm's own has 64 channels whatever the width."""
    from torch import nn

    model.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")


def stride_on_first_convolution(model: nn.Module) -> None:
    """Turn Model-B into Model-A: each bottleneck's stride moves from its 3x3 to its first 1x1 convolution."""
    from timm.models.resnet import Bottleneck

    for block in model.modules():
        if isinstance(block, Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
