"""Each line of a table against its reference, as one family of comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from experiments.lines import Line

from ..significance import Comparison, compare, holm, smallest_p

LEVEL = 0.05
"""Of all tests of tables, over the family of comparisons of one column."""


def compare_lines(
    lines: Sequence[Line], arms: Mapping[str, Mapping[int, float]], *, larger_is_better: bool
) -> dict[str, Comparison]:
    """Line key to its comparison with its reference; a line without reference has none.

    arms: cell to seed to value, of the lines and their references. Holm's correction is over all the lines, also where
    they have several references, as the steps of a cumulative table do.
    """
    compared = [line for line in lines if line.reference and arms[line.cell] and arms[line.reference]]
    references = dict.fromkeys(line.reference for line in compared if line.reference)
    if len(references) == 1:
        (reference,) = references
        family = {cell: arms[cell] for cell in dict.fromkeys([reference, *(line.cell for line in compared)])}
        found = compare(family, reference, larger_is_better=larger_is_better, level=LEVEL)
        return {line.key: found[line.cell] for line in compared}
    alone = {}
    for line in compared:
        assert line.reference is not None
        pair = {line.reference: arms[line.reference], line.cell: arms[line.cell]}
        alone[line.key] = compare(pair, line.reference, larger_is_better=larger_is_better, level=LEVEL)[line.cell]
    return _as_family(alone, larger_is_better)


def _as_family(alone: Mapping[str, Comparison], larger_is_better: bool) -> dict[str, Comparison]:
    """Comparisons that were made one by one, corrected as one family."""
    tested = {key: found.p for key, found in alone.items() if found.p is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    family = dict(alone)
    for key, p in adjusted.items():
        difference = alone[key].difference
        assert difference is not None, "what has a p has a difference"
        gain = difference.mean if larger_is_better else -difference.mean
        if smallest_p(difference.n) * len(tested) > LEVEL:
            family[key] = replace(alone[key], adjusted=p, verdict="n too small")
        elif p > LEVEL:
            family[key] = replace(alone[key], adjusted=p, verdict="not significant")
        else:
            family[key] = replace(alone[key], adjusted=p, verdict="better" if gain > 0 else "worse")
    return family
