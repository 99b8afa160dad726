"""One fully connected layer (He et al., "Deep residual learning", CVPR 2016, table 1) and what may stand before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..options import Head

if TYPE_CHECKING:
    from torch import nn


class Linear(Head):
    """Layer norm and dropout of the features, if asked for; then logits."""

    kind: Literal["linear"] = "linear"

    norm: Literal["none", "layer"] = "none"
    """layer: layer norm (Ba et al., 2016) of the pooled features."""

    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability that a feature is zeroed in training (Srivastava et al., JMLR 2014); after the norm."""

    def build(self, features: int, num_classes: int) -> nn.Module:  # noqa: D102
        from torch import nn

        norm = [nn.LayerNorm(features)] if self.norm == "layer" else []
        dropout = [nn.Dropout(self.dropout)] if self.dropout else []
        return nn.Sequential(*norm, *dropout, nn.Linear(features, num_classes))
