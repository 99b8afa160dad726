"""What an image counts in a criterion, by its class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


def balanced_weights(counts: Sequence[int]) -> NDArray[np.float64]:
    """N / (K n_k) for K classes with n_k of N images (King & Zeng 2001): every class has the same weight in total.

    0 for a class without training images.
    """
    numbers = np.asarray(counts, dtype=np.float64)
    weights: NDArray[np.float64] = np.zeros_like(numbers)
    np.divide(numbers.sum() / len(numbers), numbers, out=weights, where=numbers > 0)
    return weights


def weighted(targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Of targets, classes [B] or probabilities [B, K], each class's part times its weight [K]: [B, K]."""
    from torch.nn import functional

    parts = functional.one_hot(targets, len(weights)) if targets.dim() == 1 else targets
    return parts * weights
