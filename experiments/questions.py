"""What a study wants to see: cells, metrics and settings that its tables and figures name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainer.errors import nearest
from trainer.metrics import METRIC_NAMES, METRICS

from .designs import cell_name, parse_cell
from .language import Figure
from .recipe import Recipe
from .validation import Path, Problem, shown

if TYPE_CHECKING:
    from .plan import Cell
    from .study import Study

FACTS = ("params", "macs")
"""What a table may tell of a cell besides its metrics; known without a run."""


def is_accuracy(metric: str) -> bool:
    """Whether a metric is a fraction of images, which may be printed in per cent."""
    return "top" in metric


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


def figure_cells(figure: Figure, study: Study, cells: Iterable[str]) -> list[str]:
    """The cells that a figure shows, by their own names."""
    found: list[str] = []
    for index, name in enumerate(figure.cells):
        cell = planned_cell(name, study, cells, ("cells", index))
        if cell in found:
            raise Problem(("cells", index), f"the cell {name!r} stands twice")
        found.append(cell)
    return found


def check_figure(figure: Figure, study: Study, cells: Mapping[str, Cell]) -> None:
    """Raise Problem where the figure names a cell, metric or epoch that does not exist, or an id that is taken."""
    if any(figure.id == table.id for table in study.tables):
        raise Problem(("id",), f"the table {figure.id!r} has learning curves of this name; expected another id")
    if next(other for other in study.figures if other.id == figure.id) is not figure:
        raise Problem(("id",), f"the figure id {figure.id!r} stands twice")
    shown_cells = figure_cells(figure, study, cells)
    for i, panel in enumerate(figure.panels):
        for j, metric in enumerate(panel):
            check_metric(metric, ("panels", i, j), (*METRIC_NAMES, *FACTS))
            if metric not in METRICS:
                message = f"{metric!r} is one number of a training and makes no curve; expected one of every epoch"
                raise Problem(("panels", i, j), f"{message}: {', '.join(METRICS)}")
            if metric in panel[:j]:
                raise Problem(("panels", i, j), f"the metric {metric!r} stands twice in its panel")
    if figure.epochs is not None:
        _check_epochs(figure.epochs, max(cells[name].recipe.epochs for name in shown_cells))


def _check_epochs(epochs: tuple[int, int], trained: int) -> None:
    first, last = epochs
    if first >= last:
        raise Problem(("epochs",), f"got {shown(epochs)}, expected the first epoch and a later one, the last")
    if first > trained:
        raise Problem(("epochs",), f"got {shown(epochs)}, expected epochs up to {trained}, the last of these cells")
