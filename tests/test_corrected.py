"""Layers on the CPU against float64, where free memory holds NaN: what torch gets wrong."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
from timm.layers import LayerNorm2d
from torch import nn
from torch.nn import functional

from trainer.corrected import corrected
from trainer.numerics import Numerics

CPU = torch.device("cpu")
NAN = [100, 300, 1000, 3000, 10_000, 30_000, 100_000] * 4
SMALL_MAPS = [(side, kernel, stride) for side, kernel, stride in itertools.product([1, 2, 3], [2, 3, 5, 7], [2, 3, 4])]


def spoil() -> None:
    """Leave NaN in what is allocated next."""
    spoiled = [torch.full((size,), float("nan")) for size in NAN]
    del spoiled


def worst(precision: str, side: int, batch: int = 4, **given: int) -> float:
    """Of a convolution."""
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 16, bias=False, **given).to(memory_format=torch.channels_last)  # type: ignore[arg-type]
    return worst_of(layer, torch.randn(batch, 16, side, side).to(memory_format=torch.channels_last), precision)


def worst_of(layer: nn.Module, images: torch.Tensor, precision: str) -> float:
    """The largest error of a layer's output and gradients, as a part of the largest number; NaN where one is none."""
    exact = deepcopy(layer).double()
    images = images.requires_grad_()
    same = images.detach().double().requires_grad_()
    spoil()
    with Numerics(precision=precision).autocast(CPU):  # type: ignore[arg-type]
        output = layer(images)
    wanted = exact(same)
    # with a mean, as sums of many have in training
    change = torch.randn_like(wanted) + 1
    spoil()
    ours = [output, *torch.autograd.grad(output, [images, *layer.parameters()], change.to(output.dtype))]
    theirs = [wanted, *torch.autograd.grad(wanted, [same, *exact.parameters()], change)]
    errors = [
        (one.detach().double() - other.detach()).abs().max() / other.detach().abs().max()
        for one, other in zip(ours, theirs, strict=True)
    ]
    return float(torch.stack(errors).max())


@pytest.mark.parametrize(("side", "kernel", "stride"), SMALL_MAPS)
def test_maps_smaller_than_the_stride(side: int, kernel: int, stride: int) -> None:
    given = {"kernel_size": kernel, "stride": stride, "padding": kernel // 2}
    assert all(worst("bf16", side, batch, **given) < 0.02 for batch in (1, 3, 8))
    assert worst("fp32", side, **given) < 1e-5


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("inside", [8, 12])
def test_strided_kernels_of_a_pixel_on_maps_of_one(inside: int, layout: torch.memory_format) -> None:
    for outside, batch, stride in itertools.product([32, 64, 128, 256], [1, 2, 7, 8, 12, 16], [2, 4]):
        torch.manual_seed(0)
        layer = nn.Conv2d(inside, outside, 1, stride, bias=False).to(memory_format=layout)
        images = torch.randn(batch, inside, 1, 1).to(memory_format=layout)
        assert worst_of(layer, images, "bf16") < 0.02, (outside, batch, stride)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(24, 64, 1, (2, 1), groups=4, bias=False), (1, 24, 1, 16)),
        (nn.Conv2d(24, 24, 1, (1, 2), groups=8, bias=False), (3, 24, 16, 1)),
        (nn.Conv2d(4, 32, 1, (2, 1), groups=2, bias=False), (1, 4, 1, 13)),
        (nn.Conv2d(4, 32, 1, 2, bias=False), (5, 4, 13, 1)),
    ],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_strided_kernels_of_a_pixel_on_maps_of_a_line(
    layer: nn.Conv2d, shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    images = torch.randn(shape).to(memory_format=layout)
    with corrected():
        assert worst_of(deepcopy(layer).to(memory_format=layout), images, "fp32") < 1e-5


@pytest.mark.parametrize("dilation", [2, 3])
@pytest.mark.parametrize("side", [8, 32, 56])
def test_dilated_kernels(side: int, dilation: int) -> None:
    for groups in (1, 16):
        given = {"kernel_size": 3, "padding": dilation, "dilation": dilation, "groups": groups}
        assert all(worst("bf16", side, batch, **given) < 0.02 for batch in (2, 16))


NORMS = {
    "layer": (nn.LayerNorm(8), (20_000, 8)),
    "layer of channels": (LayerNorm2d(8), (20, 8, 32, 32)),
    "batch": (nn.BatchNorm2d(8), (20, 8, 32, 32)),
    "group": (nn.GroupNorm(2, 8), (20, 8, 32, 32)),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms_of_many_positions(name: str) -> None:
    layer, shape = NORMS[name]
    torch.manual_seed(0)
    # as a convolution leaves them
    assert worst_of(layer, torch.randn(shape).bfloat16(), "bf16") < 0.02


@pytest.mark.parametrize("outputs", [16, 24])
def test_several_outputs_a_group_and_two_strides(outputs: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(8, outputs, 3, (1, 2), groups=8).to(memory_format=torch.channels_last)
    for _ in range(3):
        assert worst_of(layer, torch.randn(1, 8, 4, 4).to(memory_format=torch.channels_last), "bf16") < 0.02


def test_what_is_right_is_left_to_the_library() -> None:
    """Bit for bit, and in bfloat16."""
    layer, images = nn.Conv2d(16, 32, 3, 2, 1), torch.randn(4, 16, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        plain = layer(images)
    with Numerics(precision="bf16").autocast(CPU):
        ours = layer(images)
    assert ours.dtype == torch.bfloat16
    assert torch.equal(plain, ours)
    assert layer(images).dtype == torch.float32, "autocast has ended"


@pytest.mark.parametrize("padding", [0, "valid", (0, 0)])
@pytest.mark.parametrize("stride", [2, (2, 3)])
def test_only_pixels_that_a_small_kernel_looks_at(stride: int | tuple[int, int], padding: int | str) -> None:
    images = torch.randn(2, 4, 9, 9, requires_grad=True)
    weight = torch.randn(6, 4, 1, 1, requires_grad=True)
    results = []
    for context in (nullcontext(), corrected()):
        with context:
            output = functional.conv2d(images, weight, None, stride, padding)
        results.append([output, *torch.autograd.grad(output.square().sum(), (images, weight))])
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert functional.conv2d is torch.conv2d, "it has ended"
    assert functional.layer_norm.__module__ == "torch.nn.functional"


WITHOUT_AVX512 = """
import torch
from torch import nn
from trainer.numerics import Numerics
torch.set_num_threads(2)
for channels in (1, 2, 4, 7):
    layer = nn.Conv2d(channels, 8, 1, 2).to(memory_format=torch.channels_last)
    images = torch.randn(32, channels, 32, 32).to(memory_format=torch.channels_last)
    for _ in range(20):
        with Numerics(precision="fp32").autocast(torch.device("cpu")):
            layer(images).square().sum().backward()
print("all right")
"""


def test_nothing_is_written_beyond_memory() -> None:
    """Without the way around it this ends in most tries with a damaged heap, or never."""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    command = [sys.executable, "-c", WITHOUT_AVX512]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "all right\n", (done.returncode, done.stderr[-500:])
