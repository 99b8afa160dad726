"""RandAugment (Cubuk et al., "RandAugment: Practical automated data augmentation", 2020), torchvision's operations.

Two things are not torchvision's: images are interpolated bilinearly, and pixel values stay fractions between operations
(those that work on whole levels round first).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from trainer.draws import Draws
from trainer.geometry import Frame
from trainer.hooks import Batch, Hook, Setup
from trainer.resample import resample
from trainer.transfer import real

from ..options import Order, Refinement
from . import _colour_ops
from ._batches import change_some, planar_copy
from ._maps import inverse_affine, rotations

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

BINS = 30
"""The greatest magnitude."""

Change = Callable[["torch.Tensor", "NDArray[np.float64]", float], "torch.Tensor"]
"""(images [B, 3, H, W], signs +-1 [B], magnitude / BINS) -> images."""

Map = Callable[["NDArray[np.float64]", float, int, int], "NDArray[np.float64]"]
"""(signs +-1 [B], magnitude / BINS, height, width) -> inverse matrices [B, 2, 3], see _maps.inverse_affine."""


def _shear(axis: int, signs: NDArray[np.float64], level: float, height: int, width: int) -> NDArray[np.float64]:
    shear = np.zeros((len(signs), 2))
    shear[:, axis] = signs * math.degrees(math.atan(0.3 * level))
    # about the corner, as Cubuk et al. shear
    return inverse_affine(np.zeros(len(signs)), shear=shear, centre=(-width / 2, -height / 2))


def _translate(axis: int, signs: NDArray[np.float64], level: float, height: int, width: int) -> NDArray[np.float64]:
    shift = np.zeros((len(signs), 2))
    shift[:, axis] = signs * int(150 / 331 * (width, height)[axis] * level)
    return inverse_affine(np.zeros(len(signs)), translate=shift)


def _rotate(signs: NDArray[np.float64], level: float, height: int, width: int) -> NDArray[np.float64]:
    return rotations(30 * level * signs)


def _blend(
    change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    signs: NDArray[np.float64],
    level: float,
) -> torch.Tensor:
    return change(images, real(1 + 0.9 * level * signs, images.device))


MAPS: dict[str, Map] = {
    "shear_x": partial(_shear, 0),
    "shear_y": partial(_shear, 1),
    "translate_x": partial(_translate, 0),
    "translate_y": partial(_translate, 1),
    "rotate": _rotate,
}

CHANGES: dict[str, Change] = {
    "brightness": partial(_blend, _colour_ops.brightness),
    "color": partial(_blend, _colour_ops.saturation),
    "contrast": partial(_blend, _colour_ops.contrast),
    "sharpness": partial(_blend, _colour_ops.sharpness),
    "posterize": lambda images, signs, level: _colour_ops.posterize(images, 8 - round(4 * level)),
    "solarize": lambda images, signs, level: _colour_ops.solarize(images, 255 * (1 - level)),
    "autocontrast": lambda images, signs, level: _colour_ops.autocontrast(images),
    "equalize": lambda images, signs, level: _colour_ops.equalize(images),
}

OPERATIONS = ("identity", *MAPS, *CHANGES)
"""The operations that are drawn from, in torchvision's order."""


def rand_augment(
    images: torch.Tensor,
    chosen: NDArray[np.int64],
    signs: NDArray[np.float64],
    magnitude: int,
    fill: torch.Tensor,
) -> torch.Tensor:
    """Put images [B, 3, H, W] through the operations that their rows of `chosen` name, from the left.

    chosen: indices of OPERATIONS [B, n]; signs: +-1 [B, n], for the operations that have one.
    """
    changed, level = planar_copy(images), magnitude / BINS
    for own, sign in zip(chosen.T, signs.T, strict=True):
        moved = np.flatnonzero(np.isin(own, [OPERATIONS.index(name) for name in MAPS]))
        change_some(changed, moved, _moved, own[moved], sign[moved], level, fill)
        for name, change in CHANGES.items():
            those = np.flatnonzero(own == OPERATIONS.index(name))
            change_some(changed, those, change, sign[those], level)
    return changed


def _moved(
    images: torch.Tensor, own: NDArray[np.int64], signs: NDArray[np.float64], level: float, fill: torch.Tensor
) -> torch.Tensor:
    """Images [B, 3, H, W] through the MAPS that `own` [B] names (indices of OPERATIONS), bilinearly as torchvision."""
    height, width = images.shape[-2:]
    inverse = np.empty((len(images), 2, 3))
    for name, matrices in MAPS.items():
        those = own == OPERATIONS.index(name)
        inverse[those] = matrices(signs[those], level, height, width)
    return resample(images, Frame.of(images).affine(inverse), fill, antialias=False)


class RandAugment(Refinement):
    """Puts each training image through operations drawn uniformly, all of one magnitude, with random signs."""

    kind: Literal["rand_augment"] = "rand_augment"
    order: ClassVar[Order] = Order.POLICY

    num_ops: PositiveInt = 2
    """Operations on an image, one after the other, 1 or more (Cubuk et al. on ImageNet: 2)."""

    magnitude: int = Field(default=9, ge=0, le=BINS)
    """Strength of all operations, 0 to 30 (Cubuk et al. with ResNet-50 on ImageNet: 9)."""

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _RandAugmentHook(self.num_ops, self.magnitude, setup.mean)


class _RandAugmentHook(Hook):
    def __init__(self, num_ops: int, magnitude: int, mean: tuple[float, float, float]) -> None:
        self.num_ops = num_ops
        self.magnitude = magnitude
        self.mean = mean

    def augment(self, batch: Batch, draws: Draws) -> Batch:
        numbers = draws.uniform("rand augment", batch.samples, 2 * self.num_ops)
        chosen = (numbers[:, : self.num_ops] * len(OPERATIONS)).astype(np.int64)
        signs = np.where(numbers[:, self.num_ops :] < 0.5, -1.0, 1.0)
        images = rand_augment(batch.images, chosen, signs, self.magnitude, real(self.mean, batch.images.device))
        return Batch(images, batch.targets, batch.samples)
