"""Seeds until decided, on studies whose truth is known: how often it errs, and how many trials it saves.

python benchmarks/sequential.py [--studies 2000]
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from reports.replicates.sequential import StoppingRule

Floats = NDArray[np.float64]
OPEN, DECIDED, EQUIVALENT, FUTILE = 0, 1, 2, 3


@dataclass(frozen=True)
class Outcome:
    """How many studies ended, in which every other cell is compared with the first."""

    decided_in_error: float
    """Share of studies with a decided comparison whose true difference is zero or has the other sign."""

    equivalent_in_error: float
    """Share of studies with an equivalent comparison whose true difference is the margin or more."""

    saved: float
    """Share saved of the trials that `most` seeds for all cells would have taken; mean over studies."""

    power: float
    """Share of the real differences that are decided with the right sign; NaN if there are none."""

    settled: float
    """Share of the comparisons that are decided or equivalent."""

    power_fixed: float
    """Share of the real differences that paired t tests over all seeds find, with Holm's correction."""


def normal_values(effects: Sequence[float], studies: int, seeds: int, rng: np.random.Generator) -> Floats:
    """Values of shape (studies, cells, seeds); paired differences have the means `effects` and standard deviation 1."""
    values: Floats = rng.standard_normal((studies, len(effects) + 1, seeds)) / math.sqrt(2)
    return values + np.array([0.0, *effects])[:, None]


def related_values(effects: Sequence[float], studies: int, seeds: int, rng: np.random.Generator) -> Floats:
    """As `normal_values`, but correlations between differences vary, from -0.8 to 0.8."""
    loads = np.linspace(-0.9, 0.9, len(effects))[:, None]
    shared, own = rng.standard_normal((studies, 1, seeds)), rng.standard_normal((studies, len(effects), seeds))
    values = np.zeros((studies, len(effects) + 1, seeds))
    values[:, 1:] = loads * shared + np.sqrt(1 - loads**2) * own + np.array(effects)[:, None]
    return values


def accuracies(
    effects: Sequence[float], studies: int, seeds: int, rng: np.random.Generator, images: int, accuracy: float = 0.9
) -> Floats:
    """As `normal_values`, but accuracies on so many images, in units of a paired difference's standard deviation."""
    step = math.sqrt(2 * accuracy * (1 - accuracy) / images)
    expected = np.clip(accuracy + step * np.array([0.0, *effects]), 0, 1)
    found: Floats = rng.binomial(images, expected[:, None], (studies, len(expected), seeds)) / images / step
    return found


Values = Callable[[Sequence[float], int, int, np.random.Generator], Floats]
KINDS: dict[str, Values] = {
    "normal": normal_values,
    "normal, related": related_values,
    **{f"{images} images": partial(accuracies, images=images) for images in (1000, 100, 20)},
}
"""Kinds of values, by how they scatter."""

Noise = Callable[[np.random.Generator, tuple[int, ...]], Floats]
NOISES: dict[str, Noise] = {
    "t with 3 degrees of freedom, of each cell": lambda rng, size: rng.standard_t(3, size) / math.sqrt(3),
    "log-normal, of each cell": lambda rng, size: _standard(np.exp(rng.standard_normal(size))),
    "an outlier of 5 sd in 10 seeds, of each cell": lambda rng, size: _standard(
        rng.standard_normal(size) * np.where(rng.random(size) < 0.1, 5.0, 1.0)
    ),
    "exponential, of the differences": lambda rng, size: _first_without(rng.standard_exponential(size) - 1),
}
"""How values scatter that are not normal; the last are skewed even when two cells are subtracted."""


def _standard(values: Floats) -> Floats:
    return (values - values.mean()) / values.std()


def _first_without(values: Floats) -> Floats:
    """The first cell has no noise of its own, so that the differences are what the others scatter by."""
    values[:, 0] = 0.0
    return values


def run(values: Floats, rule: StoppingRule) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Verdict, seeds and mean at the last look of each comparison with the first cell; shapes (studies, cells - 1)."""
    differences = values[:, 1:] - values[:, :1]
    verdicts = np.full(differences.shape[:2], OPEN)
    seeds = np.full(differences.shape[:2], rule.most)
    means = np.zeros(differences.shape[:2])
    for n in range(rule.least, rule.most + 1):
        mean = differences[..., :n].mean(-1)
        sd = differences[..., :n].std(-1, ddof=1)
        error = sd / math.sqrt(n)
        # as in reports.statistics: differences without any spread decide nothing
        going = verdicts == OPEN
        looks = going & (error > 1e-12)
        decided = looks & (np.abs(mean) > rule.critical(n) * error)
        equivalent = np.zeros_like(decided)
        if rule.margin is not None:
            equivalent = looks & ~decided & (np.abs(mean) + rule.critical_one_sided(n) * error < rule.margin)
        futile = np.zeros_like(decided)
        if n < rule.most and rule.futility:
            futile = looks & ~decided & ~equivalent & (chances(mean, sd, n, rule) < rule.futility)
        means = np.where(going, mean, means)
        for verdict, where in ((DECIDED, decided), (EQUIVALENT, equivalent), (FUTILE, futile)):
            verdicts[where], seeds[where] = verdict, n
    return verdicts, seeds, means


def chances(mean: Floats, sd: Floats, n: int, rule: StoppingRule) -> Floats:
    """`reports.replicates.sequential.chance_to_settle` of many comparisons at once."""
    scale = np.where(sd > 1e-12, sd, np.inf) * math.sqrt(1 / n - 1 / rule.most)
    reach = rule.critical(rule.most) * sd / math.sqrt(rule.most)

    def below(limit: Floats) -> Floats:
        found: Floats = stdtr(n - 1, (limit - mean) / scale)
        return found

    chance = below(-reach) + 1 - below(reach)
    if rule.margin is not None:
        room = np.minimum(rule.margin - rule.critical_one_sided(rule.most) * sd / math.sqrt(rule.most), reach)
        chance += np.where(room > 0, below(room) - below(-room), 0)
    return chance


def summarise(values: Floats, effects: Sequence[float], rule: StoppingRule) -> Outcome:
    """The outcome of studies with true differences `effects`, in the unit of the values."""
    truth = np.array(effects)
    verdicts, seeds, means = run(values, rule)
    right = (verdicts == DECIDED) & (np.sign(means) == np.sign(truth)) & (truth != 0)
    wrong = (verdicts == DECIDED) & ~right
    missed = (verdicts == EQUIVALENT) & (np.abs(truth) >= (math.inf if rule.margin is None else rule.margin))
    # the first cell gets seeds as long as any other needs it
    trials = seeds.sum(1) + seeds.max(1)
    real = truth != 0
    fixed = holm_decides(values, rule.level)
    return Outcome(
        decided_in_error=float(wrong.any(1).mean()),
        equivalent_in_error=float(missed.any(1).mean()),
        saved=1 - float(trials.mean()) / ((len(effects) + 1) * rule.most),
        power=float(right[:, real].mean()) if real.any() else math.nan,
        settled=float(np.isin(verdicts, (DECIDED, EQUIVALENT)).mean()),
        power_fixed=float(fixed[:, real].mean()) if real.any() else math.nan,
    )


def holm_decides(values: Floats, level: float) -> NDArray[np.bool_]:
    """Which differences paired t tests over all seeds find, with Holm's step-down correction (Holm 1979).

    Differences that are the same for all seeds decide nothing.
    """
    differences = values[:, 1:] - values[:, :1]
    n, comparisons = differences.shape[-1], differences.shape[1]
    error = differences.std(-1, ddof=1) / math.sqrt(n)
    t = np.abs(differences.mean(-1)) / np.where(error > 1e-12, error, np.inf)
    p = 2 * stdtr(n - 1, -t)
    order = np.argsort(p, axis=1)
    below = np.take_along_axis(p, order, 1) <= level / np.arange(comparisons, 0, -1)
    rejected = np.zeros_like(below)
    np.put_along_axis(rejected, order, np.logical_and.accumulate(below, axis=1), 1)
    return rejected


def errors(studies: int, rng: np.random.Generator) -> None:
    """Print the table of errors: whatever the size and kind of studies, no share should exceed the level."""
    print(f"Error: share of {studies} studies, level 0.05, 3 to 12 seeds, margin 1 sd; none ends as futile")
    print("| values | cells | differences | decided in error | equivalent in error |")
    print("|---|--:|---|--:|--:|")
    for kind in KINDS:
        for cells in (2, 6, 12):
            for name, effects in truths(cells - 1).items():
                found = error_of(effects, kind, studies, rng)
                print(f"| {kind} | {cells} | {name} | {found.decided_in_error:.4f} | {found.equivalent_in_error:.4f} |")


def assumptions(studies: int, rng: np.random.Generator) -> None:
    """Print how often studies without a difference err whose differences are not normal, as the levels assume."""
    print(f"\nNot normal: share of {studies} studies without a difference that decide one, 3 to 12 seeds, level 0.05")
    print("| noise | 2 cells | 8 cells |\n|---|--:|--:|")
    for name, noise in NOISES.items():
        shares = []
        for cells in (2, 8):
            effects = [0.0] * (cells - 1)
            values = noise(rng, (studies, cells, 12))
            shares.append(summarise(values, effects, StoppingRule(3, 12, 0.05, cells - 1)).decided_in_error)
        print(f"| {name} | {shares[0]:.3f} | {shares[1]:.3f} |")


def truths(comparisons: int) -> dict[str, list[float]]:
    """True differences, in standard deviations: none, all just above a margin of 1, and half of each."""
    just = 1.0001
    found = {"none": [0.0] * comparisons, "just above the margin": [just] * comparisons}
    if comparisons > 1:
        found["half of each"] = [just if i % 2 else 0.0 for i in range(comparisons)]
    return found


def error_of(
    effects: Sequence[float], kind: str, studies: int, rng: np.random.Generator, futility: float = 0.0
) -> Outcome:
    """One line of the table of errors. A comparison that ends as futile has looked less often and can only err less."""
    rule = StoppingRule(3, 12, 0.05, len(effects), 1.0, futility)
    return summarise(KINDS[kind](effects, studies, rule.most, rng), effects, rule)


SAVINGS: tuple[tuple[tuple[float, ...], int], ...] = (
    ((1.5, 2.5, 4, 0, 0, 0, 0), 12),
    ((2, 3, 4, 0, 0, 0, 0), 12),
    ((4, 6, 8, 0, 0, 0, 0), 12),
    ((0.75, 1, 1.25, 1.5, 0, 0, 0), 12),
    ((1.5, 2.5, 4), 12),
    ((0, 0, 0, 0, 0, 0, 0), 12),
    ((4, 6, 8, 0, 0, 0, 0), 20),
)
"""True differences from the first cell, in standard deviations of a paired difference, and the most seeds."""

FUTILITY = 0.1
"""The futility of a study that does not state any."""


def savings(studies: int, rng: np.random.Generator) -> None:
    """Print the table of savings: trials saved against the most seeds for all, and power, with and without futility."""
    print(f"\nSaving: {studies} studies each, 3 seeds at least, level 0.05; differences and margins in sd;")
    print(f"in the order of the slashes: futility 0 / futility {FUTILITY}")
    heads = ["differences", "most", "margin", "saved", "possible, none given up", "one alone, none given up"]
    heads += ["real ones decided", "by Holm's t", "settled"]
    print(f"| {' | '.join(heads)} |\n|---|{'--:|' * (len(heads) - 1)}")
    for effects, most in SAVINGS:
        for margin in (None, 1.0, 1.5, 2.0, 3.0):
            rule = StoppingRule(3, most, 0.05, len(effects), margin)
            values = normal_values(effects, studies, most, rng)
            all_, some = (summarise(values, effects, dataclasses.replace(rule, futility=f)) for f in (0.0, FUTILITY))
            alone = summarise(values, effects, dataclasses.replace(rule, comparisons=1))
            print(
                f"| {', '.join(f'{effect:g}' for effect in effects)} | {most} | {margin or 'none'} "
                f"| {all_.saved:.0%} / {some.saved:.0%} | {bound(effects, rule):.0%} | {alone.saved:.0%} "
                f"| {all_.power:.2f} / {some.power:.2f} | {all_.power_fixed:.2f} "
                f"| {all_.settled:.2f} / {some.settled:.2f} |"
            )


def bound(effects: Sequence[float], rule: StoppingRule) -> float:
    """The greatest share of trials that any procedure can save that gives no comparison up before the most seeds.

    It holds even for one that knows the spread: see `fewest`. Independent comparisons must nearly share the level by
    Bonferroni.
    """
    needed = [fewest(effect, rule) for effect in effects]
    return 1 - (sum(needed) + max(needed)) / ((len(effects) + 1) * rule.most)


def fewest(effect: float, rule: StoppingRule) -> float:
    """The fewest pairs that a test of a true `effect` can take on average.

    If a test ends in some way with probability p, and would end so, in error, with probability at most a if the truth
    were `distance` standard deviations away, it takes at least 2 KL(p, a) / distance^2 pairs (Wald 1945, Ann. Math.
    Stat. 16). If it is neither decided nor equivalent, it takes the most.
    """
    share, size = rule.level / rule.comparisons, abs(effect)
    p = np.linspace(0, 1, 201)
    decided, equivalent = (axis.ravel() for axis in np.meshgrid(p, p))
    settled = decided + equivalent
    possible = settled <= 1 + 1e-9
    if not size:
        possible &= decided <= share
    if rule.margin is None or size >= rule.margin:
        possible &= equivalent <= share
    pairs = rule.least * settled + rule.most * (1 - settled)
    pairs = np.maximum(pairs, 2 * _divergence(decided, share / 2) / size**2 if size else 0)
    if rule.margin is not None and size < rule.margin:
        pairs = np.maximum(pairs, 2 * _divergence(equivalent, share) / (rule.margin - size) ** 2)
    return float(pairs[possible].min())


def _divergence(p: Floats, a: float) -> Floats:
    """Kullback-Leibler divergence of a coin with probability p from one with a; 0 where p is not the larger."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(p > 0, p * np.log(p / a), 0) + np.where(p < 1, (1 - p) * np.log((1 - p) / (1 - a)), 0)
    return np.where(p > a, found, 0)


def main() -> None:
    """All tables, with a fixed seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="of each kind; ten times as many for rare errors")
    studies = parser.parse_args().studies
    rng = np.random.default_rng(20261121)
    errors(10 * studies, rng)
    savings(studies, rng)
    assumptions(10 * studies, rng)


if __name__ == "__main__":
    main()
