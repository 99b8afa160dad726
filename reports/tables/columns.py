"""Columns that several kinds of tables share: settings, a metric beside the document's number, differences, n."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import numbers
from ..numbers import NOTHING, Unit
from .entries import Entry, MetricEntries
from .printed import Column

INTERVAL, P = "95 % interval", "p"
TESTED = (INTERVAL, P)
"""Heads of the columns that intervals and tests fill."""


def settings_column(title: str, values: Sequence[Any]) -> Column:
    """A recipe's setting in each row; None for a row whose recipe lacks it."""
    numeric = all(value is None or (isinstance(value, int | float) and value is not True) for value in values)
    behind = [None if value is None else float(value) for value in values] if numeric else None
    return Column(title, [numbers.setting(value) for value in values], numeric, values=behind)


def metric_columns(
    title: str, entries: Sequence[Entry | None], metric: str, unit: Unit, *, counted: bool = False
) -> list[Column]:
    """Our numbers and, if the document states any for this column, the document's and the differences.

    An entry is None where the table has no cell. counted: whether n stands behind each number.
    """
    ours = Column(
        title,
        [_ours(entry, metric, unit, counted) for entry in entries],
        bold=frozenset(i for i, entry in enumerate(entries) if entry and entry.rank == "best"),
        underlined=frozenset(i for i, entry in enumerate(entries) if entry and entry.rank == "second"),
        marked=frozenset(i for i, entry in enumerate(entries) if entry and entry.among_best),
        values=[entry.ours.mean if entry and entry.ours else None for entry in entries],
    )
    if not any(entry and entry.published for entry in entries):
        return [ours]
    stated = [entry.published if entry else () for entry in entries]
    means = [entry.ours if entry else None for entry in entries]
    gaps = [entry.differences if entry else () for entry in entries]
    return [
        ours,
        Column(
            "published",
            [numbers.published(said, metric, unit) for said in stated],
            values=[said[0] if said else None for said in stated],
        ),
        Column(
            "Δ",
            [numbers.differences(mean, said, metric, unit) for mean, said in zip(means, stated, strict=True)],
            values=[gap[0] if gap else None for gap in gaps],
        ),
    ]


def _ours(entry: Entry | None, metric: str, unit: Unit, counted: bool) -> str:
    if entry is None:
        return ""
    text = numbers.ours(entry.ours, metric, unit)
    return f"{text} ({entry.n})" if counted and entry.ours else text


def difference_columns(title: str, measured: MetricEntries, unit: Unit) -> list[Column]:
    """The difference to each row's reference, its interval, and p if there are enough runs for one."""
    found = [entry.comparison for entry in measured.entries]
    gaps = [comparison.difference if comparison else None for comparison in found]
    texts = [
        "reference" if entry.line.reference is None else numbers.difference(gap, measured.metric, unit)
        for entry, gap in zip(measured.entries, gaps, strict=True)
    ]
    columns = [
        Column(title, texts, values=[gap.mean if gap else None for gap in gaps]),
        Column(
            INTERVAL,
            [
                "" if entry.line.reference is None
                else numbers.interval(gap.low, gap.high, measured.metric, unit) if gap else NOTHING
                for entry, gap in zip(measured.entries, gaps, strict=True)
            ],
            values=[gap.low if gap else None for gap in gaps],
        ),
    ]  # fmt: skip
    if all(text in ("", NOTHING) for text in columns[1].texts):
        columns.pop()
    if not is_tested(measured):
        return columns
    p = [
        "" if entry.line.reference is None
        else "n too small" if comparison and comparison.verdict == "n too small"
        else numbers.probability(comparison.adjusted if comparison else None)
        for entry, comparison in zip(measured.entries, found, strict=True)
    ]  # fmt: skip
    return [*columns, Column(P, p, values=[comparison.adjusted if comparison else None for comparison in found])]


def is_tested(measured: MetricEntries) -> bool:
    """Whether there are enough pairs for the test to decide any of the differences."""
    verdicts = [entry.comparison.verdict for entry in measured.entries if entry.comparison]
    return any(verdict not in ("n too small", "no pair") for verdict in verdicts)


def count_column(counts: Sequence[int]) -> Column:
    """The column n: finished runs behind each row."""
    return Column("n", [str(count) for count in counts], values=[float(count) for count in counts])


def with_counts(groups: list[list[Column]], metrics: Sequence[MetricEntries]) -> list[list[Column]]:
    """The groups of metrics with n: one column behind the last, or one behind each if n differs between metrics.

    An entry without any run does not count as differing.
    """
    measured = [metric.entries for metric in metrics if not metric.is_fact]
    if not measured:
        return groups
    common = [max(entry.n for entry in row) for row in zip(*measured, strict=True)]
    if all(entry.n in (0, n) for column in measured for entry, n in zip(column, common, strict=True)):
        return [*groups[:-1], [*groups[-1], count_column(common)]]
    return [
        group if metric.is_fact else [*group, count_column([entry.n for entry in metric.entries])]
        for group, metric in zip(groups, metrics, strict=True)
    ]
