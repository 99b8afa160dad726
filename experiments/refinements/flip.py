"""Random horizontal flip (He et al., "Deep residual learning", CVPR 2016, section 3.4)."""

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


class Flip(Refinement):
    """Mirrors each training image with probability `p`."""

    kind: Literal["flip"] = "flip"
    order: ClassVar[Order] = Order.FLIP

    p: float = Field(default=0.5, ge=0.0, le=1.0)
    """Probability that an image is mirrored in an epoch."""

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _FlipHook(self.p)


class _FlipHook(Hook):
    def __init__(self, p: float) -> None:
        self.p = p

    def place(self, frame: Frame, samples: NDArray[np.int64], draws: Draws) -> Frame:
        return frame.flip(draws.uniform("flip", samples)[:, 0] < self.p)
