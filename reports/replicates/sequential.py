"""How many replicates a comparison needs: looks at a growing number of pairs, with the error of all looks controlled.

Repeated confidence intervals (Jennison & Turnbull 1989, J. R. Stat. Soc. B 51; for equivalence 1993, Biometrics 49) of
the mean paired difference, by Student's t with as many nominal levels as looks, calibrated exactly: see boundaries.py.
The comparisons of a study share the level by Bonferroni.

What holds, for differences that are normal and independent from seed to seed: with probability 1 - level, no comparison
of the study is *decided* although its difference is zero, or to the wrong side, and none is *equivalent* although its
difference is the margin or more, whenever each of them stops. Each comparison can commit one of these errors only, so
it has its whole share for each of them.

A comparison that will hardly be settled ends as *futile*: its predictive probability is below what the study asks for
(Spiegelhalter, Freedman & Blackburn 1986, Controlled Clinical Trials 7). Without a look there is no error, so the level
holds whatever ends comparisons early.

Where differences do not vary at all nothing is decided: no spread can be estimated from them. Accuracies on few images
are steps, not normal; benchmarks/sequential.py measures what that does.
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
"""Left and right under one seed."""


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

    futility: float = 0.0
    """A comparison with a smaller chance to be settled by the last look ends; 0: none does."""

    def critical(self, n: int) -> float:
        """Student's t beyond which n pairs are decided: half the width of their interval, in standard errors."""
        return critical(self.least, self.most, self.level / self.comparisons / 2, n)

    def critical_one_sided(self, n: int) -> float:
        """The same for each of the two one-sided tests against the margin (Schuirmann 1987), of which one may err."""
        return critical(self.least, self.most, self.level / self.comparisons, n)


@dataclass(frozen=True)
class Standing:
    """Where a comparison stands."""

    verdict: Verdict
    difference: Difference | None
    """At the look that settled it, or the last one, with its repeated confidence interval; None before the first."""

    wanted: int
    """The first so many seeds are what it needs: those that it has looked at, and while it waits one more."""

    waits: bool = True
    """Whether a look is still to come: it has not ended, and a seed up to the most has not ended."""

    chance: float | None = None
    """Of a futile one: its chance to be settled by the most, see `chance_to_settle`."""


def follow(ended: Mapping[int, Pair | None], seeds: Sequence[int], rule: Rule) -> Standing:
    """Look after each round of seeds until the comparison is settled or futile, or a seed has not ended yet.

    ended: seed to what both sides came to; None where one has failed for good, which leaves the seed out of the pairs.
    Looks depend on the order of `seeds` and not on that in which trials end: a stopped study goes on as it would have.
    """
    pairs: list[Pair] = []
    standing = Standing("open", None, rule.least)
    for rounds, seed in enumerate(seeds[: rule.most], start=1):
        if seed not in ended:
            # one that is futile asks for no seed, but looks at those that its cells get for others
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


def _standing(pairs: Sequence[Pair], rule: Rule, rounds: int) -> Standing:
    verdict, difference = look(pairs, rule)
    if verdict != "open" or rounds == rule.most:
        return Standing(verdict, difference, rounds, waits=False)
    chance = chance_to_settle(difference, rule, len(pairs) + rule.most - rounds)
    if chance < rule.futility:
        return Standing("futile", difference, rounds, waits=False, chance=chance)
    return Standing("open", difference, rounds)


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


def chance_to_settle(found: Difference, rule: Rule, last: int) -> float:
    """Predictive probability that the look at `last` pairs, more than there are, settles an open comparison.

    Of a normal mean with a flat prior: that of all `last` pairs is Student's t around the one so far. The spread is
    taken as it is by now. 1 where none can be estimated: nothing is known yet.
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
        # what is both is decided
        room = min(room, reach)
        chance += below(room) - below(-room) if room > 0 else 0.0
    return chance
