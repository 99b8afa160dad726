"""Affine maps as matrices, one for each image, which the geometric refinements share. trainer.geometry composes them.

Angles, signs and the order of the parts of a map are torchvision's (transforms.v2.functional.affine).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def inverse_affine(
    degrees: NDArray[np.float64],
    *,
    translate: NDArray[np.float64] | float = 0.0,
    scale: NDArray[np.float64] | float = 1.0,
    shear: NDArray[np.float64] | float = 0.0,
    centre: tuple[float, float] = (0.0, 0.0),
) -> NDArray[np.float64]:
    """Where in the input each output pixel lies: matrices [B, 2, 3] over (x, y, 1), pixels from the image's centre.

    Forward, a map shears (degrees [B, 2], along x and y), scales ([B]) and turns (degrees [B], clockwise) about
    `centre` (x, y), then shifts by `translate` [B, 2] pixels, (x, y).
    """
    size = len(degrees)
    shear_x, shear_y = np.radians(np.broadcast_to(shear, (size, 2))).T.copy()
    angle = np.radians(degrees)
    cosine, sine = np.cos(angle - shear_y) / np.cos(shear_y), np.sin(angle - shear_y) / np.cos(shear_y)
    a, b = cosine, -cosine * np.tan(shear_x) - np.sin(angle)
    c, d = sine, -sine * np.tan(shear_x) + np.cos(angle)
    # the determinant of [[a, b], [c, d]] is 1
    linear = np.array([[d, -b], [-c, a]]).transpose(2, 0, 1) / np.broadcast_to(scale, size)[:, None, None]
    moved = np.array(centre) + np.broadcast_to(translate, (size, 2))
    offset = np.array(centre) - (linear * moved[:, None]).sum(2)
    return np.concatenate([linear, offset[:, :, None]], 2)


def rotations(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrices [B, 2, 3] of rotations about the centre by degrees [B], counter-clockwise."""
    return inverse_affine(-degrees)
