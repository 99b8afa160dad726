"""Cross-entropy with label smoothing (Szegedy et al., "Rethinking the Inception architecture", 2016, section 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..options import Loss

if TYPE_CHECKING:
    import torch


class CrossEntropy(Loss):
    """Mean cross-entropy; targets are classes or probabilities (as mixup makes them)."""

    kind: Literal["cross_entropy"] = "cross_entropy"

    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """epsilon of eq. 11: the target becomes (1 - epsilon) * target + epsilon / K for K classes."""

    def build(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:  # noqa: D102
        from torch import nn

        return nn.CrossEntropyLoss(label_smoothing=self.label_smoothing)
