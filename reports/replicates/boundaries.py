"""How far from zero a t statistic must be at each of many looks, so that all looks together err no more than one may.

Under normal values of any spread the t statistics of a growing sample are one Markov chain, whose probability of ever
crossing is summed up look by look (Armitage, McPherson & Rowe 1969, J. R. Stat. Soc. A 132; for t Jennison & Turnbull
1991, Biometrika 78).
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from ..statistics import Floats

_BINS = 160
"""Steps of the sum over a statistic's values; with them it is within 0.5 % of that with ten times as many."""

_SAFETY = 0.995
"""What is aimed at in the place of 1 for that reason."""

_LOWEST = -3.5
"""Normal score below which values are summed as one: from there no boundary is reached."""


def critical(least: int, most: int, error: float, n: int) -> float:
    """Student's t beyond which n values are, if any of least ... most values may be so with probability `error`."""
    nominal = nominal_level(least, most, error) * n / most
    return float(-stdtrit(n - 1, nominal))


@cache
def nominal_level(least: int, most: int, error: float) -> float:
    """One-sided level of the last look with which the t statistics of all looks cross with probability `error`.

    That of the look at n pairs is n / most of it: later looks, which know more, spend more (as in Kim & DeMets 1987).
    """
    # between the level of the last look alone and a sum over looks; in logarithms the way there is nearly a line
    weights = np.arange(least, most + 1) / most
    target = math.log(error * _SAFETY)
    one, other = target - math.log(weights.sum()), target
    at_one, at_other = (math.log(crossing(least, most, math.exp(x))) - target for x in (one, other))
    while abs(at_other) > 1e-4 and at_one != at_other:
        one, other = other, other - at_other * (other - one) / (at_other - at_one)
        at_one, at_other = at_other, math.log(crossing(least, most, math.exp(other))) - target
    return math.exp(other)


def crossing(least: int, most: int, nominal: float, bins: int = _BINS) -> float:
    """Probability that any t statistic of n = least ... most normal values of mean 0 exceeds its one-sided level.

    nominal: the level of the last look, see `nominal_level`. Exact but for the width of `bins`: U = sum x / |x| goes on
    by U' = U cos(phi) + sin(phi), where sqrt(n) tan(phi) has Student's t distribution with n degrees of freedom and is
    independent of everything before.
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
    """Normal scores from where nothing crosses to the boundary."""
    return np.linspace(_LOWEST, -float(ndtri(nominal)), bins + 1)


def _direction(scores: Floats, n: int) -> Floats:
    """U of n values whose t statistic has the probability of these normal scores."""
    t: Any = -np.sign(scores) * stdtrit(n - 1, ndtr(-np.abs(scores)))
    found: Floats = t * np.sqrt(n / (n - 1 + t * t))
    return found


def _below(values: Floats, before: Floats, n: int) -> Floats:
    """P(U' <= value) after each U before, of shape (before, values)."""
    angles, cumulated = _angle(n)

    def cdf(phi: Floats) -> Floats:
        return np.interp(phi, angles, cumulated)

    radius, turn = np.sqrt(1 + before * before)[:, None], np.arctan(before)[:, None]
    # U' = radius sin(phi + turn), which may pass its largest or smallest value
    at = np.arcsin(np.clip(values[None, :] / radius, -1.0, 1.0)) - turn
    past = -at - 2 * turn
    found: Floats = cdf(at) + 1 - cdf(np.pi + past) - cdf(past - np.pi)
    return found


@cache
def _angle(n: int) -> tuple[Floats, Floats]:
    """Distribution of phi on a grid of its range, -pi/2 to pi/2."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, 8001)
    cumulated: Floats = stdtr(n, math.sqrt(n) * np.tan(angles))
    cumulated[0], cumulated[-1] = 0.0, 1.0
    return angles, cumulated
