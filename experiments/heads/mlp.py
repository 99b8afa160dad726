"""Hidden layers before the logits ("Visual recognition using deep learning", 2025 spring, homework 1, figure 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt

from ..options import Head

if TYPE_CHECKING:
    from torch import nn


class Mlp(Head):
    """For each hidden layer: fully connected, batch norm, activation, dropout; then logits."""

    kind: Literal["mlp"] = "mlp"

    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1024, 512)
    """Outputs of each hidden layer, the first one first."""

    dropout: float = Field(default=0.3, ge=0.0, lt=1.0)
    """Probability that an activation of a hidden layer is zeroed in training."""

    activation: Literal["silu", "relu"] = "silu"
    """silu: x * sigmoid(x) (Elfwing et al., 2018)."""

    def build(self, features: int, num_classes: int) -> nn.Module:  # noqa: D102
        from torch import nn

        activation = {"silu": nn.SiLU, "relu": nn.ReLU}[self.activation]
        layers: list[nn.Module] = []
        for inputs, outputs in zip((features, *self.hidden), self.hidden, strict=False):
            layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), activation(), nn.Dropout(self.dropout)]
        return nn.Sequential(*layers, nn.Linear(self.hidden[-1], num_classes))
