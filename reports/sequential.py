"""How many replicates a comparison needs: looks at a growing number of pairs, with the error of all looks controlled.

Repeated confidence intervals (Jennison & Turnbull 1989, J. R. Stat. Soc. B 51; for equivalence 1993, Biometrics 49) of
the mean paired difference, by Student's t with as many nominal levels as looks. The levels are calibrated exactly:
under normal differences of any spread, the sequence of t statistics is one Markov chain, whose probability of ever
crossing is summed up look by look (Armitage, McPherson & Rowe 1969; for t Jennison & Turnbull 1991, Biometrika 78). The
comparisons of a study share the level by Bonferroni.

What holds, for differences that are normal and independent from seed to seed: with probability 1 - level, no comparison
of the study is *decided* although its difference is zero, or to the wrong side, and none is *equivalent* although its
difference is the margin or more, whenever each of them stops. Each comparison can commit one of these errors only, so
it has its whole share for each of them.

Where differences do not vary at all nothing is decided: no spread can be estimated from them. Accuracies on few images
are steps, not normal; benchmarks/sequential.py measures what that does.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from .statistics import Difference, paired_difference

Verdict = Literal["decided", "equivalent", "open"]
Pair = tuple[float, float]
"""Left and right under one seed."""

Floats = NDArray[np.float64]

_BINS = 160
"""Steps of the sum over a statistic's values; with them it is within 0.5 % of that with ten times as many."""

_SAFETY = 0.995
"""What is aimed at in the place of 1 for that reason."""

_LOWEST = -3.5
"""Normal score below which values are summed as one: from there no boundary is reached."""


@dataclass(frozen=True)
class Rule:
    """When comparisons are settled."""

    least: int
    """Pairs at the first look, at least 2."""

    most: int
    """Pairs at the last look."""

    level: float
    """Probability of any error over all looks at all comparisons."""

    comparisons: int
    """How many share the level."""

    margin: float | None = None
    """Differences below it are as good as none; None: no comparison is settled as equivalent."""

    def critical(self, n: int) -> float:
        """Student's t beyond which n pairs are decided: half the width of their interval, in standard errors."""
        return _critical(self.least, self.most, self.level / self.comparisons / 2, n)

    def critical_one_sided(self, n: int) -> float:
        """The same for each of the two one-sided tests against the margin (Schuirmann 1987), of which one may err."""
        return _critical(self.least, self.most, self.level / self.comparisons, n)


@dataclass(frozen=True)
class Standing:
    """Where a comparison stands."""

    verdict: Verdict
    difference: Difference | None
    """At the look that settled it, or the last one, with its repeated confidence interval; None before the first."""

    wanted: int
    """The first so many seeds are what it needs: those that it has looked at, and while it waits one more."""

    waits: bool = True
    """Whether a look is still to come: it is not settled, and a seed up to the most has not ended."""


def follow(ended: Mapping[int, Pair | None], seeds: Sequence[int], rule: Rule) -> Standing:
    """Look after each round of seeds until the comparison is settled, or a seed has not ended yet.

    ended: seed to what both sides came to; None where one has failed for good, which leaves the seed out of the pairs.
    Looks depend on the order of `seeds` and not on that in which trials end: a stopped study goes on as it would have.
    """
    pairs: list[Pair] = []
    standing = Standing("open", None, rule.least)
    for rounds, seed in enumerate(seeds[: rule.most], start=1):
        if seed not in ended:
            return dataclasses.replace(standing, wanted=max(rounds, rule.least))
        found = ended[seed]
        if found is not None:
            pairs.append(found)
        if rounds >= rule.least and len(pairs) >= rule.least:
            standing = Standing(*look(pairs, rule), rounds)
            if standing.verdict != "open":
                return dataclasses.replace(standing, waits=False)
    return dataclasses.replace(standing, wanted=rule.most, waits=False)


def look(pairs: Sequence[Pair], rule: Rule) -> tuple[Verdict, Difference]:
    """What so many pairs say, `rule.least` to `rule.most`, with the repeated confidence interval of left - right."""
    left, right = (dict(enumerate(side)) for side in zip(*pairs, strict=True))
    found = paired_difference(left, right)
    assert found is not None, "there are pairs, and recorded numbers are finite"
    n = found.n
    if found.sd is None:
        return "open", found
    error = found.sd / math.sqrt(n)
    reach = rule.critical(n) * error
    difference = dataclasses.replace(found, low=found.mean - reach, high=found.mean + reach)
    if abs(found.mean) > reach:
        return "decided", difference
    if rule.margin is not None and abs(found.mean) + rule.critical_one_sided(n) * error < rule.margin:
        return "equivalent", difference
    return "open", difference


def _critical(least: int, most: int, error: float, n: int) -> float:
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
