"""How many replicates a comparison needs: looks at a growing number of pairs, with the error over all looks controlled.

Repeated confidence intervals (Jennison & Turnbull 1989, J. R. Stat. Soc. B 51; for equivalence 1993, Biometrics 49) of
the mean paired difference, by Student's t with a nominal level for each look, calibrated exactly: see boundaries.py.
The comparisons of a study share the level by Bonferroni.

Guarantee, for differences that are normal and independent from seed to seed: with probability 1 - level, no comparison
of the study is *decided* although its difference is zero, or in the wrong direction, and none is *equivalent* although
its difference is the margin or more, whenever each of them stops. A comparison can commit only one of these errors, so
it has its whole share of the level for each of them.

A comparison that is unlikely to be settled ends as *futile*: the predictive probability that it will be is below what
the study asks for (Spiegelhalter, Freedman & Blackburn 1986, Controlled Clinical Trials 7). Where there is no look
there is no error, so the level holds whatever ends comparisons early.

Where all differences are equal nothing is decided: no spread can be estimated from them. Accuracies on few images are
multiples of one image, not normal; benchmarks/sequential.py measures how much that matters.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtr

from ..statistics import Difference, paired_difference
from .boundaries import critical

Verdict = Literal["decided", "equivalent", "futile", "open"]
Pair = tuple[float, float]
"""The values of left and right under one seed."""


@dataclass(frozen=True)
class StoppingRule:
    """When comparisons are settled."""

    least: int
    """Pairs at the first look, at least 2."""

    most: int
    """Pairs at the last look."""

    level: float
    """Greatest probability of any error over all looks at all comparisons."""

    comparisons: int
    """How many comparisons share the level."""

    margin: float | None = None
    """Differences smaller than this don't matter; None: no comparison is settled as equivalent."""

    futility: float = 0.0
    """A comparison ends if its chance to be settled by the last look is smaller than this; 0: none ends so."""

    def critical(self, n: int) -> float:
        """Student's t beyond which n pairs decide; also half the width of their interval, in standard errors."""
        return critical(self.least, self.most, self.level / self.comparisons / 2, n)

    def critical_one_sided(self, n: int) -> float:
        """The same for each of two one-sided tests against the margin (Schuirmann 1987); only one of them can err."""
        return critical(self.least, self.most, self.level / self.comparisons, n)


@dataclass(frozen=True)
class Standing:
    """Where a comparison stands."""

    verdict: Verdict
    difference: Difference | None
    """At the look that settled it, or the latest, with its repeated confidence interval; None before the first look."""

    wanted: int
    """How many seeds, in their order, it needs: those that it has looked at and, while it waits, one more."""

    waits: bool = True
    """Whether a look is still to come: the comparison has not ended, and neither have all its seeds."""

    chance: float | None = None
    """The chance of a futile comparison to be settled by the last look: see `chance_to_settle`."""


def follow(ended: Mapping[int, Pair | None], seeds: Sequence[int], rule: StoppingRule) -> Standing:
    """Look after each seed until the comparison is settled, or a seed has not ended yet.

    ended: seed to the values of both sides; None if one side has failed for good, so that the seed makes no pair.
    Looks follow the order of `seeds`, not the order in which trials end: a study that was stopped goes on as it would
    have.
    """
    pairs: list[Pair] = []
    standing = Standing("open", None, rule.least)
    for rounds, seed in enumerate(seeds[: rule.most], start=1):
        if seed not in ended:
            # a futile comparison asks for no seed, but looks at those that its cells get for other comparisons
            return (
                standing
                if standing.verdict == "futile"
                else dataclasses.replace(standing, wanted=max(rounds, rule.least))
            )
        found = ended[seed]
        if found is not None:
            pairs.append(found)
        if rounds >= rule.least and len(pairs) >= rule.least:
            standing = _standing(pairs, rule, rounds)
            if standing.verdict in ("decided", "equivalent"):
                return standing
    return Standing("open", standing.difference, rule.most, waits=False)


def _standing(pairs: Sequence[Pair], rule: StoppingRule, rounds: int) -> Standing:
    verdict, difference = look(pairs, rule)
    if verdict != "open" or rounds == rule.most:
        return Standing(verdict, difference, rounds, waits=False)
    chance = chance_to_settle(difference, rule, len(pairs) + rule.most - rounds)
    if chance < rule.futility:
        return Standing("futile", difference, rounds, waits=False, chance=chance)
    return Standing("open", difference, rounds)


def look(pairs: Sequence[Pair], rule: StoppingRule) -> tuple[Verdict, Difference]:
    """The verdict on `rule.least` to `rule.most` pairs, and left - right with its repeated confidence interval."""
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


def chance_to_settle(found: Difference, rule: StoppingRule, last: int) -> float:
    """Predictive probability that a look at `last` pairs, more than there are now, settles an open comparison.

    For a normal mean with a flat prior, the mean of all `last` pairs has Student's t distribution around the present
    one. The spread is taken to stay as it is. 1 where no spread can be estimated: nothing is known yet.
    """
    if found.sd is None:
        return 1.0
    error = found.sd / math.sqrt(last)
    scale = found.sd * math.sqrt(1 / found.n - 1 / last)

    def below(mean: float) -> float:
        return float(stdtr(found.n - 1, (mean - found.mean) / scale))

    reach = rule.critical(last) * error
    chance = below(-reach) + 1 - below(reach)
    if rule.margin is not None:
        room = rule.margin - rule.critical_one_sided(last) * error
        # a mean that is both beyond `reach` and within the margin counts as decided, once
        room = min(room, reach)
        chance += below(room) - below(-room) if room > 0 else 0.0
    return chance
