"""Figures: for each kind a module that makes its numbers, and a sibling `_drawing` that draws those and nothing else.

`files.py` writes them. A new kind takes its words in experiments/questions/figure_words.py, a case in
`check_figure` (experiments/questions/figures.py), its pair of modules, and a case in `_made`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from experiments.questions.figure_words import CostFigure, CurvesFigure, EffectsFigure, Figure, InteractionFigure

from ..answer.pairs import answer_study, first_metric, isolates_all
from ..runs import Runs
from .base import FigureData
from .cost import cost_figure, make_cost
from .curves import Curves
from .curves_of_runs import learning_curves, make_curves
from .effects import Forest, answered_forest, effect_forest, make_effects
from .files import write_figures
from .interaction import interaction_map, make_interaction

__all__ = ["Curves", "FigureData", "learning_curves", "make_figure", "usual_figures", "write_figures"]


def make_figure(figure: Figure, runs: Runs) -> FigureData:
    """A figure that the study asks for; its title begins with the document's number, if it has one."""
    made = _made(figure, runs)
    return replace(made, title=f"Figure {figure.number}: {made.title}") if figure.number else made


def _made(figure: Figure, runs: Runs) -> FigureData:
    match figure:
        case CurvesFigure():
            return make_curves(figure, runs)
        case EffectsFigure():
            return make_effects(figure, runs)
        case InteractionFigure():
            return make_interaction(figure, runs)
        case CostFigure():
            return make_cost(figure, runs)


def usual_figures(runs: Runs, taken: Collection[str]) -> list[FigureData]:
    """Figures of the first metric that every study gets, as far as its runs allow: effects, interactions, cost.

    A kind that the study asks for itself is left out. Where an id is `taken`, the figure gets another one.
    """
    metric = first_metric(runs)
    asked = {type(figure) for figure in runs.plan.study.figures}

    def free(id: str) -> str:
        return free(f"all_{id}") if id in taken else id

    made: list[FigureData | None] = []
    if EffectsFigure not in asked:
        made.append(_forest(runs, free("effects"), metric))
    if InteractionFigure not in asked:
        made.append(interaction_map(runs, free("interactions"), metric))
    if CostFigure not in asked:
        made.append(cost_figure(runs, free("cost"), metric))
    return [figure for figure in made if figure is not None and not figure.empty]


def _forest(runs: Runs, id: str, metric: str) -> Forest:
    """Effects and interactions; without an interaction, the answer's own numbers if it has every option's."""
    forest = effect_forest(runs, id, metric)
    if not (forest.data["kind"] == "interaction").any() and isolates_all(runs):
        return answered_forest(answer_study(runs), id)
    return forest
