"""Random crop of the padded image (He et al., "Deep residual learning", CVPR 2016, section 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import NonNegativeInt

from trainer.draws import Draws
from trainer.geometry import Frame, Size
from trainer.hooks import Hook, Setup

from ..options import Order, Refinement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..recipe import Recipe


def crop_corners(numbers: NDArray[np.float64], stored: Size, size: Size, padding: int) -> NDArray[np.int64]:
    """Top and left of each crop [B, 2] in the padded image, all places equally likely, from uniform numbers [B, 2]."""
    places = np.array(stored) + 2 * padding - np.array(size) + 1
    corners: NDArray[np.int64] = (numbers * places).astype(np.int64)
    return corners


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
        return _RandomCropHook(self.padding, setup.image_size)


class _RandomCropHook(Hook):
    def __init__(self, padding: int, size: int) -> None:
        self.padding = padding
        self.size = (size, size)

    def place(self, frame: Frame, samples: NDArray[np.int64], draws: Draws) -> Frame:
        numbers = draws.uniform("random crop", samples, 2)
        top, left = crop_corners(numbers, frame.size, self.size, self.padding).T
        return frame.crop(top, left, self.size, padding=self.padding)
