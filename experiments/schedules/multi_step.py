"""Step decay (He et al., "Deep residual learning", CVPR 2016, section 3.4: divided by 10 at plateaus)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt

from trainer.hooks import Moment

from ..options import Schedule

if TYPE_CHECKING:
    from ..recipe import Recipe


def _earliest_first(milestones: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(milestones))


class MultiStep(Schedule):
    """Multiplies the rate by `gamma` each time that a milestone epoch has been completed."""

    kind: Literal["multi_step"] = "multi_step"

    milestones: Annotated[tuple[PositiveInt, ...], AfterValidator(_earliest_first)] = Field(min_length=1)
    """Epochs after which the rate falls, in any order."""

    gamma: float = Field(default=0.1, gt=0.0, le=1.0)
    """The factor of each fall."""

    def check(self, recipe: Recipe) -> None:  # noqa: D102
        late = [milestone for milestone in self.milestones if milestone >= recipe.epochs]
        if late:
            raise ValueError(f"got the milestone {late[0]}, expected less than all epochs, {recipe.epochs}")

    def factor(self, moment: Moment) -> float:  # noqa: D102
        return float(self.gamma ** sum(milestone <= moment.epoch for milestone in self.milestones))
