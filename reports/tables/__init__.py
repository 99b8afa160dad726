"""The tables of a report: a file for each kind, with `make(table, runs)`, and a file for each form it is written in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from experiments.language.shapes import Table, TableKind
from experiments.questions.defaults import tables_of
from experiments.questions.lines import table_lines

from ..runs import Runs
from . import cost, cumulative, effects, leave_one_out, pivot, rows, switches
from .footnotes import confounder_note, fixed_n_note, metric_note, provenance_note, unit_note
from .printed import Column, Layout, PrintedTable

__all__ = ["Column", "Layout", "PrintedTable", "make_table", "make_tables"]

_KINDS: dict[TableKind, Callable[[Table, Runs], list[PrintedTable]]] = {
    "rows": rows.make,
    "pivot": pivot.make,
    "switches": switches.make,
    "leave_one_out": leave_one_out.make,
    "cumulative": cumulative.make,
    "effects": effects.make,
    "cost": cost.make,
}


def make_table(table: Table, runs: Runs) -> list[PrintedTable]:
    """Fill one table from its runs; where its differences don't fit beside its numbers, they are a second table.

    Its footnotes also say in what its trials differ that no factor names, and what its comparisons can't tell apart.
    """
    made = _KINDS[table.kind](table, runs)
    cells = {line.cell for line in table_lines(table, runs.plan)}
    notes = [*runs.mixed_of(cells), confounder_note(table, runs)]
    printed = [
        replace(
            one,
            footnotes=[
                *filter(
                    None, [*one.footnotes, unit_note(table), metric_note(table), fixed_n_note(one.layout, runs), *notes]
                )
            ],
        )
        for one in made
    ]
    # a table of differences has no number, as the document has no such table
    return [replace(one, number=table.number if one.id == table.id else None) for one in printed]


def make_tables(runs: Runs) -> list[PrintedTable]:
    """All tables of a report, in order: those that the study states, else those of its designs; effects; cost."""
    provenance = provenance_note(runs)
    own = {table.id for table in runs.plan.study.tables}
    return [
        replace(printed, provenance=provenance, cells=printed.cells if printed.id in own else ())
        for table in tables_of(runs.plan)
        for printed in make_table(table, runs)
    ]
