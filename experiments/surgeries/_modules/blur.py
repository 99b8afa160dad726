"""The module of blurred subsampling; see experiments.surgeries.blur_pool."""

from __future__ import annotations

from functools import cache
from math import comb
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Blur(nn.Module):
    """A binomial filter in either direction, then every `stride`-th pixel: [N, C, H, W] to [N, C, H/stride, W/stride].

    Beyond the border the edge goes on: zeros would darken it, and a map of one pixel has nothing to reflect.
    """

    def __init__(self, size: int, stride: int) -> None:
        super().__init__()
        self.margin = size // 2
        self.stride = stride
        row = torch.tensor([float(comb(size - 1, k)) for k in range(size)]) / 2 ** (size - 1)
        self.register_buffer("filter", torch.outer(row, row), persistent=False)
        self.filter: torch.Tensor

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        channels = maps.shape[1]
        # not by replication_pad2d, whose gradient torch 2.15 can't compile, and is not deterministic on a GPU
        for direction in (2, 3):
            first, last = maps.narrow(direction, 0, 1), maps.narrow(direction, maps.shape[direction] - 1, 1)
            maps = torch.cat([*[first] * self.margin, maps, *[last] * self.margin], direction)
        weight = self.filter.expand(channels, 1, -1, -1)
        return functional.conv2d(maps, weight.to(maps.dtype), stride=self.stride, groups=channels)


def blur_input(convolution: nn.Conv2d, blur: Blur) -> None:
    """Let a convolution blur what it is given. It stays the same module, so its parameters keep their names."""
    convolution.blur = blur
    convolution.__class__ = _blurring(type(convolution))  # type: ignore[arg-type]


@cache
def _blurring(kind: Any) -> Any:
    """The class of convolutions of this kind that blur; one for all of them, because compiled code depends on it."""

    def forward(self: Any, input: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = kind.forward(self, self.blur(input))
        return found

    return type(f"Blurred{kind.__name__}", (kind,), {"forward": forward})
