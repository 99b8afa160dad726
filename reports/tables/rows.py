"""`kind: rows`: a row a cell, our numbers beside the document's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.language import Table
from experiments.lines import Line, table_lines
from experiments.questions import by_row, settings_of

from ..numbers import title
from ..runs import Runs
from .columns import metric_columns, settings_column, with_counts
from .entries import make_entries
from .footnotes import legend
from .printed import Column, Layout, PrintedTable


def make(table: Table, runs: Runs) -> PrintedTable:
    """Row, settings, for each metric ours, published and the difference; n; the document's notes.

    Rows that a constraint excludes stay, without numbers.
    """
    plan = runs.plan
    lines = table_lines(table, plan.study, plan.designed)
    rows = {line.key: line.cell for line in lines}
    labels, notes, published = (by_row(table, word, rows, plan.study) for word in ("labels", "notes", "published"))
    entries = make_entries(table, lines, published, runs)
    metrics = [metric_columns(table.titles.get(metric, title(metric)), column) for metric, column in entries.items()]
    settings = _settings(table, lines, runs)
    columns = [[settings_column(name, values)] for name, values in settings.items()]
    factor = table.rows if isinstance(table.rows, str) else "cell"
    layout = Layout(
        Column(table.titles.get("rows", factor), [labels.get(key, key) for key in rows], numeric=False),
        [*columns, *with_counts(metrics, list(entries.values()))],
        Column("Notes", [notes.get(key, "") for key in rows], numeric=False) if notes else None,
    )
    return PrintedTable(
        id=table.id,
        caption=table.caption,
        layout=layout,
        footnotes=[legend(layout, entries, runs)],
        numbers=[entry.number(table.id) for row in zip(*entries.values(), strict=True) for entry in row],
        settings=[
            {"table": table.id, "row": line.key, "cell": line.cell, "column": name, "setting": path, "value": value}
            for index, line in enumerate(lines)
            for name, path in table.settings.items()
            for value in [settings[name][index]]
        ],
        cells=tuple(rows.values()),
    )


def _settings(table: Table, lines: Sequence[Line], runs: Runs) -> dict[str, list[Any]]:
    recipes = [settings_of(runs.plan.designed[line.cell].recipe) for line in lines] if table.settings else []
    return {name: [recipe.get(path) for recipe in recipes] for name, path in table.settings.items()}
