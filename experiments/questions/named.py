"""What a study wants to see: cells, metrics and settings that its tables and figures name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from trainer.errors import nearest

from ..catalog import known_metrics
from ..language.designs import canonical_name
from ..language.validation import Path, Problem
from ..recipe import Recipe

if TYPE_CHECKING:
    from ..study import Study

FACTS = ("params", "macs")
"""What a table may tell about a cell besides its metrics; known without a run."""


def planned_cell(name: str, study: Study, cells: Iterable[str], path: Path = ()) -> str:
    """The cell's own name for any spelling of it; raises Problem for one that no design makes."""
    try:
        found = canonical_name(name, study.factors)
    except Problem as problem:
        raise problem.under(*path) from None
    if found not in cells:
        what = f"the cell {found!r}" if name == found else f"{name!r}, the cell {found!r}"
        raise Problem(path, f"no design makes {what}{nearest(found, cells)}")
    return found


def check_metric(metric: str, path: Path, facts: Sequence[str] = ()) -> None:
    """Raise Problem for a name that is neither a metric nor one of `facts`."""
    if metric not in (*known_metrics(), *facts):
        raise Problem(path, f"unknown metric {metric!r}{meant_metric(metric, facts)}")


def meant_metric(metric: str, facts: Sequence[str] = ()) -> str:
    """What to say after a name that is neither a metric nor one of `facts`: the one that was meant, or all."""
    known = (*known_metrics(), *facts)
    simple = [name for name in known if not name.startswith(("best_", "selected_"))]
    before = ", perhaps with best_ or selected_ before it" if len(simple) < len(known) else ""
    return nearest(metric, known) or _meant(metric.lower()) or f", expected one of {', '.join(simple)}{before}"


def _meant(metric: str) -> str:
    """A hint for what others call a metric."""
    for words, meant in (
        (("f1", "f_1", "fscore", "f_score"), "macro_f1"),
        (("calib",), "ece"),
        (("class", "balanced", "macro", "mean_acc"), "class_top1"),
    ):
        if any(word in metric for word in words):
            return f"; did you mean {meant!r}?"
    return "; did you mean 'top1'?" if "acc" in metric else ""


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
