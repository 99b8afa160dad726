"""Makes the images that a Frame describes: each pixel is interpolated at most once, on the images' device, bilinearly.

Shifts by whole pixels copy them. A resized box is antialiased as by torchvision's resized_crop. Any other map gives
what torchvision's affine and rotate do, but for pixels across an edge, into which torchvision blends the fill twice;
where it shrinks, each pixel is the mean of several places in it. How a sample is treated depends on the recipe and its
own map, never on the samples beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from .geometry import Frame, Kind, Stage, composed, shrinkage
from .transfer import on_device, real

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

ROUNDING = 1e-6
"""A shrinkage that exceeds a whole number by no more than this counts as that number."""


def resample(images: torch.Tensor, frame: Frame, fill: torch.Tensor, *, antialias: bool = True) -> torch.Tensor:
    """Images [B, C, H, W] (uint8 or float32) through `frame`, float32 [B, C, h, w]; outside is the colour `fill` [C].

    antialias: False reads only one place per pixel where a map turns or shears.
    """
    import torch

    for i, stage in enumerate(frame.stages):
        if stage.kind <= Kind.WHOLE:
            images = _moved(images, stage, fill)
        elif stage.kind == Kind.SCALED and all(later.kind <= Kind.WHOLE for later in frame.stages[i + 1 :]):
            images = _resized(images, stage)
        else:
            return _warped(images, frame.stages[i:], fill, antialias)
    return images.to(torch.float32)


def _moved(images: torch.Tensor, stage: Stage, fill: torch.Tensor) -> torch.Tensor:
    """Copy whole pixels, by their number in the batch; what is outside gets one more pixel, of the fill colour."""
    import torch

    height, width = stage.read
    count = len(images) * height * width
    (columns, beside), (rows, above) = (_numbers(stage, axis, images.device) for axis in (0, 1))
    begins = (torch.arange(len(images), device=images.device)[:, None] * height + rows) * width
    pixels = images.permute(0, 2, 3, 1).reshape(count, -1)
    if beside or above:
        begins = begins.where((rows >= 0) & (rows < height), count)
        columns = columns.where((columns >= 0) & (columns < width), count)
        filled = fill.new_empty(count + 1, len(fill))
        filled[:count] = pixels
        filled[count] = fill
        pixels = filled
    index = (begins[:, :, None] + columns[:, None]).clamp_(max=count)
    return pixels.index_select(0, index.view(-1)).view(*index.shape, -1).permute(0, 3, 1, 2)


def _numbers(stage: Stage, axis: int, device: torch.device) -> tuple[torch.Tensor, bool]:
    """The columns (axis 0) or rows (1) that are read, int64 [B, w or h], and whether any is outside the image."""
    import torch

    made, read = stage.size[1 - axis], stage.read[1 - axis]
    step = stage.inverse[:, axis, axis]
    ends = stage.inverse[:, axis, 2] + (read - 1) / 2 + step * (made - 1) / 2 * np.array([[-1], [1]])
    first, by = (on_device(np.rint(values).astype(np.int64), device)[:, None] for values in (ends[0], step))
    outside = bool((ends < 0).any() or (ends > read - 1).any())
    return first + by * torch.arange(made, device=device), outside


def _resized(images: torch.Tensor, stage: Stage) -> torch.Tensor:
    """Resize by float32 matrix products; on CUDA, `numerics.tf32` rounds them by up to about 0.2 of 255 levels."""
    import torch

    columns, rows = (interpolation(stage, axis, images.device) for axis in (0, 1))
    planes = images.to(torch.float32, memory_format=torch.contiguous_format)
    # all channels at once: a product for each image, not for each plane
    narrowed = planes.flatten(1, 2) @ columns.mT
    return rows[:, None] @ narrowed.view(*planes.shape[:3], -1)


def interpolation(stage: Stage, axis: int, device: torch.device) -> torch.Tensor:
    """Weights [B, made, read] of the columns (axis 0) or rows (1) that a stage of a resized box reads, float32.

    Antialiased bilinear: the weights of a pixel that is made form a triangle about the place that it comes from. To
    each side, this reaches one pixel that is read or, where the map shrinks, one that is made. Only pixels inside the
    box count.
    """
    import torch

    assert stage.box is not None
    made, read = stage.size[1 - axis], stage.read[1 - axis]
    scale, offset = stage.inverse[:, axis, axis], stage.inverse[:, axis, 2]
    slope = 1 / np.maximum(np.abs(scale), 1)
    numbers = real(np.stack([scale, offset, slope, *stage.box[:, :, axis].T]), device)
    scales, offsets, slopes, least, most = numbers[:, :, None, None]
    place = torch.arange(read, device=device) - (read - 1) / 2
    centre = scales * (torch.arange(made, device=device) - (made - 1) / 2)[:, None] + offsets
    weights: torch.Tensor = (1 - (place - centre).abs_().mul_(slopes)).clamp_(min=0)
    weights = weights.mul_((place > least) & (place < most))
    return weights.div_(weights.sum(-1, keepdim=True))


def places(shrinkage: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where a map that shrinks to 1 / `shrinkage` [B] reads in each pixel: k [B] places a side, and their distance [B].

    k is the shrinkage rounded up, 1 where nothing shrinks. The distance, in pixels that are made, is 1 / k where the
    shrinkage is k, and goes to 0 where that goes to 1, so that the slightest shrinking does not blur: the variance of
    the places is that of a pixel that is made less that of one that is read, over which interpolation spreads anyway.
    """
    side = np.ceil(shrinkage - ROUNDING).clip(1)
    variance = np.where(side > 1, 1 - shrinkage**-2.0, 0.0)
    return side, np.sqrt(variance / np.maximum(side**2 - 1, 1))


def _warped(images: torch.Tensor, stages: Sequence[Stage], fill: torch.Tensor, antialias: bool) -> torch.Tensor:
    """Resample through all stages at once; samples that need the same number of places are done together."""
    inverse = stages[0].inverse
    for stage in stages[1:]:
        inverse = composed(inverse, stage.inverse)
    side, distance = places(shrinkage(inverse) if antialias else np.ones(len(images)))
    sides = np.unique(side)
    if len(sides) == 1:
        return _averaged(images, stages, fill, int(sides[0]), distance)
    warped = fill.new_empty(len(images), len(fill), *stages[-1].size)
    for own in sides:
        chosen = np.flatnonzero(side == own)
        index = on_device(chosen, images.device)
        theirs = [stage.of(chosen) for stage in stages]
        some = images.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)
        part = _averaged(some, theirs, fill, int(own), distance[chosen])
        warped.index_copy_(0, index, part)
    return warped


def _averaged(
    images: torch.Tensor, stages: Sequence[Stage], fill: torch.Tensor, side: int, distance: NDArray[np.float64]
) -> torch.Tensor:
    """The mean over side x side places in each pixel, `distance` [B] apart."""
    # grid_sample reads zeros around the image: less the fill colour, edges blend into the fill as they should
    background = fill.view(-1, 1, 1)
    pixels = images - background
    looks = [_Look(stage, images.device) for stage in stages]
    shifts = [real(distance * (i - (side - 1) / 2), images.device).view(-1, 1, 1) for i in range(side)]
    first, *others = product(shifts, shifts)
    total = _interpolated(pixels, looks, *first)
    for shift in others:
        total.add_(_interpolated(pixels, looks, *shift))
    return (total.div_(side**2) if others else total).add_(background)


class _Look:
    """A stage on the device: from a position in the image that is made to the one in the image that is read."""

    def __init__(self, stage: Stage, device: torch.device) -> None:
        self.stage = stage
        self.inverse = real(stage.inverse, device)[..., None, None]
        self.box = None if stage.box is None else real(stage.box, device)[..., None, None].unbind(1)

    def back(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Where (x, y) of the image that is made come from; their shapes broadcast to [B, h, w]."""
        (a, b, c), (d, e, f) = (row.unbind(1) for row in self.inverse.unbind(1))
        if self.stage.kind < Kind.GENERAL:
            return (a * x).add_(c), (e * y).add_(f)
        return (a * x).add_(c) + b * y, (d * x).add_(f) + e * y


def _interpolated(
    pixels: torch.Tensor, looks: Sequence[_Look], shift_x: torch.Tensor, shift_y: torch.Tensor
) -> torch.Tensor:
    """Pixels [B, C, H, W], zeros around them, read bilinearly at `shift` [B, 1, 1] beside each new pixel's centre."""
    import torch
    from torch.nn import functional

    height, width = looks[-1].stage.size
    x = torch.arange(width, device=pixels.device) - (width - 1) / 2 + shift_x
    y = (torch.arange(height, device=pixels.device) - (height - 1) / 2)[:, None] + shift_y
    covered = None
    for look in reversed(looks):
        x, y = look.back(x, y)
        if look.box is not None:
            # a resized box shows its outermost pixels up to its edge
            (least_x, least_y), (most_x, most_y) = (edges.unbind(1) for edges in look.box)
            x, y = x.clamp_(least_x + 0.5, most_x - 0.5), y.clamp_(least_y + 0.5, most_y - 0.5)
        elif look is not looks[0]:
            # what an image that is made in between would give: its outermost pixels, blending into zeros around it
            read_height, read_width = look.stage.read
            here = _covered(x, read_width) * _covered(y, read_height)
            covered = here if covered is None else covered.mul_(here)
            x = x.clamp_(-(read_width - 1) / 2, (read_width - 1) / 2)
            y = y.clamp_(-(read_height - 1) / 2, (read_height - 1) / 2)
    # grid_sample counts from -1 to 1
    grid = x.new_empty(len(x), height, width, 2)
    torch.mul(x.expand(-1, height, -1), 2 / pixels.shape[3], out=grid[..., 0])
    torch.mul(y.expand(-1, -1, width), 2 / pixels.shape[2], out=grid[..., 1])
    sampled = functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled if covered is None else sampled.mul_(covered[:, None])


def _covered(place: torch.Tensor, length: int) -> torch.Tensor:
    """The part, 0 to 1, that bilinear interpolation at `place` takes from inside `length` pixels."""
    return (length / 2 + 0.5 - place.abs()).clamp_(0, 1)
