"""A common scale that one diverging cell does not spoil for all others. Pure functions of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_high, median_low

SQUEEZED = 5
"""How many times the span of a typical cell the scale may have, so that no cell flattens the others."""


FAR = 20
"""The factor for only two cells, of which neither is the typical one."""


def common_range(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The lowest and highest value to show. spans: the lowest and highest value of each cell.

    A cell does not count for the scale if it goes beyond the cells' median end by more than `SQUEEZED - 1` times their
    median span (or twice their median distance from the centre, if that is more): fewer than half of the cells can't
    move medians. Of two cells one is left out only if it goes `FAR` times the other's span or size beyond that.
    """
    lows, highs = [low for low, _ in spans], [high for _, high in spans]
    middles = [(low + high) / 2 for low, high in spans]
    centre = median_low(middles)
    typical = max(median_low([high - low for low, high in spans]), 2 * median_low([abs(m - centre) for m in middles]))
    times = SQUEEZED - 1
    if len(spans) == 2:
        typical, times = max(typical, min(max(abs(low), abs(high)) for low, high in spans)), FAR
    top, bottom = median_low(highs) + times * typical, median_high(lows) - times * typical
    kept = [(low, high) for low, high in spans if bottom <= low and high <= top]
    if typical <= 0 or not kept:
        return min(lows), max(highs)
    return min(low for low, _ in kept), max(high for _, high in kept)


def stretched(shown: tuple[float, float], values: Sequence[float]) -> tuple[float, float]:
    """The range, extended to those of `values` that do not flatten it: at most its own height beyond either end."""
    low, high = shown
    near = [value for value in values if low - (high - low) <= value <= high + (high - low)]
    return min([low, *near]), max([high, *near])
