"""Tables of a study: our numbers beside the document's, before they are printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.language import Table
from experiments.questions import FACTS, by_row, settings_of, table_rows
from trainer.metrics import best, direction

from .numbers import title
from .runs import Runs
from .statistics import Summary, summarize


@dataclass(frozen=True)
class Entry:
    """One cell of a printed table: ours beside the document's."""

    row: str
    metric: str
    ours: Summary | None
    """A fact of the cell is a mean of no runs."""

    published: tuple[float, ...] = ()
    """The document's numbers: several, where it contradicts itself."""

    best: bool = False
    """Whether no row of the table has a better mean in this column."""

    @property
    def differences(self) -> tuple[float, ...]:
        """Ours minus each of the document's."""
        return tuple(self.ours.mean - value for value in self.published) if self.ours else ()


@dataclass(frozen=True)
class ReportTable:
    """A table of the document with our numbers."""

    id: str
    caption: str
    metrics: dict[str, str]
    """Metrics and facts to their columns' titles."""

    labels: dict[str, str]
    """Row key to what the table prints for it, in order."""

    cells: dict[str, str]
    """Row key to the cell whose runs it shows."""

    entries: dict[tuple[str, str], Entry]
    rows_title: str
    """What a row is, in the document's word, or the factor's name, or cell."""

    planned: int
    """Seeds planned for each row."""

    settings: dict[str, str]
    """Titles of the columns of settings to their recipe paths."""

    values: dict[tuple[str, str], Any]
    """(row, path) to the setting's value; without those that a row's recipe lacks."""

    notes: dict[str, str]
    """Row key to the document's remark."""

    @property
    def measured(self) -> list[str]:
        """The metrics that come from runs."""
        return [metric for metric in self.metrics if metric not in FACTS]

    def has_published(self, metric: str) -> bool:
        """Whether the document states any number of this column."""
        return any(self.entries[row, metric].published for row in self.labels)

    def count(self, row: str, metric: str) -> int:
        """Finished runs behind a number."""
        entry = self.entries[row, metric]
        return entry.ours.n if entry.ours else 0

    @property
    def counts(self) -> dict[str, int]:
        """Finished runs behind each row: what its metrics have in common, or the most that any has."""
        return {row: max((self.count(row, metric) for metric in self.measured), default=0) for row in self.labels}

    @property
    def counts_agree(self) -> bool:
        """Whether one number of runs holds for all the numbers of each row."""
        return all(
            self.count(row, metric) in (0, count) for row, count in self.counts.items() for metric in self.measured
        )

    def numbers(self) -> list[dict[str, Any]]:
        """Every printed number, for `report.json`; a fact has no n, several published numbers are a list."""
        return [
            {
                "table": self.id,
                "row": entry.row,
                "cell": self.cells[entry.row],
                "column": entry.metric,
                "mean": entry.ours.mean if entry.ours else None,
                "sd": entry.ours.sd if entry.ours else None,
                "n": None if entry.metric in FACTS else self.count(entry.row, entry.metric),
                "published": _one_or_all(entry.published),
                "difference": _one_or_all(entry.differences),
                "best": entry.best,
            }
            for entry in self.entries.values()
        ]

    def printed_settings(self) -> list[dict[str, Any]]:
        """Every printed setting, for `report.json`."""
        return [
            {"table": self.id, "row": row, "cell": cell, "column": column, "setting": path, "value": value}
            for row, cell in self.cells.items()
            for column, path in self.settings.items()
            for value in [self.values.get((row, path))]
        ]


def make_table(table: Table, runs: Runs) -> ReportTable:
    """Fill a study's table from its runs; rows that a constraint excludes stay, without numbers."""
    plan = runs.plan
    rows = table_rows(table, plan.study, plan.designed)
    labels, notes, published = (by_row(table, word, rows, plan.study) for word in ("labels", "notes", "published"))
    columns = {metric: _column(metric, rows, published, runs) for metric in table.metrics}
    factor = table.rows if isinstance(table.rows, str) else "cell"
    return ReportTable(
        id=table.id,
        caption=table.caption,
        metrics={metric: table.titles.get(metric, title(metric)) for metric in table.metrics},
        labels={row: labels.get(row, row) for row in rows},
        cells=rows,
        entries={(row, metric): columns[metric][row] for row in rows for metric in table.metrics},
        rows_title=table.titles.get("rows", factor),
        planned=len(plan.study.seeds),
        settings=table.settings,
        values=_settings(table, rows, runs),
        notes={row: notes[row] for row in rows if row in notes},
    )


def _column(
    metric: str, rows: Mapping[str, str], published: Mapping[str, Mapping[str, Any]], runs: Runs
) -> dict[str, Entry]:
    found = {row: _ours(metric, cell, runs) for row, cell in rows.items()}
    means = [summary.mean for summary in found.values() if summary]
    top = best(means, metric) if means and metric not in FACTS and direction(metric) else None
    entries = {}
    for row, summary in found.items():
        stated = published.get(row, {}).get(metric, ())
        several = stated if isinstance(stated, tuple) else (stated,)
        entries[row] = Entry(row, metric, summary, several, summary is not None and summary.mean == top)
    return entries


def _ours(metric: str, cell: str, runs: Runs) -> Summary | None:
    if metric in FACTS:
        fact = runs.fact(cell, metric)
        return None if fact is None else Summary(fact, None, 0)
    return summarize(list(runs.values(cell, metric).values()))


def _settings(table: Table, rows: Mapping[str, str], runs: Runs) -> dict[tuple[str, str], Any]:
    values: dict[tuple[str, str], Any] = {}
    for row, cell in rows.items():
        settings = settings_of(runs.plan.designed[cell].recipe)
        values |= {(row, path): settings[path] for path in table.settings.values() if path in settings}
    return values


def _one_or_all(values: tuple[float, ...]) -> float | list[float] | None:
    if len(values) > 1:
        return list(values)
    return values[0] if values else None
