"""Random crop of the padded image (He et al., "Deep residual learning", CVPR 2016, section 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import NonNegativeInt

from trainer.draws import Draws
from trainer.hooks import Batch, Hook, Setup

from ..options import Order, Refinement
from ._batches import on_device, real

if TYPE_CHECKING:
    import torch

    from ..recipe import Recipe


def shifted_crop(
    images: torch.Tensor, top: torch.Tensor, left: torch.Tensor, *, size: int, padding: int, fill: torch.Tensor
) -> torch.Tensor:
    """Put `padding` pixels of the colour fill [3] around images [B, 3, H, W] and cut size x size at (top, left).

    top, left: int64 [B], counted in the padded image.
    """
    import torch

    height, width = images.shape[-2:]
    padded = images
    if padding > 0:
        padded = fill.view(-1, 1, 1).repeat(len(images), 1, height + 2 * padding, width + 2 * padding)
        padded[..., padding : padding + height, padding : padding + width] = images
    along = torch.arange(size, device=images.device)
    rows, columns = top[:, None] + along, left[:, None] + along
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    cut = padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2)


class RandomCrop(Refinement):
    """Cuts each training image at a random place; what comes in from outside the stored image is the mean colour."""

    kind: Literal["random_crop"] = "random_crop"
    order: ClassVar[Order] = Order.CROP

    padding: NonNegativeInt = 4
    """Pixels put around the stored image before the cut, 0 or more (He et al. on CIFAR-10: 4)."""

    def check(self, recipe: Recipe) -> None:  # noqa: D102
        size = recipe.dataset.image_size
        if self.padding == 0 and recipe.dataset.stored_size in (None, size):
            raise ValueError(
                f"got padding 0 for images stored at their image_size, {size}, where there is only one place to cut; "
                "expected a padding of at least 1, or a larger dataset.stored_size"
            )

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _RandomCropHook(self.padding, setup.image_size, setup.mean)


class _RandomCropHook(Hook):
    def __init__(self, padding: int, size: int, mean: tuple[float, float, float]) -> None:
        self.padding = padding
        self.size = size
        self.mean = mean

    def augment(self, batch: Batch, draws: Draws) -> Batch:
        device = batch.images.device
        places = np.array(batch.images.shape[-2:]) + 2 * self.padding - self.size + 1
        corners = (draws.uniform("random crop", batch.samples, 2) * places).astype(np.int64)
        images = shifted_crop(
            batch.images,
            on_device(corners[:, 0], device),
            on_device(corners[:, 1], device),
            size=self.size,
            padding=self.padding,
            fill=real(self.mean, device),
        )
        return Batch(images, batch.targets, batch.samples)
