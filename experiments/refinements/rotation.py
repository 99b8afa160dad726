"""Random rotation about the image's centre, as torchvision's RandomRotation with bilinear interpolation.

Into pixels across an edge, torchvision blends the fill twice (see trainer.resample).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from trainer.draws import Draws
from trainer.geometry import Frame
from trainer.hooks import Hook, Setup

from ..options import Order, Refinement
from ._maps import rotations

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Rotation(Refinement):
    """Turns each training image by an angle uniform in +-`degrees`; what comes in from outside is the mean colour."""

    kind: Literal["rotation"] = "rotation"
    order: ClassVar[Order] = Order.WARP

    degrees: float = Field(default=15.0, gt=0.0, le=180.0)
    """Largest angle to either side, above 0 to 180 (torchvision has no default; by 15, digits stay recognisable)."""

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _RotationHook(self.degrees)


class _RotationHook(Hook):
    def __init__(self, degrees: float) -> None:
        self.degrees = degrees

    def place(self, frame: Frame, samples: NDArray[np.int64], draws: Draws) -> Frame:
        degrees = self.degrees * (2 * draws.uniform("rotation", samples)[:, 0] - 1)
        return frame.affine(rotations(degrees))
