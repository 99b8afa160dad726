"""How labelled images become a training and a validation split, by class and reproducibly."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator, model_validator
from pydantic_core import ValidationError

from trainer.draws import Draws
from trainer.errors import UserError
from trainer.settings import Settings


def _integer_or_trial(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        return handler(value)
    except ValidationError:
        raise ValueError(f"got {value!r}, expected an integer from 0, below 2^63, or 'trial'") from None


_Draw = Annotated[int, Field(ge=0, lt=2**63)]
"""As trials' seeds: of a larger one, draws would use the low bits only."""


class SplitSeed(Settings):
    """Which draw of a random split is used."""

    split_seed: Annotated[_Draw | Literal["trial"], WrapValidator(_integer_or_trial)] = 0
    """A number: one split for all trials. "trial": each trial's seed draws its own split, so that the spread
    over seeds covers the choice of split (Bouthillier et al., "Accounting for variance in machine learning
    benchmarks", MLSys 2021)."""

    def split_key(self, seed: int) -> int:
        """The seed of the split in a trial with `seed`."""
        return seed if self.split_seed == "trial" else self.split_seed


class SplitSettings(SplitSeed):
    """A random split within each class."""

    train_fraction: float = Field(default=0.8, gt=0.0, lt=1.0)
    """Share of each class's images that are trained on; the others validate."""

    test_fraction: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of each class's images kept out of `train` and `val`, as the split `test`; 0: there is none."""

    @model_validator(mode="after")
    def _check_fractions(self) -> SplitSettings:
        if self.train_fraction + self.test_fraction >= 1.0:
            raise ValueError(
                f"got train_fraction {self.train_fraction} and test_fraction {self.test_fraction}, "
                "expected a sum below 1: the rest validates"
            )
        return self

    def split(self, labels: NDArray[np.int64], seed: int) -> dict[str, NDArray[np.int64]]:
        """Image indices of `train`, `val` and, with a test_fraction, `test` in a trial with `seed`.

        Raises UserError where classes are so small that their only image outside of `test` is trained on.
        """
        draw = self.split_key(seed)
        if self.test_fraction == 0.0:
            train, val = stratified(labels, self.train_fraction, draw)
            return {"train": train, "val": val}
        rest, test = stratified(labels, 1.0 - self.test_fraction, draw, purpose="test split")
        train, val = stratified(labels[rest], self.train_fraction / (1.0 - self.test_fraction), draw)
        if not len(val):
            most = np.bincount(labels).max()
            told = f"dataset.test_fraction: got {self.test_fraction:g}"
            raise UserError(
                f"{told}, which of {most} images, the most that a class has, leaves "
                "one to train on and none to validate with; expected a smaller one"
            )
        return {"train": rest[train], "val": rest[val], "test": test}


def stratified(
    labels: NDArray[np.int64], fraction: float, seed: int, purpose: str = "split"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of round(fraction * n) images of each class, drawn by `seed`, and of the others; both sorted.

    A class of two or more images has at least one on each side; the only image of a class is on the first.
    Each class is drawn by itself, so that images added to one leave the others' split as it was. Two splits
    under one seed are independent if their `purpose` differs.
    """
    draws = Draws(seed)
    first: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    second: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label).astype(np.int64)
        order = members[draws.permutation(f"{purpose} {label}", len(members))]
        count = min(max(round(fraction * len(members)), 1), max(len(members) - 1, 1))
        first.append(order[:count])
        second.append(order[count:])
    return np.sort(np.concatenate(first)), np.sort(np.concatenate(second))
