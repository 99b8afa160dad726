"""`kind: switches`: one row per cell, with a column of check marks for each switch."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.language.factors import ON, Factor
from experiments.language.shapes import Table
from experiments.questions.lines import Line, table_lines

from ..runs import Runs
from .body import Leading, labels_of, make_body
from .printed import CHECK, Column, PrintedTable


def make(table: Table, runs: Runs) -> list[PrintedTable]:
    """A column for each factor that varies in the table: check marks for a switch, else options; labels first."""
    lines = table_lines(table, runs.plan)
    columns = [_column(factor, lines, table, runs) for factor in _varying(lines, runs)]
    # factors that are not switches come first: the first column names the rows, also in the parts of a split table
    columns.sort(key=lambda column: CHECK in column.texts)
    if table.labels or "rows" in table.titles or not columns:
        head = table.titles.get("rows", "model")
        columns.insert(0, Column(head, labels_of(table, lines, runs), numeric=False))
    return make_body(table, lines, Leading(columns[0], columns[1:]), runs)


def _varying(lines: Sequence[Line], runs: Runs) -> list[Factor]:
    choices = [runs.plan.designed[line.cell].choice for line in lines]
    return [f for f in runs.plan.study.factors.values() if len({choice.get(f.name) for choice in choices}) > 1]


def _column(factor: Factor, lines: Sequence[Line], table: Table, runs: Runs) -> Column:
    options = [runs.plan.designed[line.cell].choice[factor.name] for line in lines]
    texts = [CHECK if option == ON else "" for option in options] if factor.switch else options
    return Column(table.titles.get(factor.name, factor.name), texts, numeric=False)
