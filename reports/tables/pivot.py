"""`kind: pivot`: the options of one factor down, those of another across."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.language.designs import cell_name
from experiments.language.factors import OFF, Factor
from experiments.language.shapes import Table
from experiments.questions.lines import Line, axes, held, table_lines

from ..runs import Runs
from .body import differences, numbers_of
from .columns import metric_columns
from .entries import MetricEntries, measure
from .footnotes import legend, runs_note
from .printed import Column, Layout, PrintedTable


def make(table: Table, runs: Runs) -> list[PrintedTable]:
    """A block of columns for each metric, in which one number is best. Differences are a second table, of rows."""
    study = runs.plan.study
    lines = table_lines(table, runs.plan)
    down, across = axes(table, study)
    fixed = held(table, study, apart_from=(down.name, across.name))
    metrics = measure(table, lines, runs)
    rows_of, columns_of = (_shown(factor, lines, runs) for factor in (down, across))
    counts = {entry.n for metric in metrics if not metric.is_fact for entry in metric.entries if entry.n}
    groups = []
    for metric in metrics:
        at = {entry.line.cell: entry for entry in metric.entries}
        group: list[Column] = []
        for column in columns_of:
            places = [cell_name(fixed | {down.name: row, across.name: column}, study.factors) for row in rows_of]
            head = _label(across, column, table)
            group += metric_columns(
                f"{metric.title}, {head}" if len(metrics) > 1 else head,
                [at.get(place) for place in places],
                metric.metric,
                table.unit,
                counted=len(counts) > 1 and not metric.is_fact,
            )
        groups.append(group)
    rows = Column(
        table.titles.get("rows", table.titles.get(down.name, down.name)),
        [_label(down, option, table) for option in rows_of],
        numeric=False,
    )
    layout = Layout(rows, groups)
    compared = [metric for metric in metrics if metric.is_compared]
    printed = PrintedTable(
        id=table.id,
        caption=table.caption,
        layout=layout,
        footnotes=[
            _what(table, across, metrics, counts, places=len(rows_of) * len(columns_of)),
            legend(layout, metrics, lines=len(lines) < len(rows_of) * len(columns_of)),
            runs_note(lines, runs),
        ],
        numbers=numbers_of(table, metrics),
        cells=tuple(line.cell for line in lines),
        aligned=table.siunitx,
    )
    labels = [line.label for line in lines]
    return [printed, *([differences(table, compared, lines, "cell", labels)] if compared else [])]


def _shown(factor: Factor, lines: Sequence[Line], runs: Runs) -> list[str]:
    """The options of a factor that any cell of the table has."""
    present = {runs.plan.designed[line.cell].choice[factor.name] for line in lines}
    return [option for option in factor.options if option in present]


def _what(table: Table, across: Factor, metrics: Sequence[MetricEntries], counts: set[int], places: int) -> str:
    """Says what columns and numbers are. counts: the different numbers of runs behind places that have any."""
    name = table.titles.get(across.name, across.name)
    what = f"{metrics[0].title} by {name}" if len(metrics) == 1 else f"Columns by {name}"
    measured = [metric for metric in metrics if not metric.is_fact]
    is_full = all(sum(entry.n > 0 for entry in metric.entries) == places for metric in measured)
    n = f"; n = {counts.pop()} in each place{'' if is_full else ' with a number'}" if len(counts) == 1 else ""
    return f"{what}{n}."


def _label(factor: Factor, option: str, table: Table) -> str:
    if option in table.labels:
        return table.labels[option]
    if factor.switch:
        return f"without {factor.name}" if option == OFF else f"with {factor.name}"
    return option
