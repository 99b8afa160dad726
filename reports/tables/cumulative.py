"""`kind: cumulative`: steps on top of one another, with the gain of each over the one before."""

from __future__ import annotations

from experiments.language.shapes import Table
from experiments.questions.lines import table_lines

from ..runs import Runs
from .body import Leading, labels_of, make_body
from .printed import Column, PrintedTable


def make(table: Table, runs: Runs) -> list[PrintedTable]:
    """A row with none of the steps, then one more step in each row; with a `reference`, gains are over that instead."""
    lines = table_lines(table, runs.plan)
    rows = Column(table.titles.get("rows", "step"), labels_of(table, lines, runs), numeric=False)
    return make_body(table, lines, Leading(rows), runs, gains=True, within=True)
