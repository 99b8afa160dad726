"""A common scale that one diverging cell does not take from all others. Pure functions of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_high, median_low

SQUEEZED = 5
"""How many times what a typical cell takes the scale may reach, so that no cell presses the others flat."""


FAR = 20
"""The same where there are but two cells, neither of which is the usual one."""


def common_range(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The lowest and highest value to show, of each cell's own lowest and highest.

    A cell is left out of the scale where it goes beyond the median cell's end by more than `SQUEEZED - 1` times what
    the median cell takes (or what lies between cells, if that is more): medians, which fewer than half of the cells
    cannot move. Of two cells one is left out only where it goes `FAR` times beyond the other and its size.
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
    """The range with those of further values that do not flatten it: up to its own height beyond either end."""
    low, high = shown
    near = [value for value in values if low - (high - low) <= value <= high + (high - low)]
    return min([low, *near]), max([high, *near])
