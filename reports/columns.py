"""A table as columns of text, whatever it is printed in; and printed as Markdown."""

from __future__ import annotations

from dataclasses import dataclass, field

from tabulate import tabulate

from . import numbers
from .escape import markdown
from .tables import ReportTable


@dataclass(frozen=True)
class Column:
    """A printed column: its head and the text of each row, not yet escaped."""

    head: str
    texts: list[str]
    numeric: bool = True
    """Whether it is aligned to the right."""

    bold: frozenset[int] = field(default_factory=frozenset)
    """The rows whose text is the best of the column."""


@dataclass(frozen=True)
class Layout:
    """The columns of a table; those of one group stand together."""

    rows: Column
    groups: list[list[Column]]
    notes: Column | None

    @property
    def columns(self) -> list[Column]:
        """All of them, from left to right."""
        return [self.rows, *(c for group in self.groups for c in group), *([self.notes] if self.notes else [])]


def lay_out(table: ReportTable) -> Layout:
    """Row, settings, then for each metric ours, published and the difference; n; the document's notes."""
    groups = [[_settings_column(table, title, path)] for title, path in table.settings.items()]
    groups += [_metric_columns(table, metric) for metric in table.metrics]
    if table.measured and table.counts_agree:
        groups[-1].append(Column("n", [str(count) for count in table.counts.values()]))
    notes = [table.notes.get(row, "") for row in table.labels]
    return Layout(
        Column(table.rows_title, list(table.labels.values()), numeric=False),
        groups,
        Column("Notes", notes, numeric=False) if table.notes else None,
    )


def _settings_column(table: ReportTable, title: str, path: str) -> Column:
    values = [table.values.get((row, path)) for row in table.labels]
    numeric = all(value is None or (isinstance(value, int | float) and value is not True) for value in values)
    return Column(title, [numbers.setting(value) for value in values], numeric)


def _metric_columns(table: ReportTable, metric: str) -> list[Column]:
    entries = [table.entries[row, metric] for row in table.labels]
    bold = frozenset(index for index, entry in enumerate(entries) if entry.best)
    columns = [Column(table.metrics[metric], [numbers.ours(entry.ours, metric) for entry in entries], bold=bold)]
    if table.has_published(metric):
        columns += [
            Column("published", [numbers.published(entry.published, metric) for entry in entries]),
            Column("Δ", [numbers.differences(entry.ours, entry.published, metric) for entry in entries]),
        ]
    if metric in table.measured and not table.counts_agree:
        columns.append(Column("n", [str(table.count(entry.row, metric)) for entry in entries]))
    return columns


def to_markdown(table: ReportTable) -> str:
    """GitHub Markdown with the caption above; best in bold."""
    columns = lay_out(table).columns
    printed = [_printed(column) for column in columns]
    body = tabulate(
        [list(line) for line in zip(*printed, strict=True)],
        headers=[markdown(column.head) for column in columns],
        tablefmt="pipe",
        colalign=["right" if column.numeric else "left" for column in columns],
        disable_numparse=True,
    )
    return f"**{markdown(table.caption or table.id)}**\n\n{body}\n\n{note(table)}\n"


def _printed(column: Column) -> list[str]:
    if not column.numeric:
        return [markdown(text) for text in column.texts]
    return [f"**{text}**" if row in column.bold else text for row, text in enumerate(column.texts)]


def note(table: ReportTable) -> str:
    """What the table's numbers are, of those that it shows."""
    entries = table.entries.values()
    parts = []
    if table.measured:
        seeds = f"{table.planned} planned seeds" if table.planned > 1 else "one planned seed"
        parts.append(f"mean ± sd over n of {seeds}")
    if any(entry.best for entry in entries):
        parts.append("best mean in bold")
    if any(entry.published for entry in entries):
        several = any(len(entry.published) > 1 for entry in entries)
        parts.append("published: the document's number" + (", or all where it states several" if several else ""))
        parts.append("Δ: ours minus the document's")
    if any(numbers.NOTHING in column.texts for column in lay_out(table).columns):
        parts.append(f"{numbers.NOTHING}: there is none")
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "." if text else ""
