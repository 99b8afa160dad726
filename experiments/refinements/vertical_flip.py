"""Random vertical flip, as torchvision's RandomVerticalFlip: for images without an upside (cells, aerial views)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from trainer.draws import Draws
from trainer.hooks import Batch, Hook, Setup

from ..options import Order, Refinement
from ._batches import on_device, per_image

if TYPE_CHECKING:
    import torch


def vertical_flip(images: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Turn the chosen (bool [B]) of images [B, C, H, W] upside down, as a mirror below them does."""
    return images.flip(-2).where(per_image(chosen), images)


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

    def augment(self, batch: Batch, draws: Draws) -> Batch:
        chosen = draws.uniform("vertical flip", batch.samples)[:, 0] < self.p
        images = vertical_flip(batch.images, on_device(chosen, batch.images.device))
        return Batch(images, batch.targets, batch.samples)
