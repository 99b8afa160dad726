"""Random horizontal flip (He et al., "Deep residual learning", CVPR 2016, section 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from trainer.draws import Draws
from trainer.hooks import Batch, Hook, Setup

from ..options import Order, Refinement
from ._batches import on_device

if TYPE_CHECKING:
    import torch


def flip(images: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Mirror the chosen (bool [B]) of images [B, C, H, W] left to right."""
    return images.flip(-1).where(chosen.view(-1, 1, 1, 1), images)


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

    def augment(self, batch: Batch, draws: Draws) -> Batch:
        chosen = on_device(draws.uniform("flip", batch.samples)[:, 0] < self.p, batch.images.device)
        return Batch(flip(batch.images, chosen), batch.targets, batch.samples)
