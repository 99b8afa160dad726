"""A heat map as data: means of the combinations of two factors, or all two-way interactions of two-option factors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import TYPE_CHECKING, Literal

import numpy as np

from experiments.language.factors import Factor
from experiments.questions.figure_words import InteractionFigure
from trainer.metrics import direction

from ..numbers import title
from ..runs import Runs
from .base import FigureData, frame_of
from .effects import fitted, option_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = {
    "gid": "str", "row": "str", "column": "str", "value": "float64", "low": "float64", "high": "float64", "n": "int64",
    "adjusted": "float64",
}  # fmt: skip


@dataclass(frozen=True)
class HeatMap(FigureData):
    """The fields of a heat map.

    `data`: one row per field, with its value and n runs (a run that cells with equal recipes share counts once);
    interactions have the 95 % interval and the Holm-corrected p of the forest of effects. A field without a value has
    no row.
    """

    metric: str
    shows: Literal["means", "interactions"]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_title: str = ""
    column_title: str = ""
    over: tuple[str, ...] = ()
    """For means: the other factors, over which they are averaged."""

    complete: bool = True
    """For means: whether every field is averaged over the same combinations of the other factors."""

    def draw(self) -> Figure:
        """See FigureData."""
        from .interaction_drawing import draw

        return draw(self)

    def describe(self) -> str:
        """See FigureData."""
        if self.empty:
            return f"Nothing to draw yet: no finished runs tell of {title(self.metric)} here."
        less = " Less is better." if direction(self.metric) == "min" else ""
        if self.shows == "interactions":
            return (
                "Below the diagonal: what two add beyond what each adds, by least squares, the seed held constant; on "
                "it: what each adds, averaged over the others. In bold: p < 0.05 after Holm's correction. Colours are "
                f"centred at zero, blue is better; an empty field is not identified by the design.{less}"
            )
        text = f"{title(self.metric)}, mean over seeds"
        if self.over:
            text += f" and over {', '.join(self.over)}"
            if self.complete:
                text += ", of combinations that every field has"
        text += f"; in brackets n, the runs.{less}"
        if not self.complete:
            text += " The other factors are at their first options; an empty field has no finished run there."
        return text


def factor_means(runs: Runs, id: str, metric: str, one: str, other: str) -> HeatMap:
    """The mean of every combination of two factors' options.

    A field averages means of cells, so that a cell with more seeds counts no more. It averages only over combinations
    of the other factors that every field has, so that fields differ in the two factors only. If there is no such
    combination, the other factors are at their first options, and a field that was not run there stays empty.
    """
    factors = runs.plan.study.factors
    blocks: dict[tuple[str, ...], dict[tuple[str, str], dict[str, float]]] = {}
    rest = [name for name in factors if name not in (one, other)]
    for cell in runs.plan.designed.values():
        values = {runs.plan.ids[cell.name, seed]: value for seed, value in runs.values(cell.name, metric).items()}
        if values:
            block = blocks.setdefault(tuple(cell.choice[name] for name in rest), {})
            block[cell.choice[one], cell.choice[other]] = values
    seen = {field for block in blocks.values() for field in block}
    options = {one: [r for r in factors[one].options if any(field[0] == r for field in seen)]}
    options[other] = [c for c in factors[other].options if any(field[1] == c for field in seen)]
    fields = list(product(options[one], options[other]))
    whole = [block for block in blocks.values() if all(field in block for field in fields)]
    chosen = whole or [blocks.get(tuple(factors[name].default for name in rest), {})]
    table = []
    for row, column in fields:
        cells = [block[row, column] for block in chosen if (row, column) in block]
        if cells:
            mean, n = float(np.mean([np.mean([*values.values()]) for values in cells])), len(set().union(*cells))
            gid = f"{id}.row{options[one].index(row)}.column{options[other].index(column)}"
            table.append((gid, _option(factors[one], row), _option(factors[other], column), mean, None, None, n, None))
    keys = [key for key, block in blocks.items() if block in whole]
    averaged = [name for place, name in enumerate(rest) if len({key[place] for key in keys}) > 1]
    return HeatMap(
        id=id,
        title=f"{title(metric)} by {one} and {other}",
        data=frame_of(table, _COLUMNS),
        metric=metric,
        shows="means",
        rows=tuple(_option(factors[one], option) for option in options[one]),
        columns=tuple(_option(factors[other], option) for option in options[other]),
        row_title=one,
        column_title=other,
        over=tuple(averaged) if whole else (),
        complete=bool(whole),
    )


def interactions(runs: Runs, id: str, metric: str) -> HeatMap:
    """For every two factors with two options, what both add beyond what each adds; on the diagonal, what each adds."""
    factors = runs.plan.study.factors
    found = fitted(runs, metric, list(runs.plan.designed))
    two = [name for name, factor in factors.items() if len(factor.options) == 2]
    names = {name: option_names(((name, list(factors[name].options)[1]),), factors) for name in two}
    choices = [choice for choice, *_ in runs.observations(list(runs.plan.designed), metric)]
    table = []
    for effect in found.effects if found else ():
        places = [two.index(name) if name in two else -1 for name, _ in effect.factors]
        if min(places) < 0:
            continue
        row, column = max(places), min(places)
        n = sum(all(choice[name] == option for name, option in effect.factors) for choice in choices)
        gid = f"{id}.row{row}.column{column}"
        ends = (effect.low, effect.high, n, effect.adjusted)
        table.append((gid, names[two[row]], names[two[column]], effect.estimate, *ends))
    return HeatMap(
        id=id,
        title=f"What two factors add together to {title(metric)}",
        data=frame_of(table, _COLUMNS),
        metric=metric,
        shows="interactions",
        rows=tuple(names.values()),
        columns=tuple(names.values()),
    )


def make_interaction(figure: InteractionFigure, runs: Runs) -> HeatMap:
    """A heat map that the study asks for."""
    if figure.factors is None:
        heat = interactions(runs, figure.id, figure.metric)
    else:
        heat = factor_means(runs, figure.id, figure.metric, *figure.factors)
    return replace(heat, title=figure.caption or heat.title)


def interaction_map(runs: Runs, id: str, metric: str) -> HeatMap | None:
    """The heat map that a study gets unasked.

    All interactions of three or more two-option factors if the design identifies any, else the means of the first two
    factors whose options were all run together; None if there are no such factors.
    """
    factors = runs.plan.study.factors
    if sum(len(factor.options) == 2 for factor in factors.values()) > 2:
        heat = interactions(runs, id, metric)
        if any(heat.data["row"] != heat.data["column"]):
            return heat
    for one, other in combinations(factors, 2):
        means = factor_means(runs, id, metric, one, other)
        if means.complete and len(means.rows) > 1 and len(means.columns) > 1:
            return means
    return None


def _option(factor: Factor, option: str) -> str:
    return option if not factor.switch else f"{factor.name} {option}"
