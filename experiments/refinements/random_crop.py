"""Random crop of the zero-padded image (He et al., "Deep residual learning", CVPR 2016, section 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import PositiveInt

from trainer.draws import Draws
from trainer.hooks import Batch, Hook

from ..options import Refinement

if TYPE_CHECKING:
    import torch


def shifted_crop(images: torch.Tensor, top: torch.Tensor, left: torch.Tensor, padding: int) -> torch.Tensor:
    """Pad images [B, C, H, W] by `padding` zeros on each side and cut H x W at (top, left), int64 [B] each."""
    import torch
    from torch.nn import functional

    height, width = images.shape[-2:]
    padded = functional.pad(images, (padding,) * 4)
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    cut = padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2)


class RandomCrop(Refinement):
    """Shifts each training image by up to `padding` pixels in each direction; what comes in is the mean colour."""

    kind: Literal["random_crop"] = "random_crop"

    padding: PositiveInt = 4
    """Largest shift, in pixels."""

    def build(self, num_classes: int) -> Hook:  # noqa: D102
        return _RandomCropHook(self.padding)


class _RandomCropHook(Hook):
    def __init__(self, padding: int) -> None:
        self.padding = padding

    def augment(self, batch: Batch, draws: Draws) -> Batch:
        import torch

        positions = 2 * self.padding + 1
        offsets = (draws.uniform("random crop", batch.samples, 2) * positions).astype(np.int64)
        top, left = torch.from_numpy(offsets.T.copy()).to(batch.images.device, non_blocking=True)
        return Batch(shifted_crop(batch.images, top, left, self.padding), batch.targets, batch.samples)
