"""The rows of a study's tables, as cells of its plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .language import Table
from .questions import table_rows

if TYPE_CHECKING:
    from .study import Study


@dataclass(frozen=True)
class Line:
    """A row of a table: one cell."""

    key: str
    """Names the row in `labels`, `notes`, `published` and `report.json`."""

    cell: str


def table_lines(table: Table, study: Study, cells: Iterable[str]) -> list[Line]:
    """The rows in order; raises Problem with a path inside the table."""
    return [Line(key, cell) for key, cell in table_rows(table, study, cells).items()]
