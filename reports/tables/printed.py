"""The printed table: the object from which Markdown, LaTeX, CSV and the page are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from experiments.language.wording import listed


@dataclass(frozen=True)
class Column:
    """A printed column: its head and the text of each row, not yet escaped and without marks."""

    head: str
    texts: list[str]
    numeric: bool = True
    """Whether it is aligned to the right."""

    bold: frozenset[int] = field(default_factory=frozenset)
    """The rows whose text is the best of the column."""

    underlined: frozenset[int] = field(default_factory=frozenset)
    """The rows whose text is the second best."""

    marked: frozenset[int] = field(default_factory=frozenset)
    """The rows that can't be told from the best; the best itself is not among them."""

    values: list[float | None] | None = None
    """The numbers behind the texts, in our units, for sorting; None for a column that has none."""


@dataclass(frozen=True)
class Layout:
    """The columns of a table; the columns of a group stay together."""

    rows: Column
    groups: list[list[Column]]
    notes: Column | None = None
    naming: list[Column] = field(default_factory=list)
    """Further columns that say what a row is; where a table is split, they are repeated along with `rows`."""

    @property
    def columns(self) -> list[Column]:
        """All of them, from left to right."""
        return [
            self.rows,
            *self.naming,
            *(c for group in self.groups for c in group),
            *([self.notes] if self.notes else []),
        ]


@dataclass(frozen=True)
class PrintedTable:
    """A table as it is printed, in whatever form."""

    id: str
    """The name of its files."""

    caption: str
    layout: Layout
    number: int | None = None
    """The document's number of the table; LaTeX counts tables itself."""

    footnotes: list[str] = field(default_factory=list)
    """Sentences below it: what the numbers are, how they were tested, what is missing."""

    provenance: str = ""
    """The last footnote, the same for all tables of a report: code, data, hardware, cost and command."""

    numbers: list[dict[str, Any]] = field(default_factory=list)
    """Every printed number, for `report.json` and the CSV; unrounded, accuracies as fractions of 1."""

    settings: list[dict[str, Any]] = field(default_factory=list)
    """Every printed setting, for `report.json`."""

    cells: tuple[str, ...] = ()
    """The cells whose learning curves belong to it; empty for a table that the study does not state."""

    aligned: bool = False
    """Whether LaTeX aligns its numbers at the decimal point, with siunitx."""

    @property
    def title(self) -> str:
        """The document's number and the caption; empty if there is neither."""
        return ": ".join(filter(None, [f"Table {self.number}" if self.number else "", self.caption]))


def without_repeats(tables: Sequence[PrintedTable]) -> list[PrintedTable]:
    """Tables for one document: a footnote that an earlier table has becomes a pointer to it, if that is shorter."""
    first: dict[str, PrintedTable] = {}
    found = []
    for table in tables:
        kept: dict[str, None] = {}
        elsewhere: dict[str, None] = {}
        for note in table.footnotes:
            earlier = first.setdefault(note, table)
            if earlier is table or len(note) <= len(_pointer([_short_name(earlier)])):
                kept[note] = None
            else:
                elsewhere[_short_name(earlier)] = None
        found.append(replace(table, footnotes=[*kept, *([_pointer([*elsewhere])] if elsewhere else [])]))
    return found


def _pointer(names: Sequence[str]) -> str:
    return f"See also the notes below {listed(names)}."


def _short_name(table: PrintedTable) -> str:
    return f"Table {table.number}" if table.number else f"“{table.caption or table.id}”"


CHECK = "✓"
"""Stands in a switch's column where it is on."""

MARK = "†"
"""Stands behind a number that can't be told from the best of its column."""
