"""What the template prints: tables of fields, as final text that is not yet escaped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Mark = Literal["", "best", "second", "dim"]


@dataclass(frozen=True)
class Plot:
    """An estimate with its interval, drawn in a field; positions are shares of the column's width, 0 to 1."""

    zero: float
    low: float
    estimate: float
    high: float


@dataclass(frozen=True)
class Field:
    """One field of a table."""

    text: str
    value: float | None = None
    """The number behind the text, by which the page sorts; None where there is none."""

    small: str = ""
    """A second line in small letters."""

    mark: Mark = ""
    tied: str = ""
    """The mark behind a number that can't be told from the best, else empty."""

    href: str = ""
    code: bool = False
    """Whether the text is set as code."""

    plot: Plot | None = None


@dataclass(frozen=True)
class ColumnHead:
    """The head of a column."""

    text: str
    numeric: bool = False
    """Whether the column is sorted by value and aligned to the right."""


@dataclass(frozen=True)
class View:
    """A table as the page shows it; the first column names the row."""

    id: str
    """Unique on the page."""

    title: str
    heads: list[ColumnHead]
    rows: list[list[Field]]
    notes: list[str] = field(default_factory=list)

    @property
    def filterable(self) -> bool:
        """Whether the table is long enough for a filter to help."""
        return len(self.rows) >= 8
