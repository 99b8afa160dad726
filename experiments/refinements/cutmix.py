"""CutMix (Yun et al., "CutMix: Regularization strategy to train strong classifiers with localizable features").

ICCV 2019, section 3.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from trainer.draws import Draws
from trainer.hooks import Batch, Hook, Setup
from trainer.transfer import on_device

from ..options import Refinement
from ._boxes import inside
from ._pairs import as_probabilities, check_batch_size, mixed_targets, mixing_weights, partners

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from ..recipe import Recipe


def cutmix(
    images: torch.Tensor, probabilities: torch.Tensor, partner: torch.Tensor, boxes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Paste a box of each example's partner over its own pixels; targets mix by the areas (equation 1).

    images [B, C, H, W], probabilities [B, K], partner int64 [B] (indices into the batch), boxes int64 [B, 4]: the first
    row and column inside and the first ones behind, 0 <= top <= bottom <= H and 0 <= left <= right <= W.
    """
    height, width = images.shape[-2:]
    top, left, bottom, right = boxes.unbind(1)
    box = inside(boxes, height, width)[:, None]
    pasted = ((bottom - top) * (right - left)).float() / (height * width)
    return images[partner].where(box, images), mixed_targets(probabilities, partner, 1 - pasted)


def cut_boxes(
    draws: Draws, samples: NDArray[np.int64], alpha: float, p: float, height: int, width: int
) -> NDArray[np.int64]:
    """Each sample's box, int64 [B, 4] as `cutmix` takes them (equation 2); empty for those that stay whole.

    With lambda ~ Beta(alpha, alpha), a box takes sqrt(1 - lambda) of either side of the image, in whole pixels, around
    a random pixel; what is outside the image is cut off.
    """
    size = np.array([height, width])
    part = np.sqrt(1 - mixing_weights(draws, "cutmix weight", samples, alpha))
    numbers = draws.uniform("cutmix box", samples, 3)
    sides = (part[:, None] * size * (numbers[:, 2:] < p)).astype(np.int64)
    corner = (numbers[:, :2] * size).astype(np.int64) - sides // 2
    return np.concatenate([corner.clip(0, size), (corner + sides).clip(0, size)], axis=1)


class Cutmix(Refinement):
    """Replaces a box of each training image, of random place and size, by that of another image; targets follow."""

    kind: Literal["cutmix"] = "cutmix"

    alpha: float = Field(default=1.0, gt=0.0)
    """Both parameters of the Beta distribution of what stays: 1 (Yun et al.) is uniform, near 0 all or none."""

    p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Probability that an image gets a box (Yun et al.: 1 on ImageNet, 0.5 on CIFAR)."""

    def check(self, recipe: Recipe) -> None:  # noqa: D102
        check_batch_size(recipe)
        for _, refinements in recipe.timeline:
            if refinements.get(self.kind) is self and "mixup" in refinements:
                raise ValueError("got cutmix and mixup at once, expected one of them; phases can take turns")

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _CutmixHook(self.alpha, self.p, setup.num_classes)


class _CutmixHook(Hook):
    def __init__(self, alpha: float, p: float, num_classes: int) -> None:
        self.alpha = alpha
        self.p = p
        self.num_classes = num_classes

    def mix(self, batch: Batch, draws: Draws) -> Batch:
        device = batch.images.device
        height, width = batch.images.shape[-2:]
        boxes = cut_boxes(draws, batch.samples, self.alpha, self.p, height, width)
        images, probabilities = cutmix(
            batch.images,
            as_probabilities(batch, self.num_classes),
            on_device(partners(draws, "cutmix partner", batch.samples), device),
            on_device(boxes, device),
        )
        return Batch(images, probabilities, batch.samples)
