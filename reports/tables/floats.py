"""How high a table becomes in LaTeX, and how its rows are shared out over floats that fit a page each.

Several floats rather than longtable: they work in two columns as well, and need no package.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from .widths import TEXT_WIDTH, Part, head_lines, text_of, text_width

_PAGE = 520.0
"""Points of an article's 550 that a float may take, as its height is estimated."""

_BASELINES = {"": 12.0, r"\small": 11.0, r"\footnotesize": 9.5}
"""From line to line by font size, in points."""

_RULES = 16.0
"""The three rules of a tabular with their space."""

_BETWEEN_ROWS = 5.0
_BETWEEN_PARTS = 18.0

_SHARES = 20
"""Of a page, in which its room is tried out."""

_RAGGED = 1.15
"""How much longer broken text is than its letters: lines end before the margin."""


@dataclass(frozen=True)
class Piece:
    """Some rows of one part, as one tabular."""

    part: Part
    rows: range


def share_out(parts: list[Part], size: str, scale: float, caption: str, notes: str) -> list[list[Piece]]:
    """The tabulars of each float; one float where all fits a page. Rows stay in order.

    Of several, each is about as high as the others.
    """
    line = _BASELINES[size]
    heads = [_head(part, line) for part in parts]
    rows = [_rows(part, line, scale) for part in parts]
    above = 12 * _lines(f"Table 1: {caption} (continued).", TEXT_WIDTH) + 16
    below = _BASELINES[r"\footnotesize"] * _lines(notes, TEXT_WIDTH / 0.85) + 3
    page = _PAGE - above
    packed, last = _pack(parts, heads, rows, page)
    fewest = len(packed) + (last + below > page)
    # the lowest room with which as many floats do makes them about equally high
    for share in range(1, _SHARES + 1):
        lower, last = _pack(parts, heads, rows, page * share / _SHARES)
        if len(lower) <= fewest and last + below <= page:
            return lower
    return packed


def _pack(
    parts: list[Part], heads: list[float], rows: list[list[float]], room: float
) -> tuple[list[list[Piece]], float]:
    """Tabulars one below the other until the room is full; a part that fits one float is not divided. And what the
    last one takes."""
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
