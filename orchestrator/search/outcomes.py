"""What a search reads from a configuration and its records: its size, its objectives and their course."""

from __future__ import annotations

from math import isfinite, nan

from experiments.catalog import kind_of
from experiments.plan import Cell, Trial
from experiments.questions.unreported import lacks_test_split
from experiments.search.plan import Objective, SearchPlan, may_give
from experiments.search.words import COSTS
from experiments.tracking.records import TrialRecord
from trainer.metrics import is_final, network_of
from trainer.stopping import value_so_far


def check_reported(search: SearchPlan) -> None:
    """Raise UserError if an objective is of the test split and the recipe's data, which must be at hand, have none."""
    dataset = search.study.recipe.dataset
    asked = [each.metric for each in search.objectives if each.metric not in COSTS and is_final(each.metric)]
    if asked and lacks_test_split(dataset, search.seeds[0]):
        message = (
            f"no trial reports {asked[0]!r}: {kind_of(type(dataset))} has no test split; expected a metric without it"
        )
        raise search.study.error(("search", "objective"), message)


def values_of(search: SearchPlan, trial: Trial, record: TrialRecord) -> tuple[float, ...] | None:
    """The objectives of a finished trial; None if one is not a finite number, or if it has no such network.

    Raises UserError for an objective that no trial would report.
    """
    values = []
    for objective in search.objectives:
        value = objective.value(record)
        if value is None and objective.metric not in COSTS and not record.reports(objective.metric):
            network = network_of(objective.metric)
            if network and may_give(search.study, search.words, network):
                # the search varies whether there is such a network, so others may report it
                return None
            known = ", ".join(dict.fromkeys([*(record.history or [{}])[-1], *record.final, *COSTS]))
            message = (
                f"{trial.cell} seed {trial.seed} finished without {objective.metric!r}; expected one of {known}, or, "
                "if an earlier version trained it, its run to be deleted in `ablate ui`, so that it is trained again"
            )
            raise search.study.error(("search", "objective"), message)
        values.append(value)
    finite = [value for value in values if value is not None and isfinite(value)]
    return tuple(finite) if len(finite) == len(values) else None


def excesses_of(search: SearchPlan, cell: Cell) -> dict[str, float]:
    """Constraint to by how much a configuration breaks it (see Constraint.excess); empty if there are no constraints.

    Raises UserError for a network that can't be built.
    """
    if not search.constraints:
        return {}
    assert cell.cost is not None, "plan_search has seen to it"
    return {constraint.text: constraint.excess(cell.cost) for constraint in search.constraints}


def course_of(record: TrialRecord, objective: Objective) -> list[float]:
    """The objective after each epoch, as if training had ended there; NaN where it was not a finite number.

    Empty for an objective that has no course, such as parameters.
    """
    if not objective.has_course:
        return []
    epochs = [{name: nan if value is None else value for name, value in epoch.items()} for epoch in record.history]
    return [value_so_far(objective.metric, epochs[: n + 1], record.recipe["select"]) for n in range(len(epochs))]
