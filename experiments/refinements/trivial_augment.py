"""TrivialAugment (Müller & Hutter, "TrivialAugment: tuning-free yet state-of-the-art data augmentation", ICCV 2021)."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from trainer.draws import Draws
from trainer.hooks import Batch, Hook, Setup
from trainer.transfer import real

from ..options import Order, Refinement
from ._operations import BINS, Strengths, drawn_operations, drawn_signs, operated

WIDE = Strengths(shear=0.99, shift=32, in_pixels=True, degrees=135, factor=0.99, bits=6)
"""The paper's wide space, as torchvision's TrivialAugmentWide."""


class TrivialAugment(Refinement):
    """Puts each training image through one operation drawn uniformly, of a random magnitude and sign."""

    kind: Literal["trivial_augment"] = "trivial_augment"
    order: ClassVar[Order] = Order.POLICY

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _TrivialAugmentHook(setup.mean)


class _TrivialAugmentHook(Hook):
    def __init__(self, mean: tuple[float, float, float]) -> None:
        self.mean = mean

    def augment(self, batch: Batch, draws: Draws) -> Batch:
        numbers = draws.uniform("trivial augment", batch.samples, 3)
        chosen, signs = drawn_operations(numbers[:, :1]), drawn_signs(numbers[:, 1:2])
        # whole magnitudes, 0 to 30
        levels = np.floor(numbers[:, 2:] * (BINS + 1)) / BINS
        fill = real(self.mean, batch.images.device)
        return Batch(operated(batch.images, chosen, signs, levels, WIDE, fill), batch.targets, batch.samples)
