"""`kind: leave_one_out`: a full model, and what it loses without each of its parts."""

from __future__ import annotations

from experiments.language.shapes import Table
from experiments.questions.lines import table_lines

from ..runs import Runs
from .body import Leading, labels_of, make_body
from .printed import Column, PrintedTable


def make(table: Table, runs: Runs) -> list[PrintedTable]:
    """A row for the full model, then one without each step, with the difference to the full model."""
    lines = table_lines(table, runs.plan)
    rows = Column(table.titles.get("rows", "model"), labels_of(table, lines, runs), numeric=False)
    return make_body(table, lines, Leading(rows), runs, within=True)
