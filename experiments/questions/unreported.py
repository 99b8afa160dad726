"""Metrics that a study asks for and none of its trials can report, known before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from trainer.metrics import FINAL_METRICS, plain

from ..catalog import kind_of
from ..options import Dataset
from .comparisons import parse_claim

if TYPE_CHECKING:
    from ..plan import Plan
    from ..recipe import Recipe


def lacks_test_split(dataset: Dataset, seed: int) -> bool:
    """Whether the data, which must be at hand, have no test split."""
    return "test" not in dataset.read(dataset.split_key(seed)).splits


def unreported(plan: Plan) -> list[str]:
    """A sentence for averaged weights that no trial keeps, and for each kind of data that has no test split.

    Only where the study asks for their metrics, and the data are at hand. Raises UserError where these can't be read.
    """
    asked = dict.fromkeys(_asked(plan))
    return [*_without_average(plan, asked), *_without_test_split(plan, asked)]


def _without_average(plan: Plan, asked: Iterable[str]) -> list[str]:
    averaged = ", ".join(metric for metric in asked if plain(metric).startswith("ema_"))
    if not averaged or any(may_average(cell.recipe) for cell in plan.cells):
        return []
    return [f"no trial reports {averaged}: no recipe has refinements.ema"]


def may_average(recipe: Recipe) -> bool:
    """Whether a training may keep averaged weights; a plugin may: what it keeps is not known before it is built."""
    stages = (recipe.refinements, *(phase.refinements for phase in recipe.phases))
    return any(kind == "ema" or option.code for refinements in stages for kind, option in refinements.items())


def _without_test_split(plan: Plan, asked: Iterable[str]) -> list[str]:
    tested = ", ".join(metric for metric in asked if plain(metric) in FINAL_METRICS)
    if not tested:
        return []
    datasets = {str(cell.recipe.dataset.identity()): cell.recipe.dataset for cell in plan.cells}
    lacking = [d for d in datasets.values() if d.files() and lacks_test_split(d, plan.study.seeds[0])]
    kinds = dict.fromkeys(kind_of(type(dataset)) for dataset in lacking)
    return [f"no trial on {kind} reports {tested}: the data have no test split" for kind in kinds]


def _asked(plan: Plan) -> Iterator[str]:
    """The metrics of tables, of claims, and of the comparisons that decide how many seeds there are."""
    study = plan.study
    for table in study.tables:
        yield from table.metrics
    claimed = [part for claim in study.claims for part in parse_claim(claim.test, study, plan.designed)]
    for comparison in (*claimed, *plan.compared):
        yield comparison.left.metric
        if comparison.right is not None:
            yield comparison.right.metric
