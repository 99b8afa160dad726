"""The tables of a report: each kind is a file with `make(table, runs)`, and each form one that writes what it made."""

from __future__ import annotations

from experiments.language import Table

from ..runs import Runs
from . import rows
from .printed import Column, Layout, PrintedTable

__all__ = ["Column", "Layout", "PrintedTable", "make_table", "make_tables"]

_KINDS = {"rows": rows.make}


def make_table(table: Table, runs: Runs) -> PrintedTable:
    """Fill one table of a study from its runs."""
    return _KINDS[table.kind](table, runs)


def make_tables(runs: Runs) -> list[PrintedTable]:
    """All tables of a report, in order."""
    return [make_table(table, runs) for table in runs.plan.study.tables]
