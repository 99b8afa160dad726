"""`kind: rows`: one row per cell, our numbers beside the document's."""

from __future__ import annotations

from experiments.language.shapes import Table
from experiments.questions.lines import table_lines

from ..runs import Runs
from .body import Leading, labels_of, make_body
from .printed import Column, PrintedTable


def make(table: Table, runs: Runs) -> list[PrintedTable]:
    """Columns: the row, settings, for each metric our number, the published one and the difference, n, and notes.

    Rows that a constraint excludes stay in the table, without numbers.
    """
    lines = table_lines(table, runs.plan)
    factor = table.rows if isinstance(table.rows, str) else "cell"
    rows = Column(table.titles.get("rows", factor), labels_of(table, lines, runs), numeric=False)
    return make_body(table, lines, Leading(rows), runs)
