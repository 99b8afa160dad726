"""A study's tables: checked against its plan, and what the document says of their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainer.errors import nearest
from trainer.metrics import direction, is_fraction

from ..language.designs import canonical_name
from ..language.shapes import Table, TableKind
from ..language.validation import Problem
from ..recipe import Recipe
from .lines import Line, table_lines
from .named import FACTS, check_metric, settings_of

if TYPE_CHECKING:
    from ..language.yaml_source import YamlPath
    from ..plan import Plan
    from ..study import Study

_ROWS_TITLE = "rows"
"""The key of `titles` for the column that names the rows."""

_EVERY = ("id", "kind", "number", "caption", "where", "metrics", "siunitx", "titles", "unit")
_OF_ROWS = ("reference", "settings", "labels", "published", "notes")
_WORDS: dict[TableKind, tuple[str, ...]] = {
    "rows": (*_EVERY, *_OF_ROWS, "rows"),
    "switches": (*_EVERY, *_OF_ROWS, "rows"),
    "leave_one_out": (*_EVERY, *_OF_ROWS, "steps"),
    "cumulative": (*_EVERY, *_OF_ROWS, "steps"),
    "pivot": (*_EVERY, "rows", "columns", "reference", "labels", "published"),
    "effects": _EVERY,
    "cost": (*_EVERY, "rows", "labels", "notes"),
}
"""The words that a table of each kind may have."""


def by_row(table: Table, word: str, lines: Sequence[Line], study: Study) -> dict[str, Any]:
    """What `labels`, `published` or `notes` hold, by row key; they may name a row's cell in any spelling."""
    given: Mapping[str, Any] = getattr(table, word)
    rows = {line.key: line.cell for line in lines}
    keys = {line.cell: line.key for line in lines}
    found: dict[str, Any] = {}
    for key, value in given.items():
        row = key if key in rows else keys.get(_cell(key, study))
        if row is None:
            near = nearest(key, rows)
            raise Problem((word, key), f"the table has no row {key!r}; it has {', '.join(rows)}{near}")
        if row in found:
            raise Problem((word, key), f"{key!r} is the row {row!r}, which stands here already")
        found[row] = value
    return found


def _cell(key: str, study: Study) -> str:
    """The cell's own name for any spelling of it; empty for what names no cell."""
    try:
        return canonical_name(key, study.factors)
    except Problem:
        return ""


def stated_metrics(table: Table) -> tuple[str, ...]:
    """The metrics that are columns of the table; of `cost` only what the study states, as the default is not for it."""
    return table.metrics if table.kind != "cost" or "metrics" in table.model_fields_set else ()


def published(table: Table, lines: Sequence[Line], study: Study) -> dict[str, dict[str, tuple[float, ...]]]:
    """The document's numbers by row key and metric, accuracies as fractions of 1."""
    found = {}
    for row, numbers in by_row(table, "published", lines, study).items():
        found[row] = {metric: tuple(_in_our_unit(table, metric, v) for v in _all(n)) for metric, n in numbers.items()}
    return found


def _in_our_unit(table: Table, metric: str, value: float) -> float:
    return value / 100 if table.unit == "percent" and is_fraction(metric) else value


def _all(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def published_params(plan: Plan) -> dict[str, tuple[float, ...]]:
    """Cell to how many parameters the document's tables say that it has; all numbers where they differ."""
    found: dict[str, tuple[float, ...]] = {}
    for table in plan.study.tables:
        lines = table_lines(table, plan) if table.published else []
        cells = {line.key: line.cell for line in lines}
        for row, numbers in published(table, lines, plan.study).items():
            cell = cells[row]
            found[cell] = tuple(dict.fromkeys((*found.get(cell, ()), *numbers.get("params", ()))))
    return {cell: numbers for cell, numbers in found.items() if numbers}


def check_table(table: Table, plan: Plan) -> None:
    """Raise Problem where the table names a row, setting or metric that does not exist."""
    _check_words(table, plan.study)
    lines = table_lines(table, plan)
    _check_settings(table, [plan.designed[line.cell].recipe for line in lines] if table.settings else [])
    _check_metrics(table)
    columns = (
        _ROWS_TITLE,
        *stated_metrics(table),
        *(plan.study.factors if table.kind in ("switches", "pivot") else ()),
        *(FACTS if table.kind == "cost" else ()),
    )
    for name in table.titles:
        if name not in columns:
            raise _no_column(("titles", name), name, columns)
    for word in ("notes", "published", *(() if table.kind == "pivot" else ("labels",))):
        by_row(table, word, lines, plan.study)
    if table.kind == "pivot":
        _check_options(table, plan.study)
    _check_published(table)


def _check_words(table: Table, study: Study) -> None:
    allowed = _WORDS[table.kind]
    for word in Table.model_fields:
        if word in table.model_fields_set and word not in allowed:
            raise Problem((word,), f"a table of kind {table.kind!r} has no {word!r}; it has {', '.join(allowed)}")
    for other in study.tables:
        if table.id == f"{other.id}_differences":
            raise Problem(("id",), f"the differences of the table {other.id!r} have this name; expected another id")


def _check_metrics(table: Table) -> None:
    for index, metric in enumerate(table.metrics):
        if table.kind == "cost" and metric in FACTS:
            message = f"a table of kind 'cost' has the column {metric!r} already, expected metrics beside it"
            raise Problem(("metrics", index), message)
        check_metric(metric, ("metrics", index), () if table.kind == "effects" else FACTS)
        if metric in table.metrics[:index]:
            raise Problem(("metrics", index), f"the column {metric!r} stands twice")
    if "unit" in table.model_fields_set and not stated_metrics(table):
        raise Problem(("unit",), "the table has no metric that this would be the unit of, expected `metrics` as well")


def _check_options(table: Table, study: Study) -> None:
    """Raise Problem for a label of a pivot that names no option."""
    options = [option for name in (table.rows, table.columns) for option in study.factors[str(name)].options]
    for label in table.labels:
        if label not in options:
            near = nearest(label, options)
            raise Problem(("labels", label), f"got {label!r}, expected an option: {', '.join(options)}{near}")


def _no_column(path: YamlPath, name: str, columns: Sequence[str]) -> Problem:
    return Problem(path, f"the table has no column {name!r}; it has {', '.join(columns)}{nearest(name, columns)}")


def _check_published(table: Table) -> None:
    accuracies: list[tuple[float, YamlPath]] = []
    for key, numbers in table.published.items():
        for metric, value in numbers.items():
            path: YamlPath = ("published", key, metric)
            if metric not in table.metrics:
                raise _no_column(path, metric, table.metrics)
            for number in _all(value):
                _check_unit(table, metric, number, path)
            # a calibration error of 0.9 % is nothing unusual
            if is_fraction(metric) and direction(metric) == "max":
                accuracies += [(number, path) for number in _all(value)]
    highest, path = max(accuracies, default=(0.0, ()))
    if table.unit == "percent" and 0 < highest <= 1:
        message = f"got {highest:g} as the highest of all, expected per cent ({100 * highest:g} for {highest:g} of 1)"
        raise Problem(path, f"{message}, as `unit: percent` says")


def _check_unit(table: Table, metric: str, value: float, path: YamlPath) -> None:
    if is_fraction(metric) and table.unit == "percent" and not 0 <= value <= 100:
        raise Problem(path, f"got {value:g}, expected per cent, 0 to 100")
    if is_fraction(metric) and table.unit == "fraction" and not 0 <= value <= 1:
        hint = "; per cent need `unit: percent`" if 1 < value <= 100 else ""
        raise Problem(path, f"got {value:g}, expected a fraction of 1 (0.9 for 90 %){hint}")
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
