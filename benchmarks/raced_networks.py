"""The networks of the race, for the sides that are not ours: timm's ResNet with the tweaks A to D of the bag of tricks.

train.py imports this module by its own flag `--device-modules` and then finds `raced_resnet` by `--model`; bare.py
builds the same. timm's own names and settings can't describe them: its plain stem has 64 channels whatever the width,
and its bottleneck is tweak B. This module needs timm alone, so that the peer starts as fast as without it.
"""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from timm.models.resnet import Bottleneck, ResNet
from torch import nn


@register_model
def raced_resnet(
    pretrained: bool = False,
    num_classes: int = 10,
    tweak: str = "B",
    width: int = 16,
    layers: tuple[int, ...] = (1, 1, 1, 1),
    **_ignored: Any,
) -> nn.Module:
    """A bottleneck ResNet from scratch; `tweak` as in experiments/architectures/resnet.py."""
    block: Any = Bottleneck
    model: nn.Module = ResNet(
        block=block,
        layers=tuple(layers),
        num_classes=num_classes,
        channels=tuple(width * 2**stage for stage in range(len(layers))),
        stem_width=width // 2,
        stem_type="deep",
        avg_down=tweak == "D",
        zero_init_last=False,
    )
    if tweak in "AB":
        stem = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        model.conv1 = stem
    if tweak == "A":
        for module in model.modules():
            if isinstance(module, Bottleneck):
                module.conv1.stride, module.conv2.stride = module.conv2.stride, module.conv1.stride
    return model
