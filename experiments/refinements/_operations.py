"""The operations of RandAugment and its successors, torchvision's, each at a level of its own for every image.

Three things are not torchvision's: images are interpolated bilinearly, the fill is blended once into pixels across an
edge, and pixel values stay fractions between operations (those that work on whole levels round first).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from trainer.geometry import Frame
from trainer.resample import resample
from trainer.transfer import real

from . import _colour_ops
from ._batches import change_some, planar_copy
from ._maps import inverse_affine, rotations

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

BINS = 30
"""The greatest magnitude; a level is a magnitude / BINS."""


@dataclass(frozen=True)
class Strengths:
    """What the operations do at level 1."""

    shear: float
    """The tangent of the angle."""

    shift: float
    """A share of the image's side, or pixels (see `in_pixels`)."""

    degrees: float

    factor: float
    """By which colours are changed: 1 +- factor."""

    bits: int
    """What posterizing takes off each level's eight."""

    in_pixels: bool = False


Change = Callable[["torch.Tensor", "Numbers", "Numbers", Strengths], "torch.Tensor"]
"""(images [B, 3, H, W], signs +-1 [B], levels 0..1 [B], strengths) -> images."""

Map = Callable[["Numbers", "Numbers", Strengths, tuple[int, int]], "Numbers"]
"""(signs +-1 [B], levels 0..1 [B], strengths, (height, width)) -> matrices [B, 2, 3], see _maps.inverse_affine."""


def _shear(axis: int, signs: Numbers, levels: Numbers, strengths: Strengths, size: tuple[int, int]) -> Numbers:
    shear = np.zeros((len(signs), 2))
    shear[:, axis] = signs * [math.degrees(math.atan(strengths.shear * level)) for level in levels]
    # about the corner, as Cubuk et al. shear
    return inverse_affine(np.zeros(len(signs)), shear=shear, centre=(-size[1] / 2, -size[0] / 2))


def _translate(axis: int, signs: Numbers, levels: Numbers, strengths: Strengths, size: tuple[int, int]) -> Numbers:
    longest = strengths.shift if strengths.in_pixels else strengths.shift * size[1 - axis]
    shift = np.zeros((len(signs), 2))
    shift[:, axis] = signs * np.floor(longest * levels)
    return inverse_affine(np.zeros(len(signs)), translate=shift)


def _rotate(signs: Numbers, levels: Numbers, strengths: Strengths, size: tuple[int, int]) -> Numbers:
    return rotations(strengths.degrees * levels * signs)


def _blend(
    change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    signs: Numbers,
    levels: Numbers,
    strengths: Strengths,
) -> torch.Tensor:
    return change(images, real(1 + strengths.factor * levels * signs, images.device))


def _posterize(images: torch.Tensor, signs: Numbers, levels: Numbers, strengths: Strengths) -> torch.Tensor:
    return _colour_ops.posterize(images, real(2 ** np.rint(strengths.bits * levels), images.device))


def _solarize(images: torch.Tensor, signs: Numbers, levels: Numbers, strengths: Strengths) -> torch.Tensor:
    return _colour_ops.solarize(images, real(255 * (1 - levels), images.device))


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
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": lambda images, *_: _colour_ops.autocontrast(images),
    "equalize": lambda images, *_: _colour_ops.equalize(images),
}

OPERATIONS = ("identity", *MAPS, *CHANGES)
"""The operations that are drawn from, in torchvision's order."""


def drawn_operations(numbers: Numbers) -> NDArray[np.int64]:
    """Indices of OPERATIONS, each as likely, from uniform numbers of the same shape."""
    return (numbers * len(OPERATIONS)).astype(np.int64)


def drawn_signs(numbers: Numbers) -> Numbers:
    """+-1, each as likely, from uniform numbers of the same shape."""
    return np.where(numbers < 0.5, -1.0, 1.0)


def operated(
    images: torch.Tensor,
    chosen: NDArray[np.int64],
    signs: Numbers,
    levels: Numbers,
    strengths: Strengths,
    fill: torch.Tensor,
) -> torch.Tensor:
    """Put images [B, 3, H, W] through the operations that their rows of `chosen` name, from the left.

    chosen: indices of OPERATIONS [B, n]; signs: +-1 [B, n], for the operations that have one; levels: 0..1 [B, n].
    """
    changed = planar_copy(images)
    for own, sign, level in zip(chosen.T, signs.T, levels.T, strict=True):
        moved = np.flatnonzero(np.isin(own, [OPERATIONS.index(name) for name in MAPS]))
        change_some(changed, moved, _moved, own[moved], sign[moved], level[moved], strengths, fill)
        for name, change in CHANGES.items():
            those = np.flatnonzero(own == OPERATIONS.index(name))
            change_some(changed, those, change, sign[those], level[those], strengths)
    return changed


def _moved(
    images: torch.Tensor,
    own: NDArray[np.int64],
    signs: Numbers,
    levels: Numbers,
    strengths: Strengths,
    fill: torch.Tensor,
) -> torch.Tensor:
    """Images [B, 3, H, W] through the MAPS that `own` [B] names (indices of OPERATIONS), bilinearly as torchvision."""
    height, width = images.shape[-2:]
    inverse = np.empty((len(images), 2, 3))
    for name, matrices in MAPS.items():
        those = own == OPERATIONS.index(name)
        inverse[those] = matrices(signs[those], levels[those], strengths, (height, width))
    return resample(images, Frame.of(images).affine(inverse), fill, antialias=False)
