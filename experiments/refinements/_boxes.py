"""Boxes of images, one or more for each: drawn by area and aspect ratio, and as masks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

ATTEMPTS = 10
"""Boxes that are drawn for an image, of which the first one that fits is taken, as in torchvision."""

NUMBERS = 2 * ATTEMPTS + 2
"""Uniform numbers that an image needs for them."""


def drawn_boxes(
    numbers: NDArray[np.float64], height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Top, left, height and width of each image's box [B, 4], from uniform numbers [B, NUMBERS]; whether one fits [B].

    Of an attempt the area, as a share of the image's, is uniform in `scale`, the logarithm of width / height in
    `ratio`'s. All places are equally likely.
    """
    low, high = math.log(ratio[0]), math.log(ratio[1])
    area = height * width * (scale[0] + (scale[1] - scale[0]) * numbers[:, :ATTEMPTS])
    aspect = np.exp(low + (high - low) * numbers[:, ATTEMPTS : 2 * ATTEMPTS])
    sizes = np.rint(np.sqrt([area / aspect, area * aspect])).astype(np.int64)
    fits = (sizes > 0).all(0) & (sizes[0] <= height) & (sizes[1] <= width)
    first = np.take_along_axis(sizes, fits.argmax(1)[None, :, None], 2)[:, :, 0].T
    room = np.array([height, width]) - first + 1
    corners = (numbers[:, 2 * ATTEMPTS :] * room).astype(np.int64)
    return np.concatenate([corners, first], 1), fits.any(1)


def inside(boxes: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Which pixels are in a box, bool [..., H, W]: each box [..., 4] is its first row and column, then those behind it.

    A box may reach outside the image.
    """
    import torch

    top, left, bottom, right = boxes.unsqueeze(-1).unbind(-2)
    rows, columns = torch.arange(height, device=boxes.device), torch.arange(width, device=boxes.device)
    return ((rows >= top) & (rows < bottom))[..., :, None] & ((columns >= left) & (columns < right))[..., None, :]
