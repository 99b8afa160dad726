"""Random affine map about the image's centre, as torchvision's RandomAffine with bilinear interpolation.

Where a map brings pixels together (a scale below 1; a shear, in one direction) torchvision skips some; here they are
averaged (trainer.resample), so that fine patterns fade instead of turning into coarse ones. Into pixels across an edge,
torchvision blends the fill twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from trainer.draws import Draws
from trainer.geometry import Frame, shrinkage
from trainer.hooks import Hook, Setup

from ..options import Order, Refinement
from ._maps import inverse_affine

if TYPE_CHECKING:
    from numpy.typing import NDArray

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Factor = Annotated[float, Field(gt=0.0)]
Slant = Annotated[float, Field(ge=0.0, lt=90.0)]

MOST = 16
"""The most pixels that may be brought into one along a line: trainer.resample reads the square of that for each."""


class Affine(Refinement):
    """Turns, shifts, scales and shears each training image at random; what comes in from outside is the mean colour."""

    kind: Literal["affine"] = "affine"
    order: ClassVar[Order] = Order.WARP

    degrees: float = Field(default=0.0, ge=0.0, le=180.0)
    """Largest angle to either side, 0 to 180; 0 (default): none is turned."""

    translate: tuple[Fraction, Fraction] = (0.0, 0.0)
    """Largest shift along x and y, to either side, as fractions of the image, 0 to 1; whole pixels are drawn."""

    scale: tuple[Factor, Factor] = (1.0, 1.0)
    """Least and largest factor of the size, above 0; 1 and 1 (default): none is scaled."""

    shear: tuple[Slant, Slant] = (0.0, 0.0)
    """Largest slant along x and y, to either side, in degrees, 0 to below 90 (torchvision's `shear=s` is [s, 0])."""

    @model_validator(mode="after")
    def _check_ranges(self) -> Affine:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"got scale [{self.scale[0]:g}, {self.scale[1]:g}], expected the smaller one first")
        if self.degrees == 0 and not any(self.translate) and not any(self.shear) and self.scale == (1.0, 1.0):
            raise ValueError("nothing is changed; expected at least one of degrees, translate, scale, shear")
        if not (densest := self._densest()) <= MOST:
            raise ValueError(
                f"got a scale and shear that bring up to {densest:.3g} pixels into one along a line, expected at most "
                f"{MOST}: all of them are averaged"
            )
        return self

    def _densest(self) -> float:
        """The most pixels that a map brings into one along a line: one of least scale and largest slant, either way."""
        corners = [[0.5, 0.5, 0.5, 0.0, x, y] for x in (0.0, 1.0) for y in (0.0, 1.0)]
        return float(shrinkage(self.matrices(np.array(corners), 1, 1)).max())

    def matrices(self, numbers: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
        """The maps [B, 2, 3] that uniform numbers [B, 6] stand for; see _maps.inverse_affine."""
        sides = 2 * numbers - 1
        return inverse_affine(
            self.degrees * sides[:, 0],
            translate=np.rint(np.array(self.translate) * (width, height) * sides[:, 1:3]),
            scale=self.scale[0] + (self.scale[1] - self.scale[0]) * numbers[:, 3],
            shear=np.array(self.shear) * sides[:, 4:6],
        )

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _AffineHook(self)


class _AffineHook(Hook):
    def __init__(self, settings: Affine) -> None:
        self.settings = settings

    def place(self, frame: Frame, samples: NDArray[np.int64], draws: Draws) -> Frame:
        return frame.affine(self.settings.matrices(draws.uniform("affine", samples, 6), *frame.size))
