"""Metrics that a study asks for and none of its trials can report, known before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from trainer.metrics import is_final, network_of

from ..catalog import kind_of, networks
from ..options import Dataset
from .comparisons import parse_claim

if TYPE_CHECKING:
    from ..plan import Plan
    from ..recipe import Recipe


def lacks_test_split(dataset: Dataset, seed: int) -> bool:
    """Whether the data, which must be at hand, have no test split."""
    return "test" not in dataset.read(dataset.split_key(seed)).splits


def unreported(plan: Plan) -> list[str]:
    """A sentence for each further network that no trial has, and for each kind of data that has no test split.

    Only where the study asks for their metrics, and the data are at hand. Raises UserError where these can't be read.
    """
    asked = dict.fromkeys(_asked(plan))
    return [*_without_network(plan, asked), *_without_test_split(plan, asked)]


def _without_network(plan: Plan, asked: Iterable[str]) -> list[str]:
    lacking: dict[str, list[str]] = {}
    for metric in asked:
        network = network_of(metric)
        if network and not any(network in networks_of(cell.recipe) for cell in plan.cells):
            lacking.setdefault(network, []).append(metric)
    return [f"no trial reports {', '.join(of_it)}: no recipe has {givers(name)}" for name, of_it in lacking.items()]


def networks_of(recipe: Recipe) -> set[str]:
    """The further networks that a training has in some of its epochs."""
    return {
        network for _, refinements in recipe.timeline for option in refinements.values() for network in option.networks
    }


def givers(network: str) -> str:
    """What a recipe needs to have a further network: `refinements.ema`."""
    return " or ".join(f"refinements.{kind}" for kind in networks()[network])


def _without_test_split(plan: Plan, asked: Iterable[str]) -> list[str]:
    tested = ", ".join(metric for metric in asked if is_final(metric))
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
    claimed = [part for claim in study.claims for part in parse_claim(claim.test, plan)]
    for comparison in (*claimed, *plan.compared):
        yield comparison.left.metric
        if comparison.right is not None:
            yield comparison.right.metric
