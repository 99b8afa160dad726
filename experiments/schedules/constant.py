"""A constant learning rate."""

from __future__ import annotations

from typing import Literal

from trainer.hooks import Moment

from ..options import Schedule


class Constant(Schedule):
    """The base learning rate throughout."""

    kind: Literal["constant"] = "constant"

    def factor(self, moment: Moment) -> float:  # noqa: D102
        return 1.0
