"""Tests of paired differences: exact sign-flip permutation, corrected for the number of tests. Pure functions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from .statistics import Difference, Floats, Pairs, finite, mean_difference, pair

PairVerdict = Literal["better", "worse", "not significant", "n too small", "no pair"]
LEVEL = 0.05
"""Level of the tests of a family together: the chance that any is called better or worse though nothing differs."""

EXACT = 20
"""The most pairs whose flips are all tried: 2^20."""

_TIE = 1e-9
"""Sums that differ by less than this share of all magnitudes added up are equal.

It is far above rounding errors, and far below the effect of one image.
"""

_AT_ONCE = 2**22
"""Sums held in memory at a time."""


@dataclass(frozen=True)
class PairedComparison:
    """An arm against a reference, paired by seed."""

    difference: Difference | None
    """Arm minus reference, whichever is better; its interval is not corrected. None without a pair."""

    p: float | None
    """p of the sign-flip test, uncorrected; None without a pair."""

    adjusted: float | None
    """p after Holm's correction over the family: all comparisons that have a pair."""

    verdict: PairVerdict
    """`n too small`: so few pairs could not have reached the level, whatever their differences."""

    superiority: float | None
    """The probability that the arm is the better one under a seed: see `superiority` below."""

    dropped: tuple[int, ...]
    """Seeds for which one of the two has no finite value."""


def sign_flips(rows: Floats) -> Floats:
    """Two-sided p for the mean of each row of finite paired differences, of shape (comparisons, pairs).

    It is the share of sign flips whose mean is at least as far from zero. Fisher (1935, section 21) and Pitman
    (1937): without an effect each difference could as well have had the other sign. Exact, over all 2^n flips, up to
    n = 20; beyond, 2^19 - 1 flips are drawn with a fixed seed, and p is (1 + hits) / 2^19 (Phipson & Smyth 2010), never
    zero, so that the test keeps its level. Sums that differ by rounding only are equal. A difference of zero stays in
    the row but moves no sum. 1.0 without pairs, and where all differences are zero.
    """
    count, n = rows.shape
    if n == 0 or count == 0:
        return np.ones(count)
    if n > EXACT:
        return _sampled_flips(rows)
    some = max(1, _AT_ONCE >> (n - 1))
    return np.concatenate([_exact_flips(rows[start : start + some]) for start in range(0, count, some)])


def _exact_flips(rows: Floats) -> Floats:
    """p over all flips of the other signs. The first is kept: to flip all signs gives the same distance from zero."""
    sums = rows[:, :1]
    for column in range(1, rows.shape[1]):
        value = rows[:, column, None]
        sums = np.concatenate([sums + value, sums - value], axis=1)
    return np.asarray((np.abs(sums) >= _threshold(rows)[:, None]).mean(axis=1))


def _sampled_flips(rows: Floats) -> Floats:
    draw = np.random.default_rng(0)
    flips, some = 2 ** (EXACT - 1), 2**14
    threshold = _threshold(rows)
    hits = np.zeros(len(rows))
    for start in range(0, flips, some):
        signs = 2.0 * draw.integers(0, 2, (some, rows.shape[1]), dtype=np.int8) - 1
        if start == 0:
            signs[0] = 1  # the signs as observed count as one of the flips: the 1 in (1 + hits)
        hits += (np.abs(signs @ rows.T) >= threshold).sum(axis=0)
    return np.asarray(hits / flips)


def _threshold(rows: Floats) -> Floats:
    return np.asarray(np.abs(rows.sum(axis=1)) - _TIE * np.abs(rows).sum(axis=1))


def smallest_p(n: int) -> float:
    """The smallest p that `sign_flips` can give for n pairs: 2 / 2^n, from n = 20 on 2 / 2^20; 1.0 for n < 1."""
    return 1.0 if n < 1 else 2.0 / 2 ** min(n, EXACT)


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p in the given order (Holm 1979): of m, the k-th smallest times m - k + 1, never below the one before.

    To reject where the adjusted p is at most the level keeps the probability of any false rejection at the level,
    however the tests depend on each other.
    """
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p, dtype=np.float64)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def superiority(differences: Iterable[float], *, larger_is_better: bool = True) -> float | None:
    """The share of pairs whose difference is for the better, ties counted half; None without pairs.

    The paired version of the probability of superiority (McGraw & Wong 1992, "common language effect size"; ties as in
    Vargha & Delaney's A, 2000): for two runs under one seed, not for two runs drawn independently.
    """
    signs = np.sign(finite(differences))
    if len(signs) == 0:
        return None
    return float((1 + (signs if larger_is_better else -signs)).mean() / 2)


def compare(
    arms: Mapping[str, Mapping[int, float]], reference: str, *, larger_is_better: bool, level: float = 0.05
) -> dict[str, PairedComparison]:
    """Every arm (name to seed to value) against the arm `reference`, as one family: see `compare_pairs`."""
    others = {name: (values, arms[reference]) for name, values in arms.items() if name != reference}
    return compare_pairs(others, larger_is_better=larger_is_better, level=level)


def compare_pairs(
    comparisons: Mapping[str, tuple[Mapping[int, float], Mapping[int, float]]],
    *,
    larger_is_better: bool,
    level: float = 0.05,
) -> dict[str, PairedComparison]:
    """Each arm against its own reference (both seed to value), by the sign-flip test with Holm's correction over all.

    The family is every comparison that has a pair: one without makes no claim that could be false. A comparison is
    `n too small` if it would not be significant even with the smallest p that its number of pairs allows, the others'
    p being as they are. With equal n that is so where the smallest p, 2 / 2^n, times the size of the family exceeds the
    level. The chance of any false `better` or `worse` among the comparisons is at most `level`.
    """
    paired = {name: pair(arm, reference) for name, (arm, reference) in comparisons.items()}
    family = {name: pairs for name, pairs in paired.items() if pairs.seeds}
    p = dict(zip(family, _p_values(family.values()), strict=True))
    adjusted = dict(zip(family, holm(list(p.values())), strict=True))
    undecidable = _undecidable(p, {name: len(pairs.seeds) for name, pairs in family.items()}, level)
    found = {}
    for name, pairs in paired.items():
        difference = mean_difference(pairs, 1 - level)
        arm, reference = comparisons[name]
        found[name] = PairedComparison(
            difference,
            p.get(name),
            adjusted.get(name),
            _verdict(difference, adjusted.get(name), name in undecidable, larger_is_better, level),
            superiority(pairs.differences, larger_is_better=larger_is_better),
            tuple(sorted((arm.keys() | reference.keys()) - set(pairs.seeds))),
        )
    return found


def _p_values(paired: Iterable[Pairs]) -> list[float]:
    """`sign_flips` of each; comparisons with equally many pairs are computed together."""
    found = [pairs.differences for pairs in paired]
    p: Floats = np.ones(len(found))
    by_size: dict[int, list[int]] = defaultdict(list)
    for index, differences in enumerate(found):
        by_size[len(differences)].append(index)
    for indices in by_size.values():
        p[indices] = sign_flips(np.stack([found[index] for index in indices]))
    return [float(value) for value in p]


def _undecidable(p: Mapping[str, float], n: Mapping[str, int], level: float) -> set[str]:
    """Comparisons that would not be significant even with the smallest p of their n, given the others' p."""
    any_decided = min(p.values(), default=1.0) * len(p) <= level
    found = set()
    for name in p:
        floor = smallest_p(n[name])
        # where nothing is decided, even the smallest p would have to pass Holm's first, strictest step
        if floor * len(p) > level and not (any_decided and _adjusted_alone({**p, name: floor}, name) <= level):
            found.add(name)
    return found


def _adjusted_alone(p: Mapping[str, float], name: str) -> float:
    return dict(zip(p, holm(list(p.values())), strict=True))[name]


def _verdict(
    difference: Difference | None, adjusted: float | None, undecidable: bool, larger_is_better: bool, level: float
) -> PairVerdict:
    if difference is None or adjusted is None:
        return "no pair"
    if adjusted <= level:
        return "better" if (difference.mean > 0) == larger_is_better else "worse"
    return "n too small" if undecidable else "not significant"


class Equals(NamedTuple):
    """The arms not distinguishable from the best."""

    to: str
    """The arm with the best mean among those that have enough pairs to be told from another."""

    arms: frozenset[str]
    """`to`, and the arms that can't be told from it."""


def among_the_best(
    arms: Mapping[str, Mapping[int, float]], *, larger_is_better: bool, level: float = 0.05
) -> Equals | None:
    """The arms not distinguishable from the best, the best included; None where n is too small to tell any apart.

    An arm is left out where the sign-flip test finds it worse than the arm with the best mean, Bonferroni-corrected
    over arms - 1. Proof: the truly best is left out only if one of the arms - 1 others beats it, in error, in a test at
    level / (arms - 1); by the union bound the chance of any such error is at most `level`, whichever was observed best.

    Two-sided as in `compare`, so that the two never contradict each other where the observed best is the reference. The
    best mean is taken among the arms with enough pairs to be told from another; an arm with fewer stays in. Arms
    without a value are left out and not counted.
    """
    known = {name: {s: v for s, v in values.items() if math.isfinite(v)} for name, values in arms.items()}
    means = {name: sum(values.values()) / len(values) for name, values in known.items() if values}
    limit = level / max(1, len(means) - 1)
    sign = 1 if larger_is_better else -1
    for best in sorted(means, key=lambda name: -sign * means[name]):
        others = [name for name in means if name != best]
        if all(smallest_p(len(known[best].keys() & known[name].keys())) > limit for name in others):
            continue
        found = [pair(known[best], known[name]) for name in others]
        told = zip(others, found, _p_values(found), strict=True)
        worse = {name for name, pairs, p in told if p <= limit and sign * pairs.differences.sum() > 0}
        return Equals(best, frozenset(means.keys() - worse))
    return None
