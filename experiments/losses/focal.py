"""Focal loss (Lin et al., "Focal loss for dense object detection", ICCV 2017, equations 4 and 5), of a softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainer.hooks import Setup

from ..options import Loss
from ._weights import balanced_weights, weighted

if TYPE_CHECKING:
    import torch


class Focal(Loss):
    """Mean of (1 - p)^gamma times cross-entropy, p the target's probability: what is classified well counts little.

    Of a mixed image, each part counts by its class. The paper has a sigmoid for each class.
    """

    kind: Literal["focal"] = "focal"

    gamma: float = Field(default=2.0, ge=0.0)
    """How little it counts; 0: plain cross-entropy (Lin et al.: 2)."""

    class_weights: Literal["none", "balanced"] = "none"
    """balanced: an image of class k counts N / (K n_k), by the training split's class counts; the mean is weighted."""

    def build(self, setup: Setup) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:  # noqa: D102
        import torch
        from torch import nn

        gamma = self.gamma
        weights = [1.0] * setup.num_classes
        if self.class_weights == "balanced":
            weights = balanced_weights(setup.class_counts).tolist()

        class Modulated(nn.Module):
            """The weighted mean of the classes of all targets."""

            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32))

            def total(self, targets: torch.Tensor) -> torch.Tensor:
                return weighted(targets, self.get_buffer("weights")).sum()

            def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
                weighed = weighted(targets, self.get_buffer("weights"))
                logs = logits.log_softmax(1)
                # 1 - p from the logarithm, exact for p near 1; above 0, where a power below 1 has an infinite slope
                missed = (-logs.expm1()).clamp(min=1e-12)
                return -(weighed * missed**gamma * logs).sum() / weighed.sum()

        return Modulated()
