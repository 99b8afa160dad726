"""Means of replicates, their spread and intervals: pure functions of numbers. Tests are in significance.py."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]
ROUNDING = 1e-12
"""A difference below this share of the numbers that were subtracted counts as zero."""


@dataclass(frozen=True)
class Summary:
    """Mean, sample standard deviation and number of replicates; `sd` is None for fewer than two."""

    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """Mean paired difference with its two-sided confidence interval.

    The interval is None for fewer than two pairs, and where all differences are equal, so that no spread can be
    estimated.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    sd: float | None = None
    """Sample standard deviation of the pairs' differences; None where the interval is None."""

    @property
    def negated(self) -> Difference:
        """The difference with left and right exchanged."""
        low, high = (None if bound is None else -bound for bound in (self.high, self.low))
        return Difference(-self.mean, low, high, self.n, self.sd)


@dataclass(frozen=True)
class Pairs:
    """The differences of two arms under the seeds that they share."""

    seeds: tuple[int, ...]
    differences: Floats
    """Left minus right, shape (seeds,)."""

    scale: float
    """The largest magnitude among the numbers subtracted, to which rounding errors are relative."""


def finite(values: Iterable[float]) -> Floats:
    """The values that are numbers, in order: neither NaN nor infinite."""
    return np.array([value for value in values if math.isfinite(value)], dtype=np.float64)


def summarize(values: Sequence[float]) -> Summary | None:
    """Mean and sample standard deviation (n - 1) of the finite values; None if there are none."""
    kept = finite(values)
    if len(kept) == 0:
        return None
    sd = float(kept.std(ddof=1)) if len(kept) > 1 else None
    return Summary(float(kept.mean()), sd, len(kept))


def pair(left: Mapping[int, float], right: Mapping[int, float]) -> Pairs:
    """left - right over the seeds, ascending, for which both have a finite value; mere rounding counts as zero."""
    both = ((seed, left[seed], right[seed]) for seed in sorted(left.keys() & right.keys()))
    found = [(seed, a, b) for seed, a, b in both if math.isfinite(a) and math.isfinite(b)]
    differences = [a - b if abs(a - b) > ROUNDING * max(abs(a), abs(b)) else 0.0 for _, a, b in found]
    return Pairs(
        tuple(seed for seed, _, _ in found),
        np.array(differences, dtype=np.float64),
        max((max(abs(a), abs(b)) for _, a, b in found), default=0.0),
    )


def paired_difference(
    left: Mapping[int, float], right: Mapping[int, float], confidence: float = 0.95
) -> Difference | None:
    """left - right over the seeds that both have, with Student's t interval (Student 1908; scipy's quantiles).

    A seed for which one side has no finite value is left out. None where no seed is left.
    """
    return mean_difference(pair(left, right), confidence)


def mean_difference(pairs: Pairs, confidence: float = 0.95) -> Difference | None:
    """`paired_difference` of sides that are paired already."""
    n = len(pairs.seeds)
    if n == 0:
        return None
    mean = float(pairs.differences.mean())
    # on few images all differences of accuracies are often equal: an interval of no width would decide everything
    spread = float(pairs.differences.std(ddof=1)) if n > 1 else 0.0
    if spread <= ROUNDING * pairs.scale:
        return Difference(mean, None, None, n)
    reach = float(stdtrit(n - 1, 0.5 + confidence / 2)) * spread / math.sqrt(n)
    return Difference(mean, mean - reach, mean + reach, n, spread)
