"""Random brightness, contrast, saturation and hue in random order, as torchvision's ColorJitter."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from trainer.draws import Draws
from trainer.hooks import Batch, Hook, Setup
from trainer.transfer import real

from ..options import Order, Refinement
from . import _colour_ops
from ._batches import change_some, planar_copy

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

OPERATIONS = (_colour_ops.brightness, _colour_ops.contrast, _colour_ops.saturation, _colour_ops.hue)


def color_jitter(images: torch.Tensor, factors: NDArray[np.float64], order: NDArray[np.int64]) -> torch.Tensor:
    """Put images [B, 3, H, W] through the OPERATIONS that their rows of `order` name, from the left.

    factors: one for each operation [B, 4]; order: indices of OPERATIONS [B, n].
    """
    changed = planar_copy(images)
    for place in order.T:
        for index, operation in enumerate(OPERATIONS):
            chosen = np.flatnonzero(place == index)
            change_some(changed, chosen, operation, real(factors[chosen, index], images.device))
    return changed


class ColorJitter(Refinement):
    """Changes each training image's colours by random factors, in a random order."""

    kind: Literal["color_jitter"] = "color_jitter"
    order: ClassVar[Order] = Order.COLOUR

    brightness: float = Field(default=0.0, ge=0.0)
    """b: the factor is uniform in max(0, 1 - b) to 1 + b, and 0 is black; b = 0 (torchvision's default): no change."""

    contrast: float = Field(default=0.0, ge=0.0)
    """Likewise, with a factor between the mean grey (0) and the image (1)."""

    saturation: float = Field(default=0.0, ge=0.0)
    """Likewise, with a factor between the image in grey (0) and the image (1)."""

    hue: float = Field(default=0.0, ge=0.0, le=0.5)
    """Largest turn of the hue to either side, in full turns, 0 to 0.5; 0 (torchvision's default): no change."""

    @model_validator(mode="after")
    def _changes_something(self) -> ColorJitter:
        if not any(self.strengths()):
            raise ValueError("nothing is changed; expected at least one of brightness, contrast, saturation, hue")
        return self

    def strengths(self) -> tuple[float, float, float, float]:
        """The settings in the order of OPERATIONS."""
        return self.brightness, self.contrast, self.saturation, self.hue

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _ColorJitterHook(self.strengths())


class _ColorJitterHook(Hook):
    def __init__(self, strengths: tuple[float, float, float, float]) -> None:
        self.used = np.flatnonzero(strengths)
        by = np.array(strengths)
        self.low = np.append(np.maximum(0, 1 - by[:3]), -by[3])
        self.high = np.append(1 + by[:3], by[3])

    def augment(self, batch: Batch, draws: Draws) -> Batch:
        numbers = draws.uniform("color jitter", batch.samples, 8)
        factors = self.low + (self.high - self.low) * numbers[:, :4]
        order = self.used[numbers[:, 4:][:, self.used].argsort(1)]
        return Batch(color_jitter(batch.images, factors, order), batch.targets, batch.samples)
