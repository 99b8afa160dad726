"""Random erasing (Zhong et al., "Random erasing data augmentation", AAAI 2020, algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from trainer.draws import Draws
from trainer.hooks import Batch, Hook, Setup
from trainer.transfer import on_device, real

from ..options import Order, Refinement
from ._boxes import NUMBERS, drawn_boxes, inside

if TYPE_CHECKING:
    import torch

Share = Annotated[float, Field(gt=0.0, le=1.0)]
Ratio = Annotated[float, Field(gt=0.0)]


def erase(images: torch.Tensor, boxes: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
    """Fill a box of each image [B, 3, H, W] with a colour [B, 3] of its own, or with one for all [1, 3].

    boxes int64 [B, 4]: the first row and column inside and the first ones behind; an empty one erases nothing.
    """
    covered = inside(boxes, *images.shape[-2:])
    return fill[:, :, None, None].where(covered[:, None], images)


class RandomErasing(Refinement):
    """Fills a box of a training image, of random area, aspect ratio and place, with one colour."""

    kind: Literal["random_erasing"] = "random_erasing"
    order: ClassVar[Order] = Order.ERASE

    p: float = Field(default=0.5, gt=0.0, le=1.0)
    """Probability that an image gets a box (Zhong et al.: 0.5)."""

    scale: tuple[Share, Share] = (0.02, 0.4)
    """Least and largest area of the box, as a share of the image's (Zhong et al.: 0.02 to 0.4)."""

    ratio: tuple[Ratio, Ratio] = (0.3, 3.3)
    """Least and largest ratio of its width to its height; its logarithm is uniform, as in torchvision."""

    fill: Literal["mean", "random"] = "mean"
    """The mean colour, or for each box a colour uniform in 0..255 (Zhong et al.: for each pixel, RE-R)."""

    @model_validator(mode="after")
    def _check_ranges(self) -> RandomErasing:
        for name, (low, high) in (("scale", self.scale), ("ratio", self.ratio)):
            if low > high:
                raise ValueError(f"got {name} [{low:g}, {high:g}], expected the smaller one first")
        return self

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _RandomErasingHook(self, setup.mean)


class _RandomErasingHook(Hook):
    def __init__(self, settings: RandomErasing, mean: tuple[float, float, float]) -> None:
        self.settings = settings
        self.mean = mean

    def augment(self, batch: Batch, draws: Draws) -> Batch:
        own, device = self.settings, batch.images.device
        numbers = draws.uniform("random erasing", batch.samples, NUMBERS + 4)
        height, width = batch.images.shape[-2:]
        boxes, fits = drawn_boxes(numbers[:, :NUMBERS], height, width, own.scale, own.ratio)
        corners, sides = boxes[:, :2], boxes[:, 2:]
        # an image where no box fits stays as well
        sides = np.where((fits & (numbers[:, NUMBERS] < own.p))[:, None], sides, 0)
        fill = 255 * numbers[:, NUMBERS + 1 :] if own.fill == "random" else np.array([self.mean])
        ends = np.concatenate([corners, corners + sides], 1)
        images = erase(batch.images, on_device(ends, device), real(fill, device))
        return Batch(images, batch.targets, batch.samples)
