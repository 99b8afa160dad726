"""The bootstrap interval of a mean paired difference. Pure functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from reports.statistics import ROUNDING, finite

RESAMPLES = 9999
FEWEST = 3
"""The fewest differences: resamples of two have only three means, so the interval would be the two themselves."""


def bca(differences: Sequence[float], confidence: float = 0.95, seed: int = 0) -> tuple[float, float] | None:
    """The bias-corrected and accelerated bootstrap interval of the mean (Efron 1987; Efron & Tibshirani 1993, 14.3).

    Differences that are not finite are left out. None for fewer than three, and where all are equal. With the few seeds
    of a study it is too narrow (benchmarks/README.md has its coverage), which is why reports print Student's t
    interval. 9,999 resamples are drawn with `seed`, as by `scipy.stats.bootstrap(method="BCa")`, which takes longer to
    import than this takes to compute.
    """
    values = finite(differences)
    n = len(values)
    if n < FEWEST or np.ptp(values) <= ROUNDING * np.abs(values).max():
        return None
    means = values[np.random.default_rng(seed).integers(0, n, (RESAMPLES, n))].mean(axis=1)
    apart = means - values.mean()
    tie = ROUNDING * np.abs(values).max()
    below = ((apart < -tie).mean() + (apart <= tie).mean()) / 2
    deviations = values - values.mean()
    acceleration = (deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5)
    bias, tail = ndtri(below), ndtri((1 - confidence) / 2)
    shifted = bias + np.array([tail, -tail])
    low, high = np.quantile(means, ndtr(bias + shifted / (1 - acceleration * shifted)))
    assert math.isfinite(low)
    assert math.isfinite(high)
    return float(low), float(high)
