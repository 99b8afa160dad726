"""Each line of a table against its reference, as one family of comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from experiments.lines import Line

from ..significance import Comparison, compare
from ..statistics import mean_difference, pair

LEVEL = 0.05
"""Of all tests of tables, over the family of comparisons of one column."""

_ZERO = "zero"


def compare_lines(
    lines: Sequence[Line], arms: Mapping[str, Mapping[int, float]], *, larger_is_better: bool
) -> dict[str, Comparison]:
    """Line key to its comparison with its reference; a line without reference, or where one has no run, has none.

    arms: cell to seed to value, of the lines and their references. The lines are one family, also where they have
    several references, as the steps of a cumulative table do: their differences by seed are compared with zero.
    """
    compared = [line for line in lines if line.reference and arms[line.cell] and arms[line.reference]]
    paired = [pair(arms[line.cell], arms[line.reference or ""]) for line in compared]
    # by index, as a line may be called anything
    family = {str(i): dict(zip(pairs.seeds, pairs.differences, strict=True)) for i, pairs in enumerate(paired)}
    zero = {seed: 0.0 for differences in family.values() for seed in differences}
    found = compare({**family, _ZERO: zero}, _ZERO, larger_is_better=larger_is_better, level=LEVEL)
    return {
        line.key: replace(
            found[str(i)],
            difference=mean_difference(pairs, 1 - LEVEL),
            dropped=tuple(sorted((arms[line.cell].keys() | arms[line.reference or ""].keys()) - set(pairs.seeds))),
        )
        for i, (line, pairs) in enumerate(zip(compared, paired, strict=True))
    }
