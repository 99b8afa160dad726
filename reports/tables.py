"""Tables of a study: one object, printed as Markdown and LaTeX and listed number by number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from tabulate import tabulate

from experiments.language import Table
from experiments.questions import table_rows
from trainer.metrics import METRICS, best

from .escape import latex, markdown
from .runs import Runs
from .statistics import Summary, summarize

TITLES = {
    "top1": "Top-1",
    "top5": "Top-5",
    "val_loss": "Validation loss",
    "train_top1": "Train top-1",
    "train_top5": "Train top-5",
    "train_loss": "Train loss",
    "learning_rate": "Learning rate",
    "epoch_seconds": "s/epoch",
    "images_per_second": "images/s",
}


@dataclass(frozen=True)
class Entry:
    """One cell of a printed table: ours beside the document's."""

    row: str
    metric: str
    ours: Summary | None
    published: float | None
    best: bool = False
    """Whether no row of the table has a better mean in this column."""


@dataclass(frozen=True)
class ReportTable:
    """A table of the document with our numbers."""

    id: str
    caption: str
    metrics: tuple[str, ...]
    labels: dict[str, str]
    """Row key to what the table prints for it, in order."""

    cells: dict[str, str]
    """Row key to the cell whose runs it shows."""

    entries: dict[tuple[str, str], Entry]
    rows_title: str
    """What a row is: the factor's name, or cell."""

    planned: int
    """Seeds planned for each row."""

    def has_published(self, metric: str) -> bool:
        """Whether the document states any number of this column."""
        return any(entry.published is not None for (_, m), entry in self.entries.items() if m == metric)

    @property
    def counts(self) -> dict[str, int]:
        """Finished runs behind each row (of its first metric)."""
        return {row: _count(self.entries[row, self.metrics[0]].ours) for row in self.labels}

    def numbers(self) -> list[dict[str, Any]]:
        """Every printed number, for `report.json`."""
        return [
            {
                "table": self.id,
                "row": entry.row,
                "cell": self.cells[entry.row],
                "column": entry.metric,
                "mean": entry.ours.mean if entry.ours else None,
                "sd": entry.ours.sd if entry.ours else None,
                "n": _count(entry.ours),
                "published": entry.published,
                "best": entry.best,
            }
            for entry in self.entries.values()
        ]


def make_table(table: Table, runs: Runs) -> ReportTable:
    """Fill a study's table from its runs; rows that a constraint excludes stay, without numbers."""
    plan = runs.plan
    names = dict.fromkeys([*(cell.name for cell in plan.cells), *plan.excluded])
    rows = table_rows(table, plan.study, names)
    entries: dict[tuple[str, str], Entry] = {}
    for metric in table.metrics:
        ours = {row: summarize(list(runs.values(cell, metric).values())) for row, cell in rows.items()}
        top = _best_mean([s.mean for s in ours.values() if s], metric)
        for row in rows:
            summary = ours[row]
            published = table.published.get(row, {}).get(metric)
            entries[row, metric] = Entry(row, metric, summary, published, summary is not None and summary.mean == top)
    ordered = {(row, metric): entries[row, metric] for row in rows for metric in table.metrics}
    labels = {row: table.labels.get(row, row) for row in rows}
    rows_title = table.rows if isinstance(table.rows, str) else "cell"
    return ReportTable(table.id, table.caption, table.metrics, labels, rows, ordered, rows_title, len(plan.study.seeds))


def to_markdown(table: ReportTable) -> str:
    """GitHub Markdown with the caption above; best in bold."""
    header, lines = _grid(table, markdown, bold=lambda text: f"**{text}**", plus_minus="±")
    align = ["left", *["right"] * (len(header) - 1)]
    body = tabulate(lines, headers=header, tablefmt="pipe", colalign=align, disable_numparse=True)
    caption = f"**{markdown(table.caption or table.id)}**\n\n"
    return f"{caption}{body}\n\n{_note(table)}\n"


def to_latex(table: ReportTable) -> str:
    r"""A `table` float with booktabs rules that `\input` takes as it is; needs `\usepackage{booktabs}`."""
    header, lines = _grid(table, latex, bold=lambda text: rf"\textbf{{{text}}}", plus_minus=r"$\pm$")
    styler = pd.DataFrame(lines, columns=pd.Index(header)).style.hide(axis="index")
    text: str = styler.to_latex(
        hrules=True,
        column_format="l" + "r" * (len(header) - 1),
        position="htbp",
        position_float="centering",
        label=f"tab:{table.id}",
        caption=latex(table.caption or table.id) + ". " + latex(_note(table)).replace("±", r"$\pm$"),
    )
    return text


def _grid(table: ReportTable, escape: Any, bold: Any, plus_minus: str) -> tuple[list[str], list[list[str]]]:
    header = [escape(table.rows_title)]
    for metric in table.metrics:
        header.append(escape(title(metric)))
        if table.has_published(metric):
            header.append("published")
    header.append("n")
    lines = []
    counts = table.counts
    for row, label in table.labels.items():
        line = [escape(label)]
        for metric in table.metrics:
            entry = table.entries[row, metric]
            text = _ours(entry.ours, plus_minus)
            line.append(bold(text) if entry.best else text)
            if table.has_published(metric):
                line.append("" if entry.published is None else _published(entry.published))
        lines.append([*line, str(counts[row])])
    return header, lines


def _ours(summary: Summary | None, plus_minus: str) -> str:
    if summary is None:
        return "-"
    if summary.sd is None:
        return _number(summary.mean)
    return f"{_number(summary.mean)} {plus_minus} {_number(summary.sd)}"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


def _published(value: float) -> str:
    """As documents print fractions: two decimals, or as many as it has."""
    return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"


def _note(table: ReportTable) -> str:
    published = "; published: the document's number" if any(map(table.has_published, table.metrics)) else ""
    return f"Mean ± sd over n of {_seeds(table.planned)}; best mean in bold{published}."


def _seeds(number: int) -> str:
    return f"{number} planned seeds" if number > 1 else "one planned seed"


def title(metric: str) -> str:
    """A metric as a column's title."""
    name = metric.removeprefix("best_")
    return TITLES[name] if name == metric else f"Best {TITLES[name].lower()}"


def _best_mean(means: list[float], metric: str) -> float | None:
    name = metric.removeprefix("best_")
    return best(means, name) if means and METRICS[name] else None


def _count(summary: Summary | None) -> int:
    return summary.n if summary else 0
