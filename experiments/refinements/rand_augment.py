"""RandAugment (Cubuk et al., "RandAugment: Practical automated data augmentation", 2020), torchvision's operations."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from trainer.draws import Draws
from trainer.hooks import Batch, Hook, Setup
from trainer.transfer import real

from ..options import Order, Refinement
from ._operations import BINS, Strengths, drawn_operations, drawn_signs, operated

STRENGTHS = Strengths(shear=0.3, shift=150 / 331, degrees=30, factor=0.9, bits=4)


class RandAugment(Refinement):
    """Puts each training image through operations drawn uniformly, all of one magnitude, with random signs."""

    kind: Literal["rand_augment"] = "rand_augment"
    order: ClassVar[Order] = Order.POLICY

    num_ops: PositiveInt = 2
    """Operations on an image, one after the other, 1 or more (Cubuk et al. on ImageNet: 2)."""

    magnitude: int = Field(default=9, ge=0, le=BINS)
    """Strength of all operations, 0 to 30 (Cubuk et al. with ResNet-50 on ImageNet: 9)."""

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _RandAugmentHook(self.num_ops, self.magnitude, setup.mean)


class _RandAugmentHook(Hook):
    def __init__(self, num_ops: int, magnitude: int, mean: tuple[float, float, float]) -> None:
        self.num_ops = num_ops
        self.level = magnitude / BINS
        self.mean = mean

    def augment(self, batch: Batch, draws: Draws) -> Batch:
        numbers = draws.uniform("rand augment", batch.samples, 2 * self.num_ops)
        chosen = drawn_operations(numbers[:, : self.num_ops])
        signs = drawn_signs(numbers[:, self.num_ops :])
        levels = np.full(signs.shape, self.level)
        fill = real(self.mean, batch.images.device)
        return Batch(operated(batch.images, chosen, signs, levels, STRENGTHS, fill), batch.targets, batch.samples)
