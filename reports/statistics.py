"""Statistics of replicates: pure functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit


@dataclass(frozen=True)
class Summary:
    """Mean, sample standard deviation and number of replicates; `sd` is None for fewer than two."""

    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """Mean paired difference with its two-sided confidence interval.

    The interval is None for fewer than two pairs, and where they do not differ: no spread can be estimated then.
    """

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def negated(self) -> Difference:
        """The same with the sides exchanged."""
        low, high = (None if bound is None else -bound for bound in (self.high, self.low))
        return Difference(-self.mean, low, high, self.n)


def summarize(values: Sequence[float]) -> Summary | None:
    """Mean and sample standard deviation (n - 1); None of nothing."""
    if not values:
        return None
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(float(np.mean(values)), sd, len(values))


def paired_difference(
    left: Mapping[int, float], right: Mapping[int, float], confidence: float = 0.95
) -> Difference | None:
    """left - right over the seeds that both have, with Student's t interval (Student 1908; scipy's quantiles).

    A seed that one side lacks drops out. None where no seed is shared.
    """
    seeds = sorted(left.keys() & right.keys())
    if not seeds:
        return None
    differences = np.array([left[seed] - right[seed] for seed in seeds])
    mean = float(differences.mean())
    if len(seeds) < 2:
        return Difference(mean, None, None, 1)
    spread = float(differences.std(ddof=1))
    # of accuracies on few images, two differences are often equal: an interval of no width would decide everything
    if spread <= 1e-12:
        return Difference(mean, None, None, len(seeds))
    error = spread / math.sqrt(len(seeds))
    reach = float(stdtrit(len(seeds) - 1, 0.5 + confidence / 2)) * error
    return Difference(mean, mean - reach, mean + reach, len(seeds))
