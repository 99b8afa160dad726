"""Columns that several kinds of tables share: settings, a metric beside the document's number, n."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.questions import FACTS

from .. import numbers
from .entries import Entry
from .printed import Column


def settings_column(title: str, values: Sequence[Any]) -> Column:
    """A recipe's setting in each row; None where a row has none."""
    numeric = all(value is None or (isinstance(value, int | float) and value is not True) for value in values)
    behind = [None if value is None else float(value) for value in values] if numeric else None
    return Column(title, [numbers.setting(value) for value in values], numeric, values=behind)


def metric_columns(title: str, entries: Sequence[Entry]) -> list[Column]:
    """Ours, and where the document states any number of this column, its own and the difference."""
    metric = entries[0].metric
    columns = [
        Column(
            title,
            [numbers.ours(entry.ours, metric) for entry in entries],
            bold=_ranked(entries, "best"),
            underlined=_ranked(entries, "second"),
            marked=_ranked(entries, "among the best"),
            values=[entry.ours.mean if entry.ours else None for entry in entries],
        )
    ]
    if any(entry.published for entry in entries):
        columns += [
            Column(
                "published",
                [numbers.published(entry.published, metric) for entry in entries],
                values=[entry.published[0] if entry.published else None for entry in entries],
            ),
            Column(
                "Δ",
                [numbers.differences(entry.ours, entry.published, metric) for entry in entries],
                values=[entry.differences[0] if entry.differences else None for entry in entries],
            ),
        ]
    return columns


def count_column(counts: Sequence[int]) -> Column:
    """Finished runs behind each row."""
    return Column("n", [str(count) for count in counts], values=[float(count) for count in counts])


def with_counts(groups: list[list[Column]], entries: Sequence[Sequence[Entry]]) -> list[list[Column]]:
    """The groups of metrics with their n: one column behind all, or one behind each where they differ.

    entries: those of each group. A number that is missing altogether does not count as differing.
    """
    measured = [column for column in entries if column[0].metric not in FACTS]
    if not measured:
        return groups
    common = [max(entry.n for entry in row) for row in zip(*measured, strict=True)]
    if all(entry.n in (0, n) for column in measured for entry, n in zip(column, common, strict=True)):
        return [*groups[:-1], [*groups[-1], count_column(common)]]
    return [
        group if column[0].metric in FACTS else [*group, count_column([entry.n for entry in column])]
        for group, column in zip(groups, entries, strict=True)
    ]


def _ranked(entries: Sequence[Entry], rank: str) -> frozenset[int]:
    return frozenset(index for index, entry in enumerate(entries) if entry.rank == rank)
