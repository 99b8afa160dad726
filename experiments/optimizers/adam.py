"""Adam (Kingma & Ba, ICLR 2015, algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ..options import Optimizer

if TYPE_CHECKING:
    import torch

Beta = Annotated[float, Field(ge=0.0, lt=1.0)]


class Adam(Optimizer):
    """Steps of the bias-corrected mean gradient over the root of its mean square."""

    kind: Literal["adam"] = "adam"

    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decay of the mean and of the mean square of the gradient."""

    eps: float = Field(default=1e-8, gt=0.0)
    """Added to the denominator."""

    weight_decay: float = Field(default=0.0, ge=0.0)
    """L2 penalty, added to the gradient (not decoupled as in AdamW)."""

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:  # noqa: D102
        import torch

        return torch.optim.Adam(
            groups, lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay, fused=True
        )
