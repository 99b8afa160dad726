"""Random vertical flip, as torchvision's RandomVerticalFlip: for images that have no top (cells, aerial views)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from trainer.draws import Draws
from trainer.geometry import Frame
from trainer.hooks import Hook, Setup

from ..options import Order, Refinement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class VerticalFlip(Refinement):
    """Mirrors each training image top to bottom with probability `p`."""

    kind: Literal["vertical_flip"] = "vertical_flip"
    order: ClassVar[Order] = Order.FLIP

    p: float = Field(default=0.5, ge=0.0, le=1.0)
    """Probability that an image is mirrored in an epoch, 0 to 1 (torchvision's default: 0.5)."""

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _VerticalFlipHook(self.p)


class _VerticalFlipHook(Hook):
    def __init__(self, p: float) -> None:
        self.p = p

    def place(self, frame: Frame, samples: NDArray[np.int64], draws: Draws) -> Frame:
        return frame.flip(draws.uniform("vertical flip", samples)[:, 0] < self.p, vertical=True)
