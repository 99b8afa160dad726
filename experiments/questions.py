"""What a study wants to know: the rows of its tables and the comparisons of its claims, as cells of its plan."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.errors import nearest
from trainer.metrics import METRICS

from .designs import cell_name, parse_cell
from .language import Table
from .validation import Problem

if TYPE_CHECKING:
    from .factors import Factor
    from .study import Study

METRIC_NAMES = (*METRICS, *(f"best_{name}" for name, direction in METRICS.items() if direction))

NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
"""A number without a sign, as constraints and claims write it."""

_COMPARISON = re.compile(
    rf"(?P<left>.+?)\s+(?P<relation>[<>])\s+(?P<right>.+?)(?:\s+(?P<sign>[+-])\s+(?P<margin>{NUMBER}))?"
)


@dataclass(frozen=True)
class Quantity:
    """A metric of a cell."""

    cell: str
    metric: str

    def __str__(self) -> str:
        return f"{self.cell}.{self.metric}"


@dataclass(frozen=True)
class Comparison:
    """`left` is greater (`>`) or less (`<`) than `right` plus `margin`; a plain number is the margin over nothing."""

    left: Quantity
    relation: str
    right: Quantity | None
    margin: float

    def __str__(self) -> str:
        if self.right is None:
            return f"{self.left} {self.relation} {self.margin:g}"
        margin = f" {'+' if self.margin > 0 else '-'} {abs(self.margin):g}" if self.margin else ""
        return f"{self.left} {self.relation} {self.right}{margin}"


def table_rows(table: Table, study: Study, cells: Mapping[str, object]) -> dict[str, str]:
    """Row key to cell name, in order; raises Problem with a path inside the table.

    `cells`: the names of the study's cells, those that a constraint excludes included.
    """
    if table.rows is None:
        rows = {name: name for name in cells}
    elif isinstance(table.rows, str):
        if table.rows not in study.factors:
            known = ", ".join(study.factors) or "none"
            near = nearest(table.rows, study.factors)
            raise Problem(("rows",), f"no factor is called {table.rows!r}; there are {known}{near}")
        options = study.factors[table.rows].options
        rows = {option: cell_name({table.rows: option}, study.factors) for option in options}
    else:
        rows = {name: _planned(name, study, ("rows", i)) for i, name in enumerate(table.rows)}
    for key, name in rows.items():
        if name not in cells:
            where = ("rows", list(rows).index(key)) if isinstance(table.rows, tuple) else ("rows",)
            raise Problem(where, f"row {key!r} is cell {name!r}, which no design makes{nearest(name, cells)}")
    return rows


def check_table(table: Table, study: Study, cells: Mapping[str, object]) -> None:
    """Raise Problem where the table names a row or metric that does not exist."""
    rows = table_rows(table, study, cells)
    for i, metric in enumerate(table.metrics):
        _check_metric(metric, ("metrics", i))
        if metric in table.metrics[:i]:
            raise Problem(("metrics", i), f"the column {metric!r} stands twice")
    if isinstance(table.rows, tuple) and len(rows) < len(table.rows):
        twice = next(name for name in table.rows if table.rows.count(name) > 1)
        raise Problem(("rows",), f"the row {twice!r} stands twice")
    for key in table.labels:
        if key not in rows:
            raise Problem(
                ("labels", key), f"the table has no row {key!r}; it has {', '.join(rows)}{nearest(key, rows)}"
            )
    for key, values in table.published.items():
        if key not in rows:
            near = nearest(key, rows)
            raise Problem(("published", key), f"the table has no row {key!r}; it has {', '.join(rows)}{near}")
        for metric, value in values.items():
            if "top" in metric and not 0 <= value <= 1:
                raise Problem(("published", key, metric), f"got {value:g}, expected a fraction of 1 (0.9 for 90 %)")
            if metric not in table.metrics:
                columns = f"{', '.join(table.metrics)}{nearest(metric, table.metrics)}"
                raise Problem(("published", key, metric), f"the table has no column {metric!r}; it has {columns}")


def parse_claim(test: str, study: Study, cells: Mapping[str, object]) -> list[Comparison]:
    """The comparisons of a claim, all of which must hold; raises Problem."""
    comparisons = []
    for part in re.split(r"\s+and\s+", test):
        match = _COMPARISON.fullmatch(part.strip())
        if not match or re.fullmatch(rf"-?{NUMBER}", match["left"]):
            raise Problem((), f"got {part!r}, expected `cell.metric > cell.metric`, `+ 0.01` for a margin")
        margin = float(match["margin"] or 0) * (-1 if match["sign"] == "-" else 1)
        left = _quantity(match["left"], study, cells)
        if re.fullmatch(rf"-?{NUMBER}", match["right"]):
            comparisons.append(Comparison(left, match["relation"], None, float(match["right"]) + margin))
        else:
            right = _quantity(match["right"], study, cells)
            if left.metric.removeprefix("best_") != right.metric.removeprefix("best_"):
                raise Problem((), f"{part.strip()!r} compares {left.metric} with {right.metric}; expected one metric")
            comparisons.append(Comparison(left, match["relation"], right, margin))
    return comparisons


def _quantity(text: str, study: Study, cells: Mapping[str, object]) -> Quantity:
    reference, dot, metric = text.rpartition(".")
    if not dot:
        raise Problem((), f"got {text!r}, expected `cell.metric` such as {next(iter(cells))}.top1")
    _check_metric(metric, ())
    factor, dot, option = reference.partition(".")
    if dot:
        if factor not in study.factors or option not in study.factors[factor].options:
            known = [f"{f}.{o}" for f in study.factors for o in study.factors[f].options]
            raise Problem((), f"no option is called {reference!r}{nearest(reference, known)}")
        name = cell_name({factor: option}, study.factors)
    else:
        name = _planned(reference, study, ())
    if name not in cells:
        raise Problem((), f"{reference!r} is cell {name!r}, which no design makes{nearest(name, cells)}")
    return Quantity(name, metric)


def _planned(name: str, study: Study, path: tuple[str | int, ...]) -> str:
    factors: Mapping[str, Factor] = study.factors
    try:
        return cell_name(parse_cell(name, factors), factors)
    except Problem as problem:
        raise problem.under(*path) from None


def _check_metric(metric: str, path: tuple[str | int, ...]) -> None:
    if metric not in METRIC_NAMES:
        known = ", ".join(METRIC_NAMES)
        raise Problem(path, f"unknown metric {metric!r}, expected one of {known}{nearest(metric, METRIC_NAMES)}")
