"""Rows of cells as a printed table: what `rows`, `switches`, `leave_one_out` and `cumulative` have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.language.shapes import Table
from experiments.questions.lines import Line
from experiments.questions.named import settings_of
from experiments.questions.tables import by_row

from ..numbers import better
from ..runs import Runs
from .columns import difference_columns, metric_columns, settings_column, with_counts
from .entries import MetricEntries, measure
from .footnotes import legend, runs_note, test_note
from .printed import Column, Layout, PrintedTable


@dataclass(frozen=True)
class Leading:
    """The columns that say what a row is."""

    rows: Column
    naming: list[Column] = field(default_factory=list)


def labels_of(table: Table, lines: Sequence[Line], runs: Runs) -> list[str]:
    """The printed name of each line: the table's label for it, or its own."""
    given = by_row(table, "labels", lines, runs.plan.study)
    return [given.get(line.key, line.label) for line in lines]


def make_body(
    table: Table, lines: Sequence[Line], leading: Leading, runs: Runs, *, gains: bool = False, within: bool = False
) -> list[PrintedTable]:
    """The table of rows with settings, metrics, n and notes and, where they need one of their own, that of differences.

    Differences stand in the table itself if it prints no published number and only one metric or, if `within`, several.
    gains: whether differences are those of steps, each over the one before.
    """
    metrics = measure(table, lines, runs)
    labels = labels_of(table, lines, runs)
    compared = [metric for metric in metrics if metric.is_compared]
    within = bool(compared) and not any(m.has_published for m in metrics) and (within or len(metrics) == 1)
    settings = _settings(table, lines, runs)
    groups = []
    for metric in metrics:
        columns = metric_columns(metric.title, metric.entries, metric.metric, table.unit)
        if within and metric.is_compared:
            step = "Gain" if better(metric.metric) == "max" else "Change"
            columns += difference_columns(step if gains else "Difference", metric, table.unit)
        groups.append(columns)
    notes = by_row(table, "notes", lines, runs.plan.study)
    layout = Layout(
        leading.rows,
        [*([settings_column(name, values)] for name, values in settings.items()), *with_counts(groups, metrics)],
        Column("Notes", [notes.get(line.key, "") for line in lines], numeric=False) if notes else None,
        naming=leading.naming,
    )
    printed = PrintedTable(
        id=table.id,
        caption=table.caption,
        layout=layout,
        footnotes=[
            legend(layout, metrics),
            *([test_note(compared, lines, labels)] if within else []),
            runs_note(lines, runs),
        ],
        numbers=numbers_of(table, metrics),
        settings=[
            {"table": table.id, "row": line.key, "cell": line.cell, "column": name, "setting": path, "value": value}
            for index, line in enumerate(lines)
            for name, path in table.settings.items()
            for value in [settings[name][index]]
        ],
        cells=tuple(line.cell for line in lines),
        aligned=table.siunitx,
    )
    if within or not compared:
        return [printed]
    head = "cell" if leading.naming else leading.rows.head
    return [printed, differences(table, compared, lines, head, labels)]


def numbers_of(table: Table, metrics: Sequence[MetricEntries]) -> list[dict[str, Any]]:
    """Every printed number as plain data, row by row."""
    return [entry.number(table.id) for row in zip(*(m.entries for m in metrics), strict=True) for entry in row]


def differences(
    table: Table, compared: Sequence[MetricEntries], lines: Sequence[Line], head: str, labels: Sequence[str]
) -> PrintedTable:
    """A separate table for the differences of `table`; it has no `numbers`, as those of `table` include them."""
    shown = [index for index, line in enumerate(lines) if line.reference]
    groups = [
        [_only(column, shown) for column in difference_columns(metric.title, metric, table.unit)] for metric in compared
    ]
    caption = f"{(table.caption or table.id).rstrip('.')}: differences"
    return PrintedTable(
        id=f"{table.id}_differences",
        caption=caption,
        layout=Layout(Column(head, [labels[index] for index in shown], numeric=False), groups),
        footnotes=[test_note(compared, lines, labels)],
        aligned=table.siunitx,
    )


def _only(column: Column, rows: Sequence[int]) -> Column:
    values = [column.values[index] for index in rows] if column.values else None
    return Column(column.head, [column.texts[index] for index in rows], column.numeric, values=values)


def _settings(table: Table, lines: Sequence[Line], runs: Runs) -> dict[str, list[Any]]:
    recipes = [settings_of(runs.plan.designed[line.cell].recipe) for line in lines] if table.settings else []
    return {name: [recipe.get(path) for recipe in recipes] for name, path in table.settings.items()}
