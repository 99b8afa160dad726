"""Seeds until decided, on studies whose truth is known: how often it errs, and how many trials it saves.

python benchmarks/sequential.py [--studies 2000]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from reports.sequential import Rule

Floats = NDArray[np.float64]
OPEN, DECIDED, EQUIVALENT = 0, 1, 2


@dataclass(frozen=True)
class Outcome:
    """What became of many studies, in which every other cell is compared with the first."""

    decided_in_error: float
    """Share of studies with a decided comparison whose true difference is zero, or to the wrong side."""

    equivalent_in_error: float
    """Share of studies with an equivalent comparison whose true difference is the margin or more."""

    saved: float
    """Share of the trials that `most` seeds for all would have taken, mean over studies."""

    power: float
    """Share of the real differences that are decided to the right side; NaN where there are none."""

    settled: float
    """Share of the comparisons that are decided or equivalent."""

    power_fixed: float
    """The same share by paired t tests of all seeds with Holm's correction."""


def normal_values(effects: Sequence[float], studies: int, seeds: int, rng: np.random.Generator) -> Floats:
    """Shape (studies, cells, seeds); the paired differences have standard deviation 1, `effects` are their means."""
    values: Floats = rng.standard_normal((studies, len(effects) + 1, seeds)) / math.sqrt(2)
    return values + np.array([0.0, *effects])[:, None]


def accuracies(
    effects: Sequence[float], studies: int, seeds: int, rng: np.random.Generator, images: int, accuracy: float = 0.9
) -> Floats:
    """The same as shares of so many images; `effects` in standard deviations of a paired difference."""
    step = math.sqrt(2 * accuracy * (1 - accuracy) / images)
    expected = np.clip(accuracy + step * np.array([0.0, *effects]), 0, 1)
    found: Floats = rng.binomial(images, expected[:, None], (studies, len(expected), seeds)) / images
    return found


def run(values: Floats, rule: Rule) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """(verdict, seeds, mean at the last look) of each comparison with the first cell, of shape (studies, cells - 1)."""
    differences = values[:, 1:] - values[:, :1]
    verdicts = np.full(differences.shape[:2], OPEN)
    seeds = np.full(differences.shape[:2], rule.most)
    means = np.zeros(differences.shape[:2])
    for n in range(rule.least, rule.most + 1):
        mean = differences[..., :n].mean(-1)
        error = differences[..., :n].std(-1, ddof=1) / math.sqrt(n)
        # as reports.statistics: what does not vary decides nothing
        looks = (verdicts == OPEN) & (error > 1e-12)
        decided = looks & (np.abs(mean) > rule.critical(n) * error)
        settled = decided
        if rule.margin is not None:
            settled = decided | (looks & (np.abs(mean) + rule.critical_one_sided(n) * error < rule.margin))
        means = np.where(verdicts == OPEN, mean, means)
        verdicts[settled], verdicts[decided] = EQUIVALENT, DECIDED
        seeds[settled] = n
    return verdicts, seeds, means


def summarise(values: Floats, effects: Sequence[float], rule: Rule) -> Outcome:
    """What came of studies with these true differences, in the unit of the values."""
    truth = np.array(effects)
    verdicts, seeds, means = run(values, rule)
    right = (verdicts == DECIDED) & (np.sign(means) == np.sign(truth)) & (truth != 0)
    wrong = (verdicts == DECIDED) & ~right
    missed = (verdicts == EQUIVALENT) & (np.abs(truth) >= (math.inf if rule.margin is None else rule.margin))
    # the first cell goes on as long as any other needs it
    trials = seeds.sum(1) + seeds.max(1)
    real = truth != 0
    fixed = holm_decides(values, rule.level)
    return Outcome(
        decided_in_error=float(wrong.any(1).mean()),
        equivalent_in_error=float(missed.any(1).mean()),
        saved=1 - float(trials.mean()) / ((len(effects) + 1) * rule.most),
        power=float(right[:, real].mean()) if real.any() else math.nan,
        settled=float((verdicts != OPEN).mean()),
        power_fixed=float(fixed[:, real].mean()) if real.any() else math.nan,
    )


def holm_decides(values: Floats, level: float) -> NDArray[np.bool_]:
    """Paired t tests over all seeds with Holm's step-down correction (Holm 1979); ties in all seeds decide nothing."""
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
    """No study may err more often than the level, whatever its size and its numbers."""
    print(f"Error: share of {studies} studies, level 0.05, 3 to 12 seeds, margin 1 sd")
    print("| values | cells | differences | decided in error | equivalent in error |")
    print("|---|--:|---|--:|--:|")
    for images in (None, 1000, 100, 20):
        for cells in (2, 6, 12):
            for name, effects in truths(cells - 1).items():
                found = error_of(effects, images, studies, rng)
                kind = "normal" if images is None else f"{images} images"
                print(f"| {kind} | {cells} | {name} | {found.decided_in_error:.4f} | {found.equivalent_in_error:.4f} |")


def truths(comparisons: int) -> dict[str, list[float]]:
    """True differences, in standard deviations: none, all just above a margin of 1, and half of each."""
    just = 1.0001
    found = {"none": [0.0] * comparisons, "just above the margin": [just] * comparisons}
    if comparisons > 1:
        found["half of each"] = [just if i % 2 else 0.0 for i in range(comparisons)]
    return found


def error_of(effects: Sequence[float], images: int | None, studies: int, rng: np.random.Generator) -> Outcome:
    """One line of the table of errors; of accuracies the margin is 1 sd of theirs."""
    unit = 1.0 if images is None else math.sqrt(2 * 0.9 * 0.1 / images)
    rule = Rule(3, 12, 0.05, len(effects), unit)
    if images is None:
        values = normal_values(effects, studies, rule.most, rng)
    else:
        values = accuracies(effects, studies, rule.most, rng, images)
    return summarise(values, [unit * effect for effect in effects], rule)


SAVINGS: tuple[tuple[tuple[float, ...], int], ...] = (
    ((1.5, 2.5, 4, 0, 0, 0, 0), 12),
    ((2, 3, 4, 0, 0, 0, 0), 12),
    ((4, 6, 8, 0, 0, 0, 0), 12),
    ((1.5, 2.5, 4), 12),
    ((4, 6, 8, 0, 0, 0, 0), 20),
)
"""True differences from the first cell, in standard deviations of a paired difference, and the most seeds."""


def savings(studies: int, rng: np.random.Generator) -> None:
    """Trials saved against the most seeds for all, and what they cost in power."""
    print(f"\nSaving: {studies} studies each, 3 seeds at least, level 0.05; differences and margins in sd")
    print("| differences | most | margin | saved | real ones decided | by Holm's t at the most | settled |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for effects, most in SAVINGS:
        for margin in (None, 1.0, 1.5, 2.0, 3.0):
            rule = Rule(3, most, 0.05, len(effects), margin)
            found = summarise(normal_values(effects, studies, most, rng), effects, rule)
            print(
                f"| {', '.join(f'{effect:g}' for effect in effects)} | {most} | {margin or 'none'} | {found.saved:.0%} "
                f"| {found.power:.2f} | {found.power_fixed:.2f} | {found.settled:.2f} |"
            )


def main() -> None:
    """Both tables, with a fixed seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="of each kind; ten times as many for rare errors")
    studies = parser.parse_args().studies
    rng = np.random.default_rng(20261121)
    errors(10 * studies, rng)
    savings(studies, rng)


if __name__ == "__main__":
    main()
