"""Cross-entropy with label smoothing (Szegedy et al., "Rethinking the Inception architecture", 2016, section 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainer.hooks import Setup

from ..options import Loss
from ._weights import balanced_weights, weighted

if TYPE_CHECKING:
    import torch


class CrossEntropy(Loss):
    """Mean cross-entropy; targets are classes or probabilities (as mixup makes them)."""

    kind: Literal["cross_entropy"] = "cross_entropy"

    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """epsilon: the target becomes (1 - epsilon) * target + epsilon / K for K classes."""

    class_weights: Literal["none", "balanced"] = "none"
    """balanced: an image of class k counts N / (K n_k), by the training split's class counts; the mean is weighted.

    Of a mixed image each part counts by its class. Smoothing leaves an image's weight as it is.
    """

    def build(self, setup: Setup) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:  # noqa: D102
        import torch
        from torch import nn
        from torch.nn import functional

        if self.class_weights == "none":
            return nn.CrossEntropyLoss(label_smoothing=self.label_smoothing)
        smoothing = self.label_smoothing

        class Weighted(nn.Module):
            """The weighted mean of images. torch's own loss weights the classes of a smoothed target, not the image."""

            def __init__(self) -> None:
                super().__init__()
                weights = torch.tensor(balanced_weights(setup.class_counts), dtype=torch.float32)
                self.register_buffer("weights", weights)

            def total(self, targets: torch.Tensor) -> torch.Tensor:
                return weighted(targets, self.get_buffer("weights")).sum()

            def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
                weighed = weighted(targets, self.get_buffer("weights"))
                smoothed = (1 - smoothing) * weighed + smoothing / logits.shape[1] * weighed.sum(1, keepdim=True)
                return functional.cross_entropy(logits, smoothed, reduction="sum") / weighed.sum()

        return Weighted()
