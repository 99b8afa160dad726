"""Stochastic gradient descent with momentum (Sutskever et al., ICML 2013; torch's formulation, without dampening)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from ..options import Optimizer

if TYPE_CHECKING:
    import torch


class Sgd(Optimizer):
    """v <- momentum v + g; w <- w - lr v (classical), w <- w - lr (g + momentum v) (Nesterov)."""

    kind: Literal["sgd"] = "sgd"

    momentum: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Decay of the velocity."""

    nesterov: bool = False
    """Look ahead along the velocity; needs momentum."""

    weight_decay: float = Field(default=0.0, ge=0.0)
    """L2 penalty, added to the gradient (of every parameter, see decay_bias)."""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Sgd:
        if self.nesterov and self.momentum == 0:
            raise ValueError("got nesterov without momentum, expected momentum above 0")
        return self

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:  # noqa: D102
        import torch

        optimizer = torch.optim.SGD(
            groups,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            fused=True,
        )
        if self.momentum:
            optimizer.register_step_pre_hook(_late_velocities)
        return optimizer


def _late_velocities(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Give a velocity of zero to a parameter whose first gradient comes after the first step, as of a skipped layer.

    The fused step of torch 2.15 refuses to begin one while others have theirs. From zero, it becomes the gradient.
    """
    import torch

    if not optimizer.state:
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and not optimizer.state[parameter]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
