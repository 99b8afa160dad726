"""Cutout (DeVries & Taylor, "Improved regularization of convolutional neural networks with cutout", 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from trainer.draws import Draws
from trainer.hooks import Batch, Hook, Setup
from trainer.transfer import on_device, real

from ..options import Order, Refinement
from ._boxes import inside

if TYPE_CHECKING:
    import torch

    from ..recipe import Recipe


def cutout(
    images: torch.Tensor, top: torch.Tensor, left: torch.Tensor, length: int, fill: torch.Tensor
) -> torch.Tensor:
    """Fill squares of `length` pixels in images [B, 3, H, W] with the colour fill [3].

    top, left: the squares' corners, int64 [B, holes]; a square may reach outside the image.
    """
    import torch

    squares = inside(torch.stack([top, left, top + length, left + length], -1), *images.shape[-2:])
    return fill.view(-1, 1, 1).where(squares.any(1)[:, None], images)


class Cutout(Refinement):
    """Fills squares of each training image, at random places, with the mean colour."""

    kind: Literal["cutout"] = "cutout"
    order: ClassVar[Order] = Order.ERASE

    holes: PositiveInt = 1
    """Squares in an image, 1 or more (DeVries & Taylor: 1); they may overlap."""

    length: PositiveInt = 16
    """Side of a square in pixels, 1 to the image size; its centre is any pixel, so that the border may clip it.

    DeVries & Taylor: 16 for CIFAR-10, 8 for CIFAR-100, 20 for SVHN, all 32 pixels wide.
    """

    def check(self, recipe: Recipe) -> None:  # noqa: D102
        size = recipe.dataset.image_size
        if self.length > size:
            raise ValueError(f"got length {self.length}, expected at most the image_size, {size}")

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _CutoutHook(self.holes, self.length, setup.mean)


class _CutoutHook(Hook):
    def __init__(self, holes: int, length: int, mean: tuple[float, float, float]) -> None:
        self.holes = holes
        self.length = length
        self.mean = mean

    def augment(self, batch: Batch, draws: Draws) -> Batch:
        device = batch.images.device
        numbers = draws.uniform("cutout", batch.samples, 2 * self.holes).reshape(-1, self.holes, 2)
        corners = (numbers * batch.images.shape[-2:]).astype(np.int64) - self.length // 2
        top, left = on_device(corners[..., 0], device), on_device(corners[..., 1], device)
        images = cutout(batch.images, top, left, self.length, real(self.mean, device))
        return Batch(images, batch.targets, batch.samples)
