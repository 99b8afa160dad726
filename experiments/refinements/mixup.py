"""Mixup (Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018, section 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainer.draws import Draws
from trainer.hooks import Batch, Hook, Setup
from trainer.transfer import on_device, real

from ..options import Refinement
from ._pairs import as_probabilities, check_batch_size, mixed_targets, mixing_weights, partners

if TYPE_CHECKING:
    import torch

    from ..recipe import Recipe


def mixup(
    images: torch.Tensor, probabilities: torch.Tensor, partner: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend each example with its partner: x = w x_i + (1 - w) x_j, and the same for the targets.

    images [B, C, H, W], probabilities [B, K], partner int64 [B] (indices into the batch), weight [B] in 0..1.
    """
    pixel_weight = weight.view(-1, 1, 1, 1).to(images.dtype)
    return (
        images * pixel_weight + images[partner] * (1 - pixel_weight),
        mixed_targets(probabilities, partner, weight),
    )


class Mixup(Refinement):
    """Trains only on blends of two examples of the batch, with a random weight for each pair."""

    kind: Literal["mixup"] = "mixup"

    alpha: float = Field(default=0.2, gt=0.0)
    """Both parameters of the Beta distribution of the weight: near 0 hardly mixes, 1 is uniform."""

    def check(self, recipe: Recipe) -> None:  # noqa: D102
        check_batch_size(recipe)

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _MixupHook(self.alpha, setup.num_classes)


class _MixupHook(Hook):
    def __init__(self, alpha: float, num_classes: int) -> None:
        self.alpha = alpha
        self.num_classes = num_classes

    def mix(self, batch: Batch, draws: Draws) -> Batch:
        device = batch.images.device
        images, probabilities = mixup(
            batch.images,
            as_probabilities(batch, self.num_classes),
            on_device(partners(draws, "mixup partner", batch.samples), device),
            real(mixing_weights(draws, "mixup weight", batch.samples, self.alpha), device),
        )
        return Batch(images, probabilities, batch.samples)
