"""Random rotation about the image's centre, as torchvision's RandomRotation with bilinear interpolation."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from trainer.draws import Draws
from trainer.hooks import Batch, Hook, Setup

from ..options import Order, Refinement
from ._batches import real
from ._warp import rotations, warp


class Rotation(Refinement):
    """Turns each training image by an angle uniform in +-`degrees`; what comes in from outside is the mean colour."""

    kind: Literal["rotation"] = "rotation"
    order: ClassVar[Order] = Order.WARP

    degrees: float = Field(default=15.0, gt=0.0, le=180.0)
    """Largest angle to either side, above 0 to 180 (torchvision has no default; by 15 digits stay what they are)."""

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _RotationHook(self.degrees, setup.mean)


class _RotationHook(Hook):
    def __init__(self, degrees: float, mean: tuple[float, float, float]) -> None:
        self.degrees = degrees
        self.mean = mean

    def augment(self, batch: Batch, draws: Draws) -> Batch:
        device = batch.images.device
        degrees = self.degrees * (2 * draws.uniform("rotation", batch.samples)[:, 0] - 1)
        images = warp(batch.images, real(rotations(degrees), device), real(self.mean, device))
        return Batch(images, batch.targets, batch.samples)
