"""Each line of a table against its reference, as one family of comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.questions.lines import Line

from ..significance import LEVEL, Equals, PairedComparison, among_the_best, compare_pairs, smallest_p

Arms = Mapping[str, Mapping[int, float]]
"""Cell to seed to a metric's value."""


def compare_lines(lines: Sequence[Line], arms: Arms, *, larger_is_better: bool) -> dict[str, PairedComparison]:
    """Line key to its comparison with its reference, for the lines that have one, if both have runs."""
    pairs = {
        line.key: (arms[line.cell], arms[line.reference])
        for line in lines
        if line.reference and arms[line.cell] and arms[line.reference]
    }
    return compare_pairs(pairs, larger_is_better=larger_is_better, level=LEVEL)


def not_told_from_best(arms: Arms, *, larger_is_better: bool) -> Equals | None:
    """The cells that can't be told from the best; None if there are too few runs to tell any."""
    run = {cell: values for cell, values in arms.items() if values}
    if len(run) < 2:
        return Equals(next(iter(run), ""), frozenset(run))
    # checked first, because to pair thousands of cells with each other takes minutes
    if smallest_p(max(map(len, run.values()))) > LEVEL / (len(run) - 1):
        return None
    return among_the_best(run, larger_is_better=larger_is_better, level=LEVEL)
