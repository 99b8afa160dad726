"""Claims as comparisons of numbers: what a sentence of the document says of the cells of a plan."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.errors import nearest
from trainer.metrics import plain

from .designs import cell_name
from .language import Claim
from .questions import check_metric, planned_cell
from .validation import Problem

if TYPE_CHECKING:
    from .study import Study

NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
"""A number without a sign, as constraints and claims write it."""

_COMPARISON = re.compile(
    rf"(?P<left>.+?)\s+(?P<relation>[<>])\s+(?P<right>.+?)(?:\s+(?P<sign>[+-])\s+(?P<margin>{NUMBER}))?"
)


@dataclass(frozen=True)
class Quantity:
    """A metric of a cell."""

    cell: str
    metric: str

    def __str__(self) -> str:
        return f"{self.cell}.{self.metric}"


@dataclass(frozen=True)
class Comparison:
    """`left` is greater (`>`) or less (`<`) than `right` plus `margin`; a plain number is the margin over nothing."""

    left: Quantity
    relation: str
    right: Quantity | None
    margin: float

    def __str__(self) -> str:
        if self.right is None:
            return f"{self.left} {self.relation} {self.margin:g}"
        margin = f" {'+' if self.margin > 0 else '-'} {abs(self.margin):g}" if self.margin else ""
        return f"{self.left} {self.relation} {self.right}{margin}"


def parse_claim(test: str, study: Study, cells: Iterable[str]) -> list[Comparison]:
    """The comparisons of a claim, all of which must hold; raises Problem."""
    comparisons = []
    for part in re.split(r"\s+and\s+", test):
        match = _COMPARISON.fullmatch(part.strip())
        if not match or re.fullmatch(rf"-?{NUMBER}", match["left"]):
            raise Problem((), f"got {part!r}, expected `cell.metric > cell.metric`, `+ 0.01` for a margin")
        margin = float(match["margin"] or 0) * (-1 if match["sign"] == "-" else 1)
        left = _quantity(match["left"], study, cells)
        if re.fullmatch(rf"-?{NUMBER}", match["right"]):
            comparisons.append(Comparison(left, match["relation"], None, float(match["right"]) + margin))
        else:
            right = _quantity(match["right"], study, cells)
            if plain(left.metric) != plain(right.metric):
                raise Problem((), f"{part.strip()!r} compares {left.metric} with {right.metric}; expected one metric")
            comparisons.append(Comparison(left, match["relation"], right, margin))
    return comparisons


def check_claim(claim: Claim, study: Study, cells: Iterable[str]) -> None:
    """Raise Problem for a test that does not parse, or a published size that cannot be that of the test."""
    try:
        comparisons = parse_claim(claim.test, study, cells)
    except Problem as problem:
        raise problem.under("test") from None
    if claim.published is None:
        return
    if len(comparisons) > 1:
        message = f"got a size for a test of {len(comparisons)} comparisons, expected one comparison"
        raise Problem(("published",), f"{message}, or a claim for each")
    (comparison,) = comparisons
    if "top" in comparison.left.metric and abs(claim.published) > 1:
        message = f"got {claim.published:g}, expected a fraction of 1 (0.021 for 2.1 %)"
        raise Problem(("published",), message)
    beyond = claim.published - comparison.margin
    if beyond < 0 if comparison.relation == ">" else beyond > 0:
        size = f"{comparison.left} - {comparison.right}" if comparison.right else str(comparison.left)
        side = "at least" if comparison.relation == ">" else "at most"
        message = f"got {claim.published:g}, expected {side} {comparison.margin:g}: it is {size}, and the test says"
        raise Problem(("published",), f"{message} `{comparison}`")


def _quantity(text: str, study: Study, cells: Iterable[str]) -> Quantity:
    reference, dot, metric = text.rpartition(".")
    if not dot:
        raise Problem((), f"got {text!r}, expected `cell.metric` such as {next(iter(cells))}.top1")
    check_metric(metric, ())
    factor, dot, option = reference.partition(".")
    if not dot:
        return Quantity(planned_cell(reference, study, cells), metric)
    if factor not in study.factors or option not in study.factors[factor].options:
        known = [f"{f}.{o}" for f in study.factors for o in study.factors[f].options]
        raise Problem((), f"no option is called {reference!r}{nearest(reference, known)}")
    name = cell_name({factor: option}, study.factors)
    if name not in cells:
        raise Problem((), f"no design makes {reference!r}, the cell {name!r}{nearest(name, cells)}")
    return Quantity(name, metric)
