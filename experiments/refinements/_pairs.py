"""What refinements that mix two examples of a batch share: which are paired, and how their targets are mixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainer.draws import Draws
from trainer.hooks import Batch

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from ..recipe import Recipe


def check_batch_size(recipe: Recipe) -> None:
    """Raise ValueError where batches are of one image, so that there are no pairs."""
    if recipe.batch_size < 2:
        raise ValueError(f"got batch_size {recipe.batch_size}, expected at least 2: it mixes images of one batch")


def partners(draws: Draws, purpose: str, samples: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each image's partner, as an index into the batch [B]: a random cycle through all; one image alone is its own."""
    order = np.argsort(draws.uniform(purpose, samples)[:, 0])
    partner = np.empty_like(order)
    partner[order] = np.roll(order, 1)
    return partner


def mixing_weights(draws: Draws, purpose: str, samples: NDArray[np.int64], alpha: float) -> NDArray[np.float64]:
    """One Beta(alpha, alpha) weight a sample [B], by inversion of its own uniform draw."""
    from scipy.special import betaincinv

    weights: NDArray[np.float64] = betaincinv(alpha, alpha, draws.uniform(purpose, samples)[:, 0])
    return weights


def as_probabilities(batch: Batch, num_classes: int) -> torch.Tensor:
    """The targets as class probabilities, float32 [B, num_classes]."""
    from torch.nn import functional

    targets = batch.targets
    return functional.one_hot(targets, num_classes).float() if targets.dim() == 1 else targets


def mixed_targets(probabilities: torch.Tensor, partner: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """p = w p_i + (1 - w) p_j for probabilities [B, K], partner int64 [B] and weight [B] in 0..1."""
    own = weight.view(-1, 1).to(probabilities.dtype)
    return probabilities * own + probabilities[partner] * (1 - own)
