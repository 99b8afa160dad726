"""A hidden layer before the logits (Chi, "Image classification using modified ResNet architecture", 2025, 2.2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from ..options import Head

if TYPE_CHECKING:
    from torch import nn


class Bottleneck(Head):
    """Dropout, a fully connected layer, ReLU, batch norm (in this order, as the document has it), dropout, logits."""

    kind: Literal["bottleneck"] = "bottleneck"

    hidden: PositiveInt = 1024
    """Outputs of the hidden layer."""

    dropout: float = Field(default=0.3, ge=0.0, lt=1.0)
    """Probability that a value is zeroed in training, before each of the two layers."""

    def build(self, features: int, num_classes: int) -> nn.Module:  # noqa: D102
        from torch import nn

        return nn.Sequential(
            nn.Dropout(self.dropout),
            nn.Linear(features, self.hidden),
            nn.ReLU(),
            nn.BatchNorm1d(self.hidden),
            nn.Dropout(self.dropout),
            nn.Linear(self.hidden, num_classes),
        )
