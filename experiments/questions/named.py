"""What a study wants to see: cells, metrics and settings that its tables and figures name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from trainer.errors import closest, nearest
from trainer.metrics import EVALUATED

from ..catalog import known_metrics, networks
from ..language.designs import canonical_name
from ..language.validation import Problem
from ..recipe import Recipe

if TYPE_CHECKING:
    from ..language.yaml_source import YamlPath
    from ..plan import Plan

FACTS = ("params", "macs")
"""What a table may tell about a cell besides its metrics; known without a run."""


def planned_cell(name: str, plan: Plan, path: YamlPath = ()) -> str:
    """The cell's own name for any spelling of it; raises Problem for one that no design makes."""
    try:
        found = canonical_name(name, plan.study.factors)
    except Problem as problem:
        raise problem.under(*path) from None
    if found not in plan.designed:
        what = f"the cell {found!r}" if name == found else f"{name!r}, the cell {found!r}"
        raise Problem(path, f"no design makes {what}{nearest(found, plan.designed)}")
    return found


def check_metric(metric: str, path: YamlPath, facts: Sequence[str] = ()) -> None:
    """Raise Problem for a name that is neither a metric nor one of `facts`."""
    if metric not in (*known_metrics(), *facts):
        raise Problem(path, f"unknown metric {metric!r}{meant_metric(metric, facts)}")


def meant_metric(metric: str, facts: Sequence[str] = ()) -> str:
    """What to say after a name that is neither a metric nor one of `facts`: the one that was meant, or all."""
    known = (*known_metrics(), *facts)
    simple = [name for name in known if not name.startswith(("best_", "selected_"))]
    before = ", perhaps with best_ or selected_ before it" if len(simple) < len(known) else ""
    meant = _meant(metric, known)
    return f"; did you mean {meant!r}?" if meant else f", expected one of {', '.join(simple)}{before}"


_CALLED = {
    "macro_f1": ("f1", "f_1", "fscore", "f_score"),
    "ece": ("calib",),
    "val_loss": ("nll", "cross_ent", "log_loss", "logloss"),
    "class_top1": ("class", "balanced", "macro", "mean_acc"),
    "top1": ("acc", "err"),
}
"""Metrics, and words of the names that others give them; an earlier one is more particular."""


def _meant(metric: str, known: Sequence[str]) -> str | None:
    """The known metric that is spelled like `metric`, or that others call so, with what stands before its name."""
    first, rest = [], metric.lower()
    while (word := rest.partition("_")[0]) in ("best", "selected", "test", "train", "val", *networks()):
        first.append(word)
        rest = rest.removeprefix(word).removeprefix("_")
    called = next((name for name, words in _CALLED.items() if any(word in rest for word in words)), None)
    if not first:
        same = closest(metric, (name for name in known if name.lower() == metric.lower()))
        return same or called or closest(metric, known)
    if rest not in EVALUATED and called is None and (typo := closest(metric, known, alike=0.85)):
        return typo
    # without what stands before it, which would decide what a short name is near to
    meant = rest if rest in EVALUATED else called or closest(rest, EVALUATED)
    if meant is None:
        return None
    if meant in ("loss", "val_loss"):
        meant = "loss" if {"test", "train"} & set(first) else "val_loss"
    whole = "_".join([*(word for word in first if word != "val"), meant])
    return whole if whole in known else meant


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
