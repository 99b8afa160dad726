"""Random resized crop (Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 6).

Boxes are drawn as torchvision's RandomResizedCrop draws them and resampled as its antialiased bilinear resize does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from trainer.draws import Draws
from trainer.geometry import Frame
from trainer.hooks import Hook, Setup

from ..options import Order, Refinement
from ._boxes import NUMBERS, drawn_boxes

if TYPE_CHECKING:
    from numpy.typing import NDArray


def crop_boxes(
    numbers: NDArray[np.float64], height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> NDArray[np.int64]:
    """Top, left, height and width of each image's box [B, 4], from uniform numbers [B, NUMBERS]; see drawn_boxes.

    Where none fits in height x width, the central one is taken.
    """
    drawn, fits = drawn_boxes(numbers, height, width, scale, ratio)
    return np.where(fits[:, None], drawn, central_box(height, width, ratio))


def central_box(height: int, width: int, ratio: tuple[float, float]) -> NDArray[np.int64]:
    """Top, left, height and width [4] of the largest central box whose width / height is in `ratio`, or nearest."""
    box_height, box_width = height, width
    if width / height < ratio[0]:
        box_height = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        box_width = max(1, round(height * ratio[1]))
    return np.array([(height - box_height) // 2, (width - box_width) // 2, box_height, box_width])


class RandomResizedCrop(Refinement):
    """Trains on a random box of each image, of random area and aspect ratio, resized to the image size."""

    kind: Literal["random_resized_crop"] = "random_resized_crop"
    order: ClassVar[Order] = Order.CROP

    scale: tuple[Annotated[float, Field(gt=0.0, le=1.0)], Annotated[float, Field(gt=0.0, le=1.0)]] = (0.08, 1.0)
    """Least and largest area of the box, as a share of the stored image's, above 0 to 1 (Szegedy et al.: 0.08 to 1)."""

    ratio: tuple[Annotated[float, Field(gt=0.0)], Annotated[float, Field(gt=0.0)]] = (3 / 4, 4 / 3)
    """Least and largest ratio of the box's width to its height, above 0 (Szegedy et al.: 3/4 to 4/3)."""

    @model_validator(mode="after")
    def _check_ranges(self) -> RandomResizedCrop:
        for name, (low, high) in (("scale", self.scale), ("ratio", self.ratio)):
            if low > high:
                raise ValueError(f"got {name} [{low:g}, {high:g}], expected the smaller one first")
        if self.scale[0] == self.ratio[0] == self.ratio[1] == 1.0:
            raise ValueError("got scale [1, 1] and ratio [1, 1], expected boxes that are not always the whole image")
        return self

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _RandomResizedCropHook(self.scale, self.ratio, setup.image_size)


class _RandomResizedCropHook(Hook):
    def __init__(self, scale: tuple[float, float], ratio: tuple[float, float], size: int) -> None:
        self.scale = scale
        self.ratio = ratio
        self.size = (size, size)

    def place(self, frame: Frame, samples: NDArray[np.int64], draws: Draws) -> Frame:
        numbers = draws.uniform("random resized crop", samples, NUMBERS)
        return frame.box(crop_boxes(numbers, *frame.size, self.scale, self.ratio), self.size)
