"""Estimates how high a table becomes in LaTeX, and shares its rows out over floats that each fit a page.

Several floats, not longtable: they work on two-column pages as well and need no package.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from .widths import TEXT_WIDTH, Part, head_lines, text_of, text_width

_PAGE = 520.0
"""Points that a float may take of an article's 550; the rest is a reserve, because heights are estimates."""

_BASELINES = {"": 12.0, r"\small": 11.0, r"\footnotesize": 9.5}
"""Font size to the distance between lines, in points."""

_RULES = 16.0
"""Points that the three rules of a tabular take with their space."""

_BETWEEN_ROWS = 5.0
_BETWEEN_PARTS = 18.0

_SHARES = 20
"""How many fractions of a page are tried as the height of floats."""

_RAGGED = 1.15
"""How much longer text gets when it is broken, because lines end before the margin."""


@dataclass(frozen=True)
class Piece:
    """Some rows of one part, as one tabular."""

    part: Part
    rows: range


def share_out(parts: list[Part], size: str, scale: float, caption: str, notes: str) -> list[list[Piece]]:
    """The tabulars of each float; a single float if all fits a page. Rows stay in order.

    Several floats are about equally high.
    """
    line = _BASELINES[size]
    heads = [_head(part, line) for part in parts]
    rows = [_rows(part, line, scale) for part in parts]
    above = 12 * _lines(f"Table 1: {caption} (continued).", TEXT_WIDTH) + 16
    below = _BASELINES[r"\footnotesize"] * _lines(notes, TEXT_WIDTH / 0.85) + 3
    page = _PAGE - above
    packed, last = _pack(parts, heads, rows, page)
    fewest = len(packed) + (last + below > page)
    # the smallest height with which as many floats are enough makes them about equally high
    for share in range(1, _SHARES + 1):
        lower, last = _pack(parts, heads, rows, page * share / _SHARES)
        if len(lower) <= fewest and last + below <= page:
            return lower
    return packed


def _pack(
    parts: list[Part], heads: list[float], rows: list[list[float]], room: float
) -> tuple[list[list[Piece]], float]:
    """Floats filled with tabulars until `room` points are used, and the height of the last float.

    A part that fits one float is not divided.
    """
    floats: list[list[Piece]] = [[]]
    used = 0.0
    for part, head, heights in zip(parts, heads, rows, strict=True):
        first = 0
        while first < len(heights):
            whole = head + sum(heights[first:])
            needed = whole if whole <= room else head + heights[first]
            if floats[-1] and used + _BETWEEN_PARTS + needed > room:
                floats.append([])
            used = (used + _BETWEEN_PARTS if floats[-1] else 0.0) + head
            last = first
            while last < len(heights) and (last == first or used + heights[last] <= room):
                used += heights[last]
                last += 1
            floats[-1].append(Piece(part, range(first, last)))
            first = last
            if first < len(heights):
                floats.append([])
    return floats, used


def _head(part: Part, line: float) -> float:
    return _RULES + line * max(len(head_lines(column)) for column in part.columns)


def _rows(part: Part, line: float, scale: float) -> list[float]:
    lines = [
        max([1, *(_lines(text_of(part.columns[i], row), width / scale, _RAGGED) for i, width in part.broken.items())])
        for row in range(len(part.columns[0].texts))
    ]
    return [line * number + (_BETWEEN_ROWS if part.broken else 0) for number in lines]


def _lines(text: str, width: float, ragged: float = 1.0) -> int:
    return ceil(ragged * text_width(text) / width)
