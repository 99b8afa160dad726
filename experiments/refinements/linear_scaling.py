"""Linear scaling of the learning rate (Goyal et al., "Accurate, large minibatch SGD", 2017, section 2.1)."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from trainer.hooks import Hook, Moment, Setup

from ..options import Refinement


class LinearScaling(Refinement):
    """Reads the optimizer's rate as that of `reference` images a batch and scales it to the recipe's batch size."""

    kind: Literal["linear_scaling"] = "linear_scaling"

    reference: PositiveInt = 256
    """Batch size, in images, that the optimizer's `lr` is meant for."""

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _LinearScalingHook(setup.batch_size / self.reference)


class _LinearScalingHook(Hook):
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def rate(self, factor: float, moment: Moment) -> float:
        return factor * self.scale
