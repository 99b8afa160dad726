"""How far from zero a t statistic must be at each of many looks, so that all looks together keep one level.

For normal values of any spread the t statistics of a growing sample are a Markov chain, and the probability that it
ever crosses a boundary is summed up look by look (Armitage, McPherson & Rowe 1969, J. R. Stat. Soc. A 132; for t
Jennison & Turnbull 1991, Biometrika 78).
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from ..statistics import Floats

_BINS = 160
"""Steps of the sum over a statistic's values. The result is within 0.5 % of that with ten times as many."""

_SAFETY = 0.995
"""The share of the error that is aimed at, so that those 0.5 % can't exceed it."""

_LOWEST = -3.5
"""Normal score below which all values count as one: from there no boundary is reached."""


def critical(least: int, most: int, error: float, n: int) -> float:
    """The boundary of t for n values, such that t crosses it at any n of least ... most with probability `error`."""
    nominal = nominal_level(least, most, error) * n / most
    return float(-stdtrit(n - 1, nominal))


@cache
def nominal_level(least: int, most: int, error: float) -> float:
    """One-sided level of the last look, such that t crosses at any look with probability `error`.

    The look at n pairs has n / most of that level: later looks, which know more, spend more (as in Kim & DeMets 1987).
    """
    # a secant search from two bounds: the levels of all looks add up to the error, or the last look has all of it;
    # in logarithms the function is nearly a line
    weights = np.arange(least, most + 1) / most
    target = math.log(error * _SAFETY)
    one, other = target - math.log(weights.sum()), target
    at_one, at_other = (math.log(crossing(least, most, math.exp(x))) - target for x in (one, other))
    while abs(at_other) > 1e-4 and at_one != at_other:
        one, other = other, other - at_other * (other - one) / (at_other - at_one)
        at_one, at_other = at_other, math.log(crossing(least, most, math.exp(other))) - target
    return math.exp(other)


def crossing(least: int, most: int, nominal: float, bins: int = _BINS) -> float:
    """Probability that t of n normal values of mean 0 exceeds its one-sided level for any n = least ... most.

    nominal: the level of the last look, see `nominal_level`. Exact but for the width of `bins`: with one more value,
    U = sum x / |x| becomes U' = U cos(phi) + sin(phi), where sqrt(n) tan(phi) has Student's t distribution with n
    degrees of freedom and is independent of everything before.
    """
    crossed, inside = 0.0, 1.0
    scores = _edges(nominal * least / most, bins)
    below = ndtr(scores)
    below[0] = 0.0
    for n in range(least, most):
        crossed += inside - float(below[-1])
        mass, at = np.diff(below), _direction((scores[1:] + scores[:-1]) / 2, n)
        inside = float(below[-1])
        scores = _edges(nominal * (n + 1) / most, bins)
        below = mass @ _below(_direction(scores, n + 1), at, n)
        below[0] = 0.0
    return crossed + inside - float(below[-1])


def _edges(nominal: float, bins: int) -> Floats:
    """Normal scores of the bins' edges, from `_LOWEST` to the boundary."""
    return np.linspace(_LOWEST, -float(ndtri(nominal)), bins + 1)


def _direction(scores: Floats, n: int) -> Floats:
    """U of n values whose t statistic has the same probability as these normal scores."""
    t: Any = -np.sign(scores) * stdtrit(n - 1, ndtr(-np.abs(scores)))
    found: Floats = t * np.sqrt(n / (n - 1 + t * t))
    return found


def _below(values: Floats, before: Floats, n: int) -> Floats:
    """P(U' <= value) given each U in `before`; of shape (before, values)."""
    angles, cumulated = _angle(n)

    def cdf(phi: Floats) -> Floats:
        return np.interp(phi, angles, cumulated)

    radius, turn = np.sqrt(1 + before * before)[:, None], np.arctan(before)[:, None]
    # U' = radius sin(phi + turn) may pass its largest or smallest value within phi's range
    at = np.arcsin(np.clip(values[None, :] / radius, -1.0, 1.0)) - turn
    past = -at - 2 * turn
    found: Floats = cdf(at) + 1 - cdf(np.pi + past) - cdf(past - np.pi)
    return found


@cache
def _angle(n: int) -> tuple[Floats, Floats]:
    """Grid of phi over its range, -pi/2 to pi/2, and its cumulative distribution there."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, 8001)
    cumulated: Floats = stdtr(n, math.sqrt(n) * np.tan(angles))
    cumulated[0], cumulated[-1] = 0.0, 1.0
    return angles, cumulated
