"""What torch 2.15 computes wrong on the CPU, computed another way.

Found with random shapes, compared with float64, after free memory had been filled with NaN.

In bfloat16, gradients of a convolution's weights contain uninitialised memory where a map is smaller than the stride
(without padding, only where channels are not last) or the kernel is dilated: they are wrong, and now and then NaN.
Gradients of a layer norm's weights are summed in bfloat16, where a sum stops growing at about 256 equal summands;
CUDA's autocast runs layer norm in float32, the CPU's does not. A convolution of several groups, with several outputs an
input channel and two different strides, reads uninitialised memory where its output is one pixel wide.

In any precision, on some processors, gradients of 1x1 kernels with a stride are written beyond their memory
where images or groups have fewer than 8 channels (oneDNN's issue 6035).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.nn import functional

_CHANNELS = 8
"""With fewer channels, oneDNN pads those of what it copies, but not the memory that it copies them to."""


@contextmanager
def corrected() -> Iterator[None]:
    """Inside, `conv2d` and `layer_norm` of torch.nn.functional, which modules call as well, are right on the CPU."""
    with patch.object(functional, "conv2d", _conv2d), patch.object(functional, "layer_norm", _layer_norm):
        yield


def _conv2d(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> torch.Tensor:
    steps = _pair(stride)
    channels, *kernel = weight.shape[1:]
    if max(steps) > 1 and kernel == [1, 1] and channels < _CHANNELS and _is_unpadded(padding):
        # leave only the pixels that the kernel looks at; as a copy, because a view of a map that is one pixel high or
        # wide has strides by which its layout is mistaken
        layout = torch.contiguous_format if input.stride(-1) == 1 else torch.channels_last
        input, stride = input[..., :: steps[0], :: steps[1]].clone(memory_format=layout), 1
    uneven = steps[0] != steps[1] and 1 < groups < len(weight)
    if (uneven or _reads_uninitialised(input, steps, padding, _pair(dilation))) and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            bias = bias.float() if bias is not None else None
            return torch.conv2d(input.float(), weight.float(), bias, stride, padding, dilation, groups)
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _layer_norm(
    input: torch.Tensor,
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> torch.Tensor:
    if torch.is_autocast_enabled("cpu"):
        input = input.float()
    return torch.layer_norm(input, normalized_shape, weight, bias, eps)


def _reads_uninitialised(input: torch.Tensor, steps: tuple[int, int], padding: Any, dilation: tuple[int, int]) -> bool:
    small = input.shape[-2] < steps[0] or input.shape[-1] < steps[1]
    # channels last, those without padding are right
    return max(dilation) > 1 or (small and (not _is_unpadded(padding) or input.stride(-1) == 1))


def _is_unpadded(padding: Any) -> bool:
    return padding == "valid" or (not isinstance(padding, str) and max(_pair(padding)) == 0)


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
