"""What a study wants to see: the rows and columns of its tables, as cells of its plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainer.errors import nearest
from trainer.metrics import METRIC_NAMES

from .designs import cell_name, parse_cell
from .language import Table
from .recipe import Recipe
from .validation import Path, Problem

if TYPE_CHECKING:
    from .plan import Cell, Plan
    from .study import Study

FACTS = ("params", "macs")
"""What a table may tell of a cell besides its metrics; known without a run."""

_ROWS_TITLE = "rows"
"""The key of `titles` for the column that names the rows."""


def planned_cell(name: str, study: Study, cells: Iterable[str], path: Path = ()) -> str:
    """The cell's own name for any spelling of it; raises Problem for one that no design makes."""
    try:
        found = cell_name(parse_cell(name, study.factors), study.factors)
    except Problem as problem:
        raise problem.under(*path) from None
    if found not in cells:
        what = f"the cell {found!r}" if name == found else f"{name!r}, the cell {found!r}"
        raise Problem(path, f"no design makes {what}{nearest(found, cells)}")
    return found


def check_metric(metric: str, path: Path, known: Sequence[str] = METRIC_NAMES) -> None:
    """Raise Problem for a name that is not known."""
    if metric not in known:
        raise Problem(path, f"unknown metric {metric!r}, expected one of {', '.join(known)}{nearest(metric, known)}")


def table_rows(table: Table, study: Study, cells: Iterable[str]) -> dict[str, str]:
    """Row key to cell name, in order; raises Problem with a path inside the table.

    `cells`: the names of the study's cells, those that a constraint excludes included.
    """
    if table.rows is None:
        return {name: name for name in cells}
    if isinstance(table.rows, str):
        if table.rows not in study.factors:
            known = ", ".join(study.factors) or "none"
            near = nearest(table.rows, study.factors)
            raise Problem(("rows",), f"no factor is called {table.rows!r}; there are {known}{near}")
        rows = {o: cell_name({table.rows: o}, study.factors) for o in study.factors[table.rows].options}
        for key, name in rows.items():
            if name not in cells:
                raise Problem(("rows",), f"no design makes {key!r}, the cell {name!r}{nearest(name, cells)}")
        return rows
    rows = {}
    for index, key in enumerate(table.rows):
        name = planned_cell(key, study, cells, ("rows", index))
        if name in rows.values():
            raise Problem(("rows", index), f"the row {key!r} stands twice")
        rows[key] = name
    return rows


def by_row(table: Table, word: str, rows: Mapping[str, str], study: Study) -> dict[str, Any]:
    """What `labels`, `published` or `notes` hold, by row key; they may name a row's cell in any spelling."""
    given: Mapping[str, Any] = getattr(table, word)
    found: dict[str, Any] = {}
    for key, value in given.items():
        row = key if key in rows else _row_of(key, rows, study)
        if row is None:
            near = nearest(key, rows)
            raise Problem((word, key), f"the table has no row {key!r}; it has {', '.join(rows)}{near}")
        if row in found:
            raise Problem((word, key), f"{key!r} is the row {row!r}, which stands here already")
        found[row] = value
    return found


def published_facts(plan: Plan, fact: str) -> dict[str, tuple[float, ...]]:
    """What the document's tables say of a fact (`params`, `macs`), by cell; all numbers where they differ."""
    found: dict[str, tuple[float, ...]] = {}
    for table in plan.study.tables:
        rows = table_rows(table, plan.study, plan.designed)
        for row, numbers in by_row(table, "published", rows, plan.study).items():
            value = numbers.get(fact, ())
            several = value if isinstance(value, tuple) else (value,)
            found[rows[row]] = tuple(dict.fromkeys((*found.get(rows[row], ()), *several)))
    return {cell: numbers for cell, numbers in found.items() if numbers}


def _row_of(key: str, rows: Mapping[str, str], study: Study) -> str | None:
    try:
        name = cell_name(parse_cell(key, study.factors), study.factors)
    except Problem:
        return None
    return next((row for row, cell in rows.items() if cell == name), None)


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """Every single setting of a recipe by its dotted path, defaults included; a plain list is one setting."""
    return dict(_leaves(recipe.as_data(), ()))


def _leaves(value: Any, path: tuple[str, ...]) -> Iterable[tuple[str, Any]]:
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value = {str(index): item for index, item in enumerate(value)}
    if not isinstance(value, dict):
        yield ".".join(path), value
        return
    for key, item in value.items():
        yield from _leaves(item, (*path, key))


def check_table(table: Table, study: Study, cells: Mapping[str, Cell]) -> None:
    """Raise Problem where the table names a row, setting or metric that does not exist."""
    rows = table_rows(table, study, cells)
    _check_settings(table, [cells[name].recipe for name in rows.values()])
    for index, metric in enumerate(table.metrics):
        check_metric(metric, ("metrics", index), (*METRIC_NAMES, *FACTS))
        if metric in table.metrics[:index]:
            raise Problem(("metrics", index), f"the column {metric!r} stands twice")
    for name in table.titles:
        if name not in (*table.metrics, _ROWS_TITLE):
            raise _no_column(("titles", name), name, (_ROWS_TITLE, *table.metrics))
    for word in ("labels", "notes", "published"):
        by_row(table, word, rows, study)
    for key, numbers in table.published.items():
        for metric, value in numbers.items():
            for number in value if isinstance(value, tuple) else (value,):
                _check_unit(metric, number, ("published", key, metric))
            if metric not in table.metrics:
                raise _no_column(("published", key, metric), metric, table.metrics)


def _no_column(path: Path, name: str, columns: Sequence[str]) -> Problem:
    return Problem(path, f"the table has no column {name!r}; it has {', '.join(columns)}{nearest(name, columns)}")


def _check_unit(metric: str, value: float, path: Path) -> None:
    if "top" in metric and not 0 <= value <= 1:
        raise Problem(path, f"got {value:g}, expected a fraction of 1 (0.9 for 90 %)")
    if metric in FACTS and value < 1000:
        raise Problem(path, f"got {value:g}, expected a plain number (21e6 for 21 million)")


def _check_settings(table: Table, recipes: list[Recipe]) -> None:
    known = {path: None for recipe in recipes for path in settings_of(recipe)}
    for title, path in table.settings.items():
        if path in known:
            continue
        below = [name for name in known if name.startswith(f"{path}.")]
        if below:
            raise Problem(("settings", title), f"{path!r} holds several settings, expected one: {', '.join(below)}")
        message = f"no row's recipe has a setting {path!r}, expected a path such as {next(iter(known))}"
        raise Problem(("settings", title), f"{message}{nearest(path, known)}")
