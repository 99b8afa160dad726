"""The tables of a report beside those that its study states: one for each design, the effects, the cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from trainer.metrics import direction

from ..language.designs import cell_name, expand_design
from ..language.shapes import Design, Table
from ..language.validation import Problem
from .lines import table_lines
from .named import FACTS

if TYPE_CHECKING:
    from ..plan import Plan

_STEPS = ("leave_one_out", "cumulative", "subsets", "pairwise", "add_one")


def tables_of(plan: Plan) -> list[Table]:
    """The study's own tables or one for each design; then effects and cost, unless it states tables of these kinds."""
    study = plan.study
    tables = list(study.tables) or [_of_design(design, plan) for design in study.designs]
    tables = tables or [Table(id="cells", caption=study.title)]
    kinds = {table.kind for table in tables}
    if "effects" not in kinds and any(len({c.choice[f] for c in plan.cells}) > 1 for f in study.factors):
        caption = "Effects of single options, and of two together"
        tables.append(Table(id="effects", kind="effects", caption=caption, metrics=(main_metric(tables),)))
    if "cost" not in kinds:
        tables.append(Table(id="cost", kind="cost", caption="What each cell takes"))
    return _unique(tables, taken=len(study.tables))


def _of_design(design: Design, plan: Plan) -> Table:
    words = [word for word in ("grid", *_STEPS, "list") if getattr(design, word) is not None]
    names = [cell_name(choice, plan.study.factors) for choice in expand_design(design, plan.study.factors)]
    table = Table.model_validate(_words(design, words, names), strict=False)
    try:
        whole = {line.cell for line in table_lines(table, plan)} == set(names)
    except Problem:
        whole = False
    # where conditions left cells out, a table in the design's own shape would have holes
    return table if whole else Table(id="cells", caption=_caption(design, words), rows=tuple(names))


def _words(design: Design, words: list[str], names: list[str]) -> dict[str, Any]:
    (word, *others) = words
    if word in ("leave_one_out", "cumulative") and not others:
        caption = {"leave_one_out": "The full model without each part", "cumulative": "One step after the other"}[word]
        return {"id": word, "kind": word, "caption": caption, "steps": getattr(design, word)}
    if word == "grid" and not others and len(design.grid or ()) == 2:
        rows, columns = design.grid or ()
        return {"id": "pivot", "kind": "pivot", "caption": f"{rows} by {columns}", "rows": rows, "columns": columns}
    if others or word in ("subsets", "pairwise"):
        return {"id": "switches", "kind": "switches", "caption": "Combinations", "rows": tuple(names)}
    return {"id": "cells", "caption": _caption(design, words), "rows": tuple(names)}


def _caption(design: Design, words: list[str]) -> str:
    """The factors of a grid, which tell its table from those of other designs; else no more than what they are."""
    return " x ".join(design.grid or ()) if words == ["grid"] else "Cells"


def main_metric(tables: Iterable[Table]) -> str:
    """The metric that the tables are about: the first of theirs of which more or less is better, else top1."""
    metrics = (metric for table in tables for metric in table.metrics)
    return next((metric for metric in metrics if metric not in FACTS and direction(metric)), "top1")


def _unique(tables: list[Table], taken: int) -> list[Table]:
    """The tables, each with an id of its own: the first `taken`, the study's, keep theirs; others may get a number."""
    ids = {table.id for table in tables[:taken]}
    found = tables[:taken]
    for table in tables[taken:]:
        free = (f"{table.id}_{number}" if number > 1 else table.id for number in range(1, len(tables) + 2))
        id = next(id for id in free if id not in ids)
        ids.add(id)
        found.append(table.model_copy(update={"id": id}))
    return found
