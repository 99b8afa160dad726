"""Estimates how wide a table becomes in LaTeX, and makes it fit the text of an article."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from textwrap import wrap

from .printed import Column, Layout

TEXT_WIDTH = 345.0
"""Width of the text in points, in the article class at 10 pt."""

COLUMN_WIDTH = 229.0
"""Of a column of the same class in two columns, in points."""

_WIDTHS = (
    ("ijl.,:;'|![]", 2.8),
    ("frstI() -", 3.9),
    ("cez", 4.5),
    ("0123456789agoJS/–?", 5.0),
    ("bdhknpquvxy", 5.6),
    ("mw%+±−=&Δ×→", 8.4),
    ("MW", 10.3),
)
"""Width in points of characters of Computer Modern at 10 pt; others count as `_CAPITAL`, the width of most capitals."""

_WIDTH_OF = {character: width for characters, width in _WIDTHS for character in characters}
_CAPITAL = 7.6

_BOLD = 1.15
"""How many times as wide bold digits are."""

_SIZES = (("", 1.0, 6.0), (r"\small", 0.925, 4.0), (r"\footnotesize", 0.85, 3.0))
"""Font size, its scale, and the points on each side of a column; from the most readable to the narrowest."""

_NARROWEST = 70.0
"""The smallest width in points to which text is broken over lines."""

_LONGEST = 24
"""The most letters in a line of a head, and of a row's name where a later part of the table repeats it."""

_WORD = re.compile(r"[^_+/.]*[_+/.]*")
"""A piece of a long name that ends where it may be broken."""


@dataclass(frozen=True)
class Part:
    """One tabular: its columns, and column index to the width in points to which its text is broken."""

    columns: list[Column]
    broken: dict[int, float]

    def width(self, scale: float, space: float) -> float:
        """What it takes in points, at this scale of the font and with this space on each side of a column."""
        widths = (self.broken.get(index, _width(column) * scale) for index, column in enumerate(self.columns))
        return sum(widths) + 2 * space * len(self.columns)


def fit(layout: Layout) -> tuple[str, float, float, list[Part]]:
    """Font size, its scale, the space beside columns, and the parts in which the table fits the width of a page."""
    for size, scale, space in _SIZES:
        whole = part_of(layout.columns, scale, space, breaks=size == _SIZES[-1][0])
        if whole is not None:
            return size, scale, space, [whole]
    parts = [part_of(columns, scale, space, breaks=True) or _narrowest(columns, scale) for columns in _split(layout)]
    return size, scale, space, parts


def _split(layout: Layout) -> list[list[Column]]:
    """The columns in as few parts as possible, each with the rows' names; groups and their order are kept."""
    _, scale, space = _SIZES[-1]
    parts: list[list[Column]] = []
    for group in [*layout.groups, *([[layout.notes]] if layout.notes else [])]:
        if parts and part_of([*parts[-1], *group], scale, space, breaks=True):
            parts[-1] += group
        else:
            parts.append([_again(layout.rows) if parts else layout.rows, *layout.naming, *group])
    return parts


def _again(names: Column) -> Column:
    """The names of rows for a later part: shortened if they stay distinct, as the first part has them in full."""
    short = [text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()}…" for text in names.texts]
    return replace(names, texts=short) if len(set(short)) == len(set(names.texts)) else names


def _narrowest(columns: list[Column], scale: float) -> Part:
    """The columns as one tabular with all text at its narrowest, for columns that are too wide even so."""
    widths = [_width(column) * scale for column in columns]
    texts = [i for i, column in enumerate(columns) if not column.numeric and widths[i] > _NARROWEST]
    return Part(columns, dict.fromkeys(texts, _NARROWEST))


def part_of(columns: list[Column], scale: float, space: float, *, breaks: bool) -> Part | None:
    """The columns as one tabular, with broken text if `breaks`; None if they are too wide even so."""
    widths = [_width(column) * scale for column in columns]
    room = TEXT_WIDTH - 2 * space * len(columns)
    if sum(widths) <= room:
        return Part(columns, {})
    texts = [index for index, column in enumerate(columns) if not column.numeric and widths[index] > _NARROWEST]
    room -= sum(width for index, width in enumerate(widths) if index not in texts)
    if not breaks or not texts or room < _NARROWEST * len(texts):
        return None
    spare = room - _NARROWEST * len(texts)
    wish = sum(widths[index] - _NARROWEST for index in texts)
    return Part(columns, {i: _NARROWEST + spare * (widths[i] - _NARROWEST) / wish for i in texts})


def _width(column: Column) -> float:
    """Width of a column in points at 10 pt: that of the longest line of its head or of its widest text."""
    texts = [
        text_width(text_of(column, row)) * (_BOLD if row in column.bold else 1) for row in range(len(column.texts))
    ]
    return max([*texts, *map(text_width, head_lines(column))], default=0.0)


def head_lines(column: Column) -> list[str]:
    """The lines of a column's title; it is broken where it is wider than the texts below."""
    pieces = [piece for word in column.head.split() for piece in pieces_of(word, _LONGEST)]
    widest = max(map(len, [*column.texts, *pieces]), default=1)
    if all(len(word) <= _LONGEST for word in column.head.split()):
        return wrap(" ".join(pieces), widest, break_long_words=False, break_on_hyphens=False)
    return pieces


def pieces_of(word: str, most: int) -> list[str]:
    """A word in pieces of at most `most` letters, broken after its signs, or anywhere if need be."""
    if len(word) <= most:
        return [word]
    found = [""]
    for part in (part for part in _WORD.findall(word) if part):
        for piece in (part[at : at + most] for at in range(0, len(part), most)):
            if len(found[-1]) + len(piece) <= most:
                found[-1] += piece
            else:
                found.append(piece)
    return [piece for piece in found if piece]


def text_of(column: Column, row: int) -> str:
    """A column's text, with minus signs instead of the hyphens of a numeric column."""
    return column.texts[row].replace("-", "−") if column.numeric else column.texts[row]


def text_width(text: str) -> float:
    """Width of a text in points at 10 pt."""
    return sum(_WIDTH_OF.get(character, _CAPITAL) for character in text)
