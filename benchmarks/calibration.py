"""Do the reports' tests and intervals keep what they promise? Studies are made up whose truth is known.

    python benchmarks/calibration.py [--studies 5000] [--processes 2]

Studies are cells x seeds; under one seed all cells share a part of their luck, as they do where seeds order the data.
normal      paired differences are normal with standard deviation 1.
counts      accuracies of 50 images, right with a probability of about 0.8 that varies by seed: many ties.

Nothing real      no cell differs from another: every "better" or "worse" is false.
One real effect   one cell is better by 0.5, 1 or 2 standard deviations of a paired difference.
Effects           factorial and leave-one-out designs in which nothing, or one switch, has an effect.

Every number comes from the functions that reports use. Exits with 1 if a level is exceeded by more than three standard
errors of the simulation. BCa is shown but not judged, because reports print Student's t interval.
"""

from __future__ import annotations

import os

# before numpy is loaded: matrices are small here, and processes share the cores
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from bca import bca
from numpy.typing import NDArray

from reports.effects import effects
from reports.significance import among_the_best, compare

LEVEL = 0.05
CELLS = (2, 4, 18)
SEEDS = (3, 5, 6, 10)
SIZES = (0.5, 1.0, 2.0)
IMAGES = 50
BOOTSTRAPS = 1000
"""BCa is tried on so many studies only, as it takes as long as everything else."""

DESIGNS = {
    "factorial 2 x 2 x 2 on two architectures": [
        (arch, *cell) for arch in "AB" for cell in product(("off", "on"), repeat=3)
    ],
    "leave one out of 3": [("A", *("off" if i == j else "on" for j in range(3))) for i in range(4)],
}
SWITCHES = ("a", "b", "c")


@dataclass
class Tally:
    """Hits and tries by name."""

    hits: dict[str, float] = field(default_factory=dict)
    tries: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, hits: float, tries: float = 1) -> None:
        self.hits[name] = self.hits.get(name, 0) + hits
        self.tries[name] = self.tries.get(name, 0) + tries

    def share(self, name: str) -> float | None:
        return self.hits[name] / self.tries[name] if self.tries.get(name) else None


def draw_studies(kind: str, studies: int, cells: int, seeds: int, seed: int) -> NDArray[np.float64]:
    """Values of cells that do not differ, of shape (studies, cells, seeds)."""
    draw = np.random.default_rng([seed, cells, seeds, kind == "counts"])
    common = draw.normal(size=(studies, 1, seeds))
    if kind == "normal":
        return np.asarray(common + draw.normal(0, math.sqrt(0.5), (studies, cells, seeds)))
    right = 1 / (1 + np.exp(-(math.log(0.8 / 0.2) + 0.5 * common)))
    return np.asarray(draw.binomial(IMAGES, np.broadcast_to(right, (studies, cells, seeds))) / IMAGES)


def arms_of(study: NDArray[np.float64]) -> dict[str, dict[int, float]]:
    return {f"cell{index}": dict(enumerate(row)) for index, row in enumerate(study.tolist())}


def nothing_real(kind: str, cells: int, seeds: int, studies: int) -> Tally:
    """Studies without any difference. The first cell is the reference; of equally best cells, the last is watched."""
    tally = Tally()
    for number, study in enumerate(draw_studies(kind, studies, cells, seeds, 0)):
        arms = arms_of(study)
        found = compare(arms, "cell0", larger_is_better=True, level=LEVEL)
        marks = sum(comparison.verdict in ("better", "worse") for comparison in found.values())
        tally.add("any mark", marks > 0)
        tally.add("single marks", marks, len(found))
        tally.add("too small", sum(c.verdict == "n too small" for c in found.values()), len(found))
        best = among_the_best(arms, larger_is_better=True, level=LEVEL)
        tally.add("best left out", best is not None and f"cell{cells - 1}" not in best.arms)
        difference = found["cell1"].difference
        if difference is not None and difference.low is not None and difference.high is not None:
            covers = difference.low <= 0 <= difference.high
            tally.add("t covers", covers)
            tally.add("claims", not covers)
        else:
            tally.add("claims", 0)
        if cells == min(CELLS) and number < BOOTSTRAPS:
            interval = bca((study[1] - study[0]).tolist(), 1 - LEVEL, seed=number)
            if interval is not None:
                tally.add("BCa covers", interval[0] <= 0 <= interval[1])
    return tally


def one_real(cells: int, seeds: int, studies: int) -> Tally:
    """The last cell is better, by each of `SIZES` standard deviations of a paired difference; the others are equal."""
    last, tally = f"cell{cells - 1}", Tally()
    for size in SIZES:
        values = draw_studies("normal", studies, cells, seeds, 1)
        values[:, -1] += size
        for study in values:
            arms = arms_of(study)
            found = compare(arms, "cell0", larger_is_better=True, level=LEVEL)
            tally.add(f"better {size}", found[last].verdict == "better")
            tally.add("too small", found[last].verdict == "n too small")
            tally.add("any mark", any(c.verdict in ("better", "worse") for name, c in found.items() if name != last))
            best = among_the_best(arms, larger_is_better=True, level=LEVEL)
            tally.add("best left out", best is not None and last not in best.arms)
            difference = found[last].difference
            assert difference is not None
            tally.add(f"right {size}", difference.low is not None and difference.low > 0)
    return tally


def factor_effects(design: str, kind: str, seeds: int, size: float, studies: int) -> Tally:
    """Switch a adds `size` standard deviations of a paired difference; all else adds nothing."""
    cells, tally = DESIGNS[design], Tally()
    names = ("architecture", *SWITCHES)
    options = [dict(zip(names, cell, strict=True)) for cell in cells]
    factors = {name: sorted({chosen[name] for chosen in options}) for name in names}
    values = draw_studies(kind, studies, len(cells), seeds, 2)
    values += size * np.array([cell[1] == "on" for cell in cells])[:, None]
    for study in values.tolist():
        rows = [(options[i], seed, value) for i, row in enumerate(study) for seed, value in enumerate(row)]
        found = effects(rows, factors, level=LEVEL).effects
        false = [effect for effect in found if effect.factors != (("a", "on"),) or size == 0]
        for effect in found:
            if effect.low is not None and effect.high is not None:
                truth = size if effect.factors == (("a", "on"),) else 0.0
                tally.add("covers", effect.low <= truth <= effect.high)
        tally.add("any mark", any(e.adjusted is not None and e.adjusted <= LEVEL for e in false))
        real = [effect for effect in found if effect not in false]
        if real:
            tally.add("found", any(e.adjusted is not None and e.adjusted <= LEVEL for e in real))
    return tally


@dataclass(frozen=True)
class Measure:
    """A column: a share of a tally, and the level that it must keep."""

    title: str
    name: str
    at_most: float | None = None
    at_least: float | None = None

    def print(self, tally: Tally, studies: int, row: str, exceeded: list[str]) -> str:
        share = tally.share(self.name)
        if share is None:
            return "–"
        # numbers of one study are not independent, so the standard error is that of one number per study
        error = 3 * math.sqrt(LEVEL * (1 - LEVEL) / studies)
        wrong = (self.at_most is not None and share > self.at_most + error) or (
            self.at_least is not None and share < self.at_least - error
        )
        if wrong:
            exceeded.append(f"{row}: {self.title} {share:.3f}")
        return f"**{share:.3f}**" if wrong else f"{share:.3f}"


NOTHING_REAL = (
    Measure("studies with a false mark", "any mark", at_most=LEVEL),
    Measure("marks that are false", "single marks", at_most=LEVEL),
    Measure("n too small", "too small"),
    Measure("best left out", "best left out", at_most=LEVEL),
    Measure("claims decided, falsely", "claims", at_most=LEVEL),
    Measure("t covers", "t covers", at_least=1 - LEVEL),
    Measure("BCa covers", "BCa covers"),
)
ONE_REAL = (
    *(Measure(f"{size:g} sd found", f"better {size}") for size in SIZES),
    Measure("n too small", "too small"),
    Measure("studies with another, false mark", "any mark", at_most=LEVEL),
    Measure("best left out", "best left out", at_most=LEVEL),
    *(Measure(f"claim of {size:g} sd decided", f"right {size}") for size in SIZES),
)
EFFECTS = (
    Measure("intervals cover", "covers", at_least=1 - LEVEL),
    Measure("studies with a false effect", "any mark", at_most=LEVEL),
    Measure("real effect found", "found"),
)

Job = tuple[Callable[..., Tally], tuple[Any, ...]]


def tables() -> list[tuple[str, Sequence[str], Sequence[Measure], list[Job]]]:
    """For each table its title, the heads of what varies, the measures, and a job for each row."""
    plain = [(nothing_real, case) for case in product(("normal", "counts"), CELLS, SEEDS)]
    real = [(one_real, case) for case in product(CELLS, SEEDS)]
    cases = [("normal", 3, 0.0), ("normal", 3, 1.0), ("counts", 3, 0.0), ("counts", 10, 0.0)]
    factorial = [(factor_effects, (design, *case)) for design in DESIGNS for case in cases]
    return [
        ("Nothing real", ("values", "cells", "seeds"), NOTHING_REAL, plain),
        ("One real effect, normal values", ("cells", "seeds"), ONE_REAL, real),
        ("Effects", ("design", "values", "seeds", "size, sd"), EFFECTS, factorial),
    ]


def calibrate(jobs: Sequence[Job], studies: int, processes: int) -> list[Tally]:
    """The jobs' tallies in order; the costly jobs, which come last, are begun first."""
    if processes == 1:
        return [job(*case, studies) for job, case in jobs]
    with ProcessPoolExecutor(processes) as pool:
        begun = {i: pool.submit(jobs[i][0], *jobs[i][1], studies) for i in reversed(range(len(jobs)))}
        return [begun[i].result() for i in range(len(jobs))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=5000, help="studies a row")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    start, made, exceeded = time.perf_counter(), tables(), list[str]()
    tallies = iter(calibrate([job for *_, jobs in made for job in jobs], asked.studies, asked.processes))
    for title, heads, measures, jobs in made:
        print(f"{title}; {asked.studies:,} studies a row:\n")
        columns = [*heads, *(measure.title for measure in measures)]
        print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
        for _, case in jobs:
            row, tally = ", ".join(map(str, case)), next(tallies)
            shares = [measure.print(tally, asked.studies, f"{title}: {row}", exceeded) for measure in measures]
            print("| " + " | ".join([*map(str, case), *shares]) + " |")
        print()
    print(f"{time.perf_counter() - start:.0f} s on {asked.processes} processes. ", end="")
    print("Exceeded: " + "; ".join(exceeded) if exceeded else "Every level is kept.")
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
