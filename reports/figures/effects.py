"""A forest of effects as data: what each option adds, or how each cell differs from a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from experiments.language.designs import cell_name
from experiments.language.factors import Factor
from experiments.questions.figure_words import EffectsFigure
from experiments.questions.figures import figure_cells, figure_labels
from experiments.questions.named import planned_cell
from trainer.metrics import direction

from .. import effects as least_squares
from ..answer.changes import StudyAnswer
from ..effects_text import POOLED, untold
from ..least_squares import Term
from ..numbers import title
from ..runs import Runs
from ..significance import PairedComparison, compare
from .base import FigureData, frame_of
from .labels import labelled, table_labels
from .scale import SQUEEZED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 40
"""The most rows that fit a page: of more, the largest are drawn. The CSV has all."""

_COLUMNS = {
    "gid": "str", "kind": "str", "label": "str", "estimate": "float64", "low": "float64", "high": "float64",
    "n": "int64", "p": "float64", "adjusted": "float64",
}  # fmt: skip


@dataclass(frozen=True)
class Forest(FigureData):
    """Effects or differences, each with its 95 % interval.

    `data`: one row per effect, main effects before interactions, the largest estimate first. `kind` is "main effect",
    "interaction" or "difference". n counts the runs with the option (or both), the pairs of a difference, or the seeds
    of the answer's changes. `adjusted` is p after Holm's correction over all rows that have one. `low`, `high` and `p`
    are empty where no spread is known.
    """

    metric: str
    reference: str | None = None
    """For differences: the label of the cell that the others are compared with."""

    answered: bool = False
    """Whether these are the changes of the report's answer, instead of estimates by least squares."""

    repeated: bool = False
    """Whether their intervals allow for repeated looks; there is no p then."""

    untold: tuple[str, ...] = ()
    """Sentences about the effects that the design does not identify."""

    additive: bool = False
    """Whether the main effects hold only if the effects that are not identified are zero."""

    @property
    def shown(self) -> pd.DataFrame:
        """The rows that are drawn."""
        largest = self.data["estimate"].abs().sort_values(ascending=False, kind="stable").index[:MOST]
        return self.data.loc[sorted(largest)]

    @property
    def scale(self) -> tuple[float, float]:
        """The range of the axis: zero, all estimates, and all intervals but those that would flatten the others.

        Such an interval is wider than `SQUEEZED` times both the median interval and the range of the estimates.
        """
        rows = self.shown
        known = rows.dropna(subset=["low"])
        low, high = min([0.0, *rows["estimate"]]), max([0.0, *rows["estimate"]])
        width = known["high"] - known["low"]
        usual = known[width <= SQUEEZED * max(float(width.median()) if len(width) else 0.0, high - low)]
        return min([low, *usual["low"]]), max([high, *usual["high"]])

    def draw(self) -> Figure:
        """See FigureData."""
        from .effects_drawing import draw

        return draw(self)

    def describe(self) -> str:
        """See FigureData."""
        if self.empty:
            return f"Nothing to draw yet: no two cells have a finished run with {title(self.metric)}."
        text = self._points()
        text += " Filled: " + (
            "the interval leaves out zero." if self.repeated else "p < 0.05 after Holm's correction over all rows."
        )
        if direction(self.metric) == "min":
            text += " Less is better: what lies left of zero helps."
        if (self.data["low"].isna()).any():
            text += " No bar: there is no interval, of too few runs or of differences that are all the same."
        low, high = self.scale
        if (self.shown["low"] < low).any() or (self.shown["high"] > high).any():
            text += " An interval that would flatten the others ends in a triangle; the CSV beside has its ends."
        if len(self.data) > MOST:
            text += f" The {MOST} largest of {len(self.data)}; the CSV beside has all."
        if self.additive:
            text += " The main effects hold only if the effects that are not identified are none."
        return " ".join([text, *self.untold])

    def _points(self) -> str:
        if self.reference:
            return (
                f"Point: mean of the paired differences to {self.reference}; bar: 95 % t interval; n: pairs of seeds."
            )
        if self.answered:
            bar = "repeated interval, which pays for every look" if self.repeated else "95 % t interval"
            return f"The answer's changes. Point: mean of the differences by seed; bar: {bar}; n: seeds."
        crossed = (self.data["kind"] == "interaction").any()
        parts = ["Point: estimate by least squares, the seed held constant", "bar: 95 % t interval"]
        if crossed:
            parts.append("circle: a main effect, averaged over the other factors")
            parts.append("diamond: an interaction, what two add beyond what each adds")
        parts.append("n: runs with the option, or both" if crossed else "n: runs with the option")
        return f"{'; '.join(parts)}. {POOLED}"


def effect_forest(runs: Runs, id: str, metric: str, cells: Sequence[str] | None = None) -> Forest:
    """Effects of the factors if the design identifies any main effect, else each cell's difference to the baseline."""
    chosen = list(runs.plan.designed) if cells is None else list(cells)
    found = fitted(runs, metric, chosen)
    caption = f"What each factor adds to {title(metric)}"
    if found is None or not any(len(effect.factors) == 1 for effect in found.effects):
        reference = cell_name({}, runs.plan.study.factors)
        first = next((c for c in chosen if runs.values(c, metric)), chosen[0])
        return differences(runs, id, metric, chosen, reference if reference in chosen else first)
    factors = runs.plan.study.factors
    choices = [choice for choice, *_ in runs.observations(chosen, metric)]
    rows = [
        (
            _kind(effect.factors),
            option_names(effect.factors, factors),
            effect,
            sum(all(choice[name] == option for name, option in effect.factors) for choice in choices),
        )
        for effect in found.effects
    ]
    ordered = sorted(rows, key=lambda row: (row[0] == "interaction", -row[2].estimate))
    table = [
        (f"{id}.row{place}", kind, label, e.estimate, e.low, e.high, n, e.p, e.adjusted)
        for place, (kind, label, e, n) in enumerate(ordered)
    ]
    return Forest(
        id=id,
        title=caption,
        data=frame_of(table, _COLUMNS),
        metric=metric,
        untold=tuple(untold(found.unidentified, lambda term: option_names(term, factors))),
        additive=found.additive,
    )


def answered_forest(answer: StudyAnswer, id: str) -> Forest:
    """The changes of the report's answer, with its numbers."""
    known = [(change, d) for change in answer.changes if (d := change.comparison.difference)]
    known.sort(key=lambda row: -row[1].mean)
    table = [
        (f"{id}.row{place}", "main effect", c.name, d.mean, d.low, d.high, d.n, c.comparison.p, c.comparison.adjusted)
        for place, (c, d) in enumerate(known)
    ]
    return Forest(
        id=id,
        title=f"What each change does to {title(answer.metric)}",
        data=frame_of(table, _COLUMNS),
        metric=answer.metric,
        answered=True,
        repeated=answer.repeated,
    )


def differences(
    runs: Runs, id: str, metric: str, cells: Sequence[str], reference: str, labels: Mapping[str, str] = {}
) -> Forest:
    """Each cell's paired difference to the reference."""
    arms = {cell: values for cell in {reference: None, **dict.fromkeys(cells)} if (values := runs.values(cell, metric))}
    compared: Mapping[str, PairedComparison] = {}
    if reference in arms and len(arms) > 1:
        compared = compare(arms, reference, larger_is_better=direction(metric) != "min")
    named = labelled({reference: None, **arms}, {**table_labels(runs.plan), **labels})
    paired = [(cell, c, c.difference) for cell, c in compared.items() if c.difference]
    paired.sort(key=lambda row: -row[2].mean)
    table = [
        (f"{id}.row{place}", "difference", named[cell], d.mean, d.low, d.high, d.n, c.p, c.adjusted)
        for place, (cell, c, d) in enumerate(paired)
    ]
    return Forest(
        id=id,
        title=f"{title(metric)}: difference to {named[reference]}",
        data=frame_of(table, _COLUMNS),
        metric=metric,
        reference=named[reference],
    )


def make_effects(figure: EffectsFigure, runs: Runs) -> Forest:
    """A forest that the study asks for."""
    cells = figure_cells(figure, runs.plan)
    if figure.reference is None:
        forest = effect_forest(runs, figure.id, figure.metric, cells)
    else:
        reference = planned_cell(figure.reference, runs.plan)
        forest = differences(runs, figure.id, figure.metric, cells, reference, figure_labels(figure, runs.plan))
    return replace(forest, title=figure.caption or forest.title)


def fitted(runs: Runs, metric: str, cells: Sequence[str]) -> least_squares.Effects | None:
    """The effects of the factors in which these cells differ; None if those that have the metric differ in none."""
    rows = runs.observations(cells, metric)
    factors = {
        name: tuple(option for option in factor.options if any(choice[name] == option for choice, _, _ in rows))
        for name, factor in runs.plan.study.factors.items()
    }
    varied = {name: options for name, options in factors.items() if len(options) > 1}
    return least_squares.effects(rows, varied) if varied else None


def option_names(term: Term, factors: Mapping[str, Factor]) -> str:
    """`c`, `B` or `B × c`: options by the names that they have in names of cells."""
    labels = [factors[name].label(option) if name in factors else "" for name, option in term]
    return " × ".join(label or f"{name} {option}" for label, (name, option) in zip(labels, term, strict=True))


def _kind(term: Term) -> str:
    return "main effect" if len(term) == 1 else "interaction"
