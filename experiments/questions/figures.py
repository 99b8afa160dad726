"""What a study's figures refer to, as cells, factors and metrics of its plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from trainer.metrics import direction, epoch_metrics

from ..catalog import networks
from ..language.designs import find_factor
from ..language.validation import Problem, shown
from .figure_words import CostFigure, CurvesFigure, EffectsFigure, Figure, InteractionFigure
from .named import FACTS, check_metric, planned_cell

if TYPE_CHECKING:
    from ..plan import Plan
    from ..study import Study


def figure_cells(figure: CurvesFigure | EffectsFigure | CostFigure, plan: Plan) -> list[str]:
    """The cells that a figure shows, by their own names; all where it names none."""
    if figure.cells is None:
        return list(plan.designed)
    found: list[str] = []
    for index, name in enumerate(figure.cells):
        cell = planned_cell(name, plan, ("cells", index))
        if cell in found:
            raise Problem(("cells", index), f"the cell {name!r} stands twice")
        found.append(cell)
    return found


def figure_labels(figure: Figure, plan: Plan) -> dict[str, str]:
    """Cell to what the figure calls it, where it has a label of its own."""
    found: dict[str, str] = {}
    for name, label in figure.labels.items():
        cell = planned_cell(name, plan, ("labels", name))
        if cell in found:
            raise Problem(("labels", name), f"{name!r} is the cell {cell!r}, which stands here already")
        found[cell] = label
    return found


def check_figure(figure: Figure, plan: Plan) -> None:
    """Raise Problem where the figure names what does not exist or cannot be drawn, or an id that is taken."""
    if any(figure.id == table.id for table in plan.study.tables):
        raise Problem(("id",), f"the table {figure.id!r} has learning curves of this name; expected another id")
    if next(other for other in plan.study.figures if other.id == figure.id) is not figure:
        raise Problem(("id",), f"the figure id {figure.id!r} stands twice")
    figure_labels(figure, plan)
    match figure:
        case CurvesFigure():
            _check_curves(figure, plan)
        case EffectsFigure():
            _check_effects(figure, plan)
        case InteractionFigure():
            _check_interaction(figure, plan.study)
        case CostFigure():
            _check_cost(figure, plan)
        case _:
            assert_never(figure)


def _check_curves(figure: CurvesFigure, plan: Plan) -> None:
    shown_cells = figure_cells(figure, plan)
    courses = epoch_metrics(networks())
    for i, panel in enumerate(figure.panels):
        for j, metric in enumerate(panel):
            check_metric(metric, ("panels", i, j), FACTS)
            if metric not in courses:
                message = f"{metric!r} is one number of a training and makes no curve; expected one of every epoch"
                raise Problem(("panels", i, j), f"{message}: {', '.join(courses)}")
            if metric in panel[:j]:
                raise Problem(("panels", i, j), f"the metric {metric!r} stands twice in its panel")
    if figure.epochs is not None:
        _check_epochs(figure.epochs, max(plan.designed[name].recipe.epochs for name in shown_cells))


def _check_epochs(epochs: tuple[int, int], trained: int) -> None:
    first, last = epochs
    if first >= last:
        raise Problem(("epochs",), f"got {shown(epochs)}, expected the first epoch and a later one, the last")
    if first > trained:
        raise Problem(("epochs",), f"got {shown(epochs)}, expected epochs up to {trained}, the last of these cells")


def _check_effects(figure: EffectsFigure, plan: Plan) -> None:
    check_metric(figure.metric, ("metric",))
    named = figure_cells(figure, plan)
    if len(named) < 2:
        raise Problem(("cells",), "one cell has no effect; expected two cells or more")
    if figure.reference is not None:
        planned_cell(figure.reference, plan, ("reference",))
    elif figure.labels:
        message = "effects are called as their options are; expected none, or a `reference` to which cells are compared"
        raise Problem(("labels",), message)


def _check_interaction(figure: InteractionFigure, study: Study) -> None:
    check_metric(figure.metric, ("metric",))
    if figure.labels:
        raise Problem(("labels",), "an interaction figure shows factors and their options, not cells; expected none")
    if figure.factors is None:
        two = [name for name, factor in study.factors.items() if len(factor.options) == 2]
        if len(two) < 2:
            have = f"the study has {', '.join(map(repr, two)) or 'none'}"
            message = f"interactions are of factors with two options, and {have}; expected `factors`: [one, another]"
            raise Problem((), message)
        return
    for index, name in enumerate(figure.factors):
        find_factor(name, study.factors, ("factors", index))
    if figure.factors[0] == figure.factors[1]:
        raise Problem(("factors", 1), f"the factor {figure.factors[0]!r} stands twice; expected another one")


def _check_cost(figure: CostFigure, plan: Plan) -> None:
    check_metric(figure.metric, ("metric",))
    if direction(figure.metric) is None:
        known = ", ".join(name for name in epoch_metrics(networks()) if direction(name))
        message = f"of {figure.metric!r} neither more nor less is better, so that it has no Pareto front"
        raise Problem(("metric",), f"{message}; expected one such as {known}")
    figure_cells(figure, plan)
