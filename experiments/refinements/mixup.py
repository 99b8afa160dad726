"""Mixup (Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018, section 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from trainer.draws import Draws
from trainer.hooks import Batch, Hook, Setup

from ..options import Refinement
from ._batches import on_device, real

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


def mixup(
    images: torch.Tensor, probabilities: torch.Tensor, partner: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend each example with its partner: x = w x_i + (1 - w) x_j, and the same for the targets.

    images [B, C, H, W], probabilities [B, K], partner int64 [B] (indices into the batch), weight [B] in 0..1.
    """
    pixel_weight = weight.view(-1, 1, 1, 1).to(images.dtype)
    class_weight = weight.view(-1, 1).to(probabilities.dtype)
    return (
        images * pixel_weight + images[partner] * (1 - pixel_weight),
        probabilities * class_weight + probabilities[partner] * (1 - class_weight),
    )


def mixing_weights(draws: Draws, samples: NDArray[np.int64], alpha: float) -> NDArray[np.float64]:
    """One Beta(alpha, alpha) weight a sample [B], by inversion of its own uniform draw."""
    from scipy.special import betaincinv

    weights: NDArray[np.float64] = betaincinv(alpha, alpha, draws.uniform("mixup weight", samples)[:, 0])
    return weights


class Mixup(Refinement):
    """Trains on blends of two examples of the batch only; a weight of its own for each pair."""

    kind: Literal["mixup"] = "mixup"

    alpha: float = Field(default=0.2, gt=0.0)
    """Both parameters of the Beta distribution of the weight: near 0 hardly mixes, 1 is uniform."""

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _MixupHook(self.alpha, setup.num_classes)


class _MixupHook(Hook):
    def __init__(self, alpha: float, num_classes: int) -> None:
        self.alpha = alpha
        self.num_classes = num_classes

    def mix(self, batch: Batch, draws: Draws) -> Batch:
        from torch.nn import functional

        device = batch.images.device
        order = np.argsort(draws.uniform("mixup partner", batch.samples)[:, 0])
        partner = np.empty_like(order)
        partner[order] = np.roll(order, 1)
        weight = mixing_weights(draws, batch.samples, self.alpha)
        probabilities = batch.targets
        if probabilities.dim() == 1:
            probabilities = functional.one_hot(probabilities, self.num_classes).float()
        images, probabilities = mixup(
            batch.images,
            probabilities,
            on_device(partner, device),
            real(weight, device),
        )
        return Batch(images, probabilities, batch.samples)
