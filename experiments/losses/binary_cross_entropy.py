"""A sigmoid for each class instead of one softmax.

Beyer et al., "Are we done with ImageNet?", 2020; Wightman et al., "ResNet strikes back", 2021.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainer.hooks import Setup

from ..options import Loss

if TYPE_CHECKING:
    import torch


class BinaryCrossEntropy(Loss):
    """Mean over images of the binary cross-entropy of each class; targets are classes or probabilities."""

    kind: Literal["binary_cross_entropy"] = "binary_cross_entropy"

    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """epsilon: the target becomes (1 - epsilon) * target + epsilon / K for K classes."""

    threshold: float | None = Field(default=None, ge=0.0, lt=1.0)
    """Classes above it become 1 and all others 0, after smoothing (Wightman et al.: 0.2); null: they stay as mixed."""

    over_classes: Literal["mean", "sum"] = "mean"
    """How an image's classes are summed up: mean (Wightman et al.) or sum (Beyer et al.), which is K times as much."""

    def build(self, setup: Setup) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:  # noqa: D102
        from torch.nn import functional

        epsilon, threshold, over_classes = self.label_smoothing, self.threshold, self.over_classes

        def criterion(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            classes = logits.shape[1]
            parts = functional.one_hot(targets, classes) if targets.dim() == 1 else targets
            wanted = (1 - epsilon) * parts + epsilon / classes
            if threshold is not None:
                wanted = wanted > threshold
            value = functional.binary_cross_entropy_with_logits(logits, wanted.to(logits.dtype))
            return value * classes if over_classes == "sum" else value

        return criterion
