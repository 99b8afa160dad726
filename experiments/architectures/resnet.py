"""ResNet (He et al., "Deep residual learning", CVPR 2016) with the tweaks of He et al., "Bag of tricks", CVPR 2019.

Built on timm's ResNet, whose plain bottleneck network *is* Model-B: the stride of a downsampling block sits on its
3x3 convolution. The tweaks add up, as in section 4.2 of the bag of tricks:

    A  the stride sits on the block's first 1x1 convolution (the original network)
    B  ... on its 3x3 convolution
    C  B, and a stem of three 3x3 convolutions instead of one 7x7
    D  C, and downsampling shortcuts that average 2x2 before their 1x1 convolution

With a cardinality it is ResNeXt (Xie et al., "Aggregated residual transformations", CVPR 2017).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import PositiveInt, model_validator

from ._staged import Anatomy, Depth, _Staged

if TYPE_CHECKING:
    from torch import nn

EXPANSION = {"basic": 1, "bottleneck": 4}
"""Channels outside a residual block, as a multiple of those inside."""


class Resnet(_Staged):
    """A residual network of four stages; resnet18 ... resnet152, resnext50 and resnext101 preset its size."""

    kind: Literal["resnet"] = "resnet"

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "resnet18": {"block": "basic", "layers": [2, 2, 2, 2]},
        "resnet26": {"block": "bottleneck", "layers": [2, 2, 2, 2]},
        "resnet34": {"block": "basic", "layers": [3, 4, 6, 3]},
        "resnet50": {"block": "bottleneck", "layers": [3, 4, 6, 3]},
        "resnet101": {"block": "bottleneck", "layers": [3, 4, 23, 3]},
        "resnet152": {"block": "bottleneck", "layers": [3, 8, 36, 3]},
        "resnext50": {
            "block": "bottleneck",
            "layers": [3, 4, 6, 3],
            "cardinality": 32,
            "base_width": 4,
            "tweak": "B",
        },
        "resnext101": {
            "block": "bottleneck",
            "layers": [3, 4, 23, 3],
            "cardinality": 32,
            "base_width": 8,
            "tweak": "B",
        },
    }

    block: Literal["basic", "bottleneck"]
    """basic: two 3x3 convolutions. bottleneck: 1x1, 3x3, 1x1 with four times the channels outside."""

    layers: tuple[Depth, Depth, Depth, Depth]
    """Blocks in each of the four stages; each stage after the first halves the resolution."""

    width: PositiveInt = 64
    """Channels of the stem and of the first stage's blocks; doubled from stage to stage."""

    tweak: Literal["A", "B", "C", "D"]
    """The model tweaks of "Bag of tricks" up to this letter; A has none of them."""

    cardinality: PositiveInt = 1
    """Groups of a bottleneck's 3x3 convolution (Xie et al., 2017, section 3)."""

    base_width: PositiveInt = 64
    """Channels of each group in the first stage, at width 64; doubled from stage to stage."""

    stem_width: PositiveInt | None = None
    """Channels that the stem gives to the first stage; null: width."""

    stem_pool: bool = True
    """Whether the stem ends in 3x3 max pooling; false: the first stage's first block halves the resolution instead.

    As in the ResNet-D of Bello et al., "Revisiting ResNets", NeurIPS 2021.
    """

    zero_gamma: bool = False
    """Start each block's last batch norm at zero, so that blocks begin as identities (bag of tricks, section 3.1)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.block == "basic" and self.tweak == "B":
            raise ValueError("got tweak B with basic blocks, expected A, C or D: B moves a stride inside a bottleneck")
        if self.block == "basic" and (self.cardinality, self.base_width) != (1, 64):
            given = f"cardinality {self.cardinality} and base_width {self.base_width}"
            raise ValueError(f"got {given} with basic blocks, expected bottlenecks: they have the grouped convolutions")
        for name, width in (("width", self.width), ("stem_width", self.stem_width)):
            if width is not None and width % 2:
                raise ValueError(f"got {name} {width}, expected an even one: a deep stem halves it")
        if self.width * self.base_width < 64:
            least = -(-64 // self.base_width)
            raise ValueError(
                f"got width {self.width} with base_width {self.base_width}, expected a width of at least {least}: "
                f"a group of the first stage has width * base_width / 64 channels"
            )
        return self

    def anatomy(self) -> Anatomy:  # noqa: D102
        stages = range(len(self.layers))
        return Anatomy(
            name=self._shown_name(),
            stages=tuple(f"layer{stage + 1}" for stage in stages),
            channels=tuple(self.width * 2**stage * EXPANSION[self.block] for stage in stages),
            residual=self.block,
        )

    def _shown_name(self) -> str:
        """The preset that this network is, of several the one with most settings; `resnet` where it is none."""
        own = self.model_dump(mode="json")
        fitting = [name for name, preset in self.presets.items() if all(own[key] == preset[key] for key in preset)]
        return max(fitting, key=lambda name: len(self.presets[name]), default=self.kind)

    def plain(self, num_classes: int) -> nn.Module:  # noqa: D102
        from timm.models.resnet import BasicBlock, Bottleneck, ResNet

        blocks: dict[str, Any] = {"basic": BasicBlock, "bottleneck": Bottleneck}
        stem_width = self.stem_width or self.width
        model = ResNet(
            block=blocks[self.block],
            layers=self.layers,
            num_classes=num_classes,
            channels=tuple(self.width * 2**stage for stage in range(len(self.layers))),
            cardinality=self.cardinality,
            base_width=self.base_width,
            # timm counts the output of a deep stem as twice its stem_width
            stem_width=stem_width // 2,
            stem_type="deep",
            avg_down=self.tweak == "D",
            zero_init_last=self.zero_gamma,
        )
        if self.tweak in "AB":
            plain_stem(model, stem_width)
        if not self.stem_pool:
            downsample_in_first_stage(model, average=self.tweak == "D")
        if self.block == "bottleneck" and self.tweak == "A":
            stride_on_first_convolution(model)
        return model


def plain_stem(model: nn.Module, width: int) -> None:
    """Put one 7x7 convolution in the place of a deep stem; timm's own has 64 channels whatever the width."""
    from torch import nn

    model.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")


def downsample_in_first_stage(model: nn.Module, *, average: bool) -> None:
    """Leave out the stem's max pooling; the first stage's first block gets its stride, in branch and shortcut."""
    from timm.models.resnet import Bottleneck, downsample_avg, downsample_conv
    from torch import nn

    model.maxpool = nn.Identity()
    block: Any = model.get_submodule("layer1.0")
    strided, last = (block.conv2, block.conv3) if isinstance(block, Bottleneck) else (block.conv1, block.conv2)
    strided.stride = (2, 2)
    block.stride = 2
    shortcut: Any = downsample_avg if average else downsample_conv
    block.downsample = shortcut(block.conv1.in_channels, last.out_channels, kernel_size=1, stride=2)
    nn.init.kaiming_normal_(block.downsample[-2].weight, mode="fan_out", nonlinearity="relu")


def stride_on_first_convolution(model: nn.Module) -> None:
    """Turn Model-B into Model-A: each bottleneck's stride moves from its 3x3 to its first 1x1 convolution."""
    from timm.models.resnet import Bottleneck

    for block in model.modules():
        if isinstance(block, Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
