"""Metrics that a study asks for and none of its trials can report, known before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainer.metrics import FINAL_METRICS, plain

from ..catalog import kind_of
from ..options import Dataset
from .comparisons import parse_claim

if TYPE_CHECKING:
    from ..plan import Plan


def lacks_test_split(dataset: Dataset, seed: int) -> bool:
    """Whether the data, which must be at hand, have no test split."""
    return "test" not in dataset.read(dataset.split_key(seed)).splits


def unreported(plan: Plan) -> list[str]:
    """A sentence for each kind of data that has no test split, where the study asks for metrics of one.

    Of data that are not at hand nothing is said. Raises UserError where they can't be read.
    """
    asked = ", ".join(dict.fromkeys(metric for metric in _asked(plan) if plain(metric) in FINAL_METRICS))
    if not asked:
        return []
    datasets = {str(cell.recipe.dataset.identity()): cell.recipe.dataset for cell in plan.cells}
    lacking = [d for d in datasets.values() if d.files() and lacks_test_split(d, plan.study.seeds[0])]
    kinds = dict.fromkeys(kind_of(type(dataset)) for dataset in lacking)
    return [f"no trial on {kind} reports {asked}: the data have no test split" for kind in kinds]


def _asked(plan: Plan) -> Iterator[str]:
    """The metrics of tables, claims, and of what decides how many seeds there are."""
    study = plan.study
    for table in study.tables:
        yield from table.metrics
    claimed = [part for claim in study.claims for part in parse_claim(claim.test, study, plan.designed)]
    for comparison in (*claimed, *plan.compared):
        yield comparison.left.metric
        if comparison.right is not None:
            yield comparison.right.metric
