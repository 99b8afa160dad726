"""The bootstrap interval that the benchmark of calibration holds against Student's t, against scipy's."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import scipy.stats
from conftest import REPOSITORY
from test_statistics import DIFFERENCES

sys.path.append(str(REPOSITORY / "benchmarks"))

from bca import bca


def test_what_is_not_finite_is_left_out() -> None:
    assert bca([0.1, math.nan, 0.2, math.inf, 0.4, 0.3]) == bca([0.1, 0.2, 0.4, 0.3])
    assert bca([math.nan] * 5) is None


@pytest.mark.parametrize("n", [3, 5, 10, 30])
def test_bca_is_scipys(n: int) -> None:
    differences = np.random.default_rng(n).lognormal(size=n)
    scipys = scipy.stats.bootstrap(
        (differences,), np.mean, n_resamples=9999, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval  # fmt: skip
    assert bca(differences.tolist()) == pytest.approx((scipys.low, scipys.high), rel=0.01)
    assert bca(differences.tolist(), seed=1) == pytest.approx((scipys.low, scipys.high), abs=0.15 * differences.std())


def test_bca_knows_neither_scale_nor_side_and_gives_the_same_twice() -> None:
    for differences in DIFFERENCES:
        if len(differences) > 2:
            low, high = bca(differences) or (math.nan, math.nan)
            assert min(differences) <= low < high <= max(differences)
            assert bca([0.1 * d / 3 for d in differences]) == pytest.approx((0.1 * low / 3, 0.1 * high / 3))
            assert bca([-d for d in differences]) == pytest.approx((-high, -low), abs=0.1 * np.std(differences))


def test_bca_needs_three_differences_that_differ() -> None:
    for differences in ([], [0.1], [0.1, 0.2], [0.1] * 9, [0.0] * 9, [0.3 - 0.2, 0.2 - 0.1, 0.1]):
        assert bca(differences) is None
