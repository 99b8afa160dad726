"""What each option of a factor adds, and what two add together. Pure functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from .least_squares import Contrast, LeastSquares, Term
from .significance import holm
from .statistics import Floats

Row = tuple[Mapping[str, str], int, float]
"""A run: factor to option, the seed, the metric's value."""

SEED = "the seed"
"""The name of the block among aliases, worded so that a factor is hardly called the same."""

_EXACT = 1e-10
"""A residual below this share of the values is rounding: the model fits exactly, and no spread can be estimated."""


_Indicators = dict[tuple[str, str], NDArray[np.bool_]]


@dataclass(frozen=True)
class Effect:
    """What an option adds, or two options add together beyond what each adds."""

    factors: Term
    """((factor, option),): a main effect, against the factor's first option; two entries: a two-way interaction."""

    estimate: float
    low: float | None
    """Student's t interval, uncorrected. None, like p, without a degree of freedom or where the fit is exact."""

    high: float | None
    p: float | None
    adjusted: float | None
    """p after Holm's correction over all effects that have one."""


@dataclass(frozen=True)
class Unidentified:
    """An effect that the design does not identify."""

    factors: Term
    aliases: tuple[Term, ...]
    """The effects that it can't be told from; empty where no run has the option, both options, or the first option."""


@dataclass(frozen=True)
class Effects:
    """The effects that a design identifies, and the fit that they come from."""

    effects: tuple[Effect, ...]
    """Main effects in the order of factors and options, then interactions."""

    unidentified: tuple[Unidentified, ...]
    additive: bool
    """Whether main effects hold only if the unidentified interactions are zero, as in a fraction of a factorial."""

    runs: int
    df: int
    """Residual degrees of freedom: runs less the rank of the design."""

    sd: float | None
    """Residual standard deviation; None without a degree of freedom."""

    blocked: bool
    """Whether the seed is a block of the model, as it is where runs have several seeds."""


def effects(rows: Iterable[Row], factors: Mapping[str, Sequence[str]], level: float = 0.05) -> Effects:
    """Main effects and two-way interactions of the `factors` (name to its options, the first the reference).

    Ordinary least squares on indicators, errors of one variance (Montgomery, Design and Analysis of Experiments,
    chapters 4 to 8). The seed is a block: its level is taken out, as pairing does. Of a row's choices only those of
    `factors` are looked at.

    A main effect is the difference to the first option, averaged over those options of every other factor that were run
    with both. An interaction is a difference of differences: both options, minus each option alone, plus neither. So in
    a leave-one-out design a main effect is the one with all other factors on, and no additivity is assumed. Effects
    that the design does not identify are `unidentified`, with their aliases. Where the model would not identify every
    main effect if it kept such interactions, they are left out (`additive`); otherwise they stay in it.

    Rows whose value is not finite are left out. ValueError for a row with an option that `factors` does not list.
    """
    kept = [row for row in rows if math.isfinite(row[2])]
    values = np.array([value for _, _, value in kept], dtype=np.float64)
    has = _indicators(kept, factors)
    held, mains, crossed = _held(has, len(kept)), _mains(has, factors), _crossed(has, factors)
    full = LeastSquares(held | mains | crossed, values)
    base = full if full.complete else LeastSquares(held | mains, values)
    told: dict[Term, Contrast] = {term: {term: 1.0} for term in crossed if full.identifies({term: 1.0})}
    asked = {term: _averaged(term, crossed, has, factors) for term in mains if base.identifies({term: 1.0})}
    additive = not all(map(full.identifies, asked.values()))
    if additive:
        left = {term: column for term, column in crossed.items() if term in told}
        asked = {term: _averaged(term, left, has, factors) for term in asked}
        full = LeastSquares(held | mains | left, values)
    firsts = {term: has[term[0][0], factors[term[0][0]][0]] for term in mains}
    untold = {term: base.aliases(term) for term in mains if term not in asked and firsts[term].any()}
    untold |= base.aliases_beyond([term for term in crossed if term not in told], crossed)
    return Effects(
        _estimates(full, asked | told, level, float(np.abs(values).max(initial=0.0))),
        tuple(Unidentified(term, untold.get(term, ())) for term in _every(factors) if term not in asked | told),
        additive,
        len(kept),
        full.df,
        full.sd,
        len(held) > 1,
    )


def _indicators(rows: Sequence[Row], factors: Mapping[str, Sequence[str]]) -> _Indicators:
    """(factor, option) to which runs have it; the same for each seed that occurs, as (SEED, seed)."""
    has: _Indicators = {}
    for name, levels in factors.items():
        options = np.array([options[name] for options, _, _ in rows], dtype=np.str_)
        unknown = set(options.tolist()) - set(levels)
        if unknown:
            raise ValueError(f"a run has {name}={min(unknown)!r}; expected one of {', '.join(map(repr, levels))}")
        has |= {(name, level): options == level for level in levels}
    seeds = np.array([seed for _, seed, _ in rows], dtype=np.int64)
    return has | {(SEED, str(seed)): seeds == seed for seed in np.unique(seeds)}


def _held(has: _Indicators, runs: int) -> dict[Term, Floats]:
    """Columns of the intercept and of all seeds but the first."""
    columns: dict[Term, Floats] = {(): np.ones(runs)}
    seeds = [(name, level) for name, level in has if name == SEED]
    return columns | {(seed,): has[seed].astype(np.float64) for seed in seeds[1:]}


def _mains(has: _Indicators, factors: Mapping[str, Sequence[str]]) -> dict[Term, Floats]:
    every = (((name, option),) for name, options in factors.items() for option in options[1:])
    return {term: has[term[0]].astype(np.float64) for term in every if has[term[0]].any()}


def _crossed(has: _Indicators, factors: Mapping[str, Sequence[str]]) -> dict[Term, Floats]:
    both = {(one, two): has[one] & has[two] for one, two in _pairs(factors)}
    return {term: runs.astype(np.float64) for term, runs in both.items() if runs.any()}


def _pairs(factors: Mapping[str, Sequence[str]]) -> Iterable[tuple[tuple[str, str], tuple[str, str]]]:
    for one, two in combinations(factors, 2):
        yield from product(product([one], factors[one][1:]), product([two], factors[two][1:]))


def _every(factors: Mapping[str, Sequence[str]]) -> Iterable[Term]:
    yield from (((name, option),) for name, options in factors.items() for option in options[1:])
    yield from _pairs(factors)


def _averaged(
    term: Term, crossed: Mapping[Term, Floats], has: _Indicators, factors: Mapping[str, Sequence[str]]
) -> Contrast:
    """A main effect: the option's coefficient, plus the mean of its interactions with the other factors' options.

    Of these, only options under which both this option and the first one were run.
    """
    ((name, option),) = term
    place = [*factors].index(name)
    weights = {term: 1.0}
    for other_place, (other, options) in enumerate(factors.items()):
        if other == name:
            continue
        new, old = has[name, option], has[name, factors[name][0]]
        under = [level for level in options if (new & has[other, level]).any() and (old & has[other, level]).any()]
        for level in under:
            pair = (term[0], (other, level)) if place < other_place else ((other, level), term[0])
            if pair in crossed:
                weights[pair] = 1 / len(under)
    return weights


def _estimates(fit: LeastSquares, contrasts: Mapping[Term, Contrast], level: float, scale: float) -> tuple[Effect, ...]:
    found = {term: fit.estimate(contrast) for term, contrast in contrasts.items()}
    if fit.sd is None or fit.sd <= _EXACT * scale:
        return tuple(Effect(term, estimate, None, None, None, None) for term, (estimate, _) in found.items())
    errors = {term: unit * fit.sd for term, (_, unit) in found.items()}
    p = [2 * float(stdtr(fit.df, -abs(found[term][0]) / error)) for term, error in errors.items()]
    reach = float(stdtrit(fit.df, 1 - level / 2))
    return tuple(
        Effect(term, estimate, estimate - reach * errors[term], estimate + reach * errors[term], one, adjusted)
        for (term, (estimate, _)), one, adjusted in zip(found.items(), p, holm(p), strict=True)
    )
