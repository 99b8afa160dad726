"""Claims as comparisons of numbers: what a sentence of the document says of the cells of a plan."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.errors import nearest
from trainer.metrics import is_fraction, measured

from ..catalog import known_metrics
from ..language.designs import cell_name
from ..language.shapes import Claim
from ..language.validation import Problem
from .named import check_metric, planned_cell

if TYPE_CHECKING:
    from ..plan import Plan

NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
"""A number without a sign, as constraints and claims write it."""

_COMPARISON = re.compile(
    rf"(?P<left>.+?)\s+(?P<relation>[<>])\s+(?P<right>.+?)(?:\s+(?P<sign>[+-])\s+(?P<margin>{NUMBER}))?"
)
_DIFFERENCE = re.compile(rf"(.+\.\w+)\s+-\s+(.+\.\w+)\s*([<>])\s*({NUMBER})")
"""A difference of two cells against a number, which should be written with a cell on each side."""

_NUMBER_FIRST = re.compile(rf"({NUMBER})\s*([<>])\s*(.+\.\w+)")
_TURNED = {"<": ">", ">": "<"}


@dataclass(frozen=True)
class Quantity:
    """A metric of a cell."""

    cell: str
    metric: str

    def __str__(self) -> str:
        return f"{self.cell}.{self.metric}"


@dataclass(frozen=True)
class Comparison:
    """`left` is greater (`>`) or less (`<`) than `right` plus `margin`; without `right`, than the number `margin`."""

    left: Quantity
    relation: str
    right: Quantity | None
    margin: float

    @property
    def key(self) -> tuple[str, str, float]:
        """Equal for comparisons of the same difference with the same margin, whichever cell is on the left."""
        left, right = str(self.left), str(self.right or "")
        return (right, left, -self.margin) if right and right < left else (left, right, self.margin)

    def __str__(self) -> str:
        if self.right is None:
            return f"{self.left} {self.relation} {self.margin:g}"
        margin = f" {'+' if self.margin > 0 else '-'} {abs(self.margin):g}" if self.margin else ""
        return f"{self.left} {self.relation} {self.right}{margin}"


def parse_claim(test: str, plan: Plan) -> list[Comparison]:
    """The comparisons of a claim, all of which must hold; raises Problem."""
    if word := re.search(r"\s(or|not)\s", test):
        raise Problem(
            (), f"got {word[1]!r}, expected comparisons that `and` joins; a claim each for what may hold alone"
        )
    return [_comparison(part.strip(), plan) for part in re.split(r"\s+and\s+", test)]


def _comparison(part: str, plan: Plan) -> Comparison:
    try:
        match = _COMPARISON.fullmatch(part)
        if not match or re.fullmatch(rf"-?{NUMBER}", match["left"]):
            raise Problem((), f"got {part!r}, expected `cell.metric > cell.metric`, `+ 0.01` for a margin")
        left, number = _quantity(match["left"], plan), re.fullmatch(rf"-?{NUMBER}", match["right"])
        right = None if number else _quantity(match["right"], plan)
    except Problem:
        _refuse_other_words(part)
        raise
    margin = float(match["margin"] or 0) * (-1 if match["sign"] == "-" else 1)
    if right is None:
        margin += float(match["right"])
        if is_fraction(left.metric) and not 0 <= margin <= 1:
            raise Problem((), f"got {margin:g} for {left.metric}, expected a fraction, from 0 to 1")
    elif measured(left.metric) != measured(right.metric):
        raise Problem((), f"{part!r} compares {left.metric} with {right.metric}; expected one metric")
    elif is_fraction(left.metric) and abs(margin) >= 1:
        raise Problem((), f"got the margin {margin:g} for {left.metric}, expected a fraction, 0.01 for a point")
    elif left == right:
        raise Problem((), f"{part!r} compares {left} with itself; expected another cell")
    return Comparison(left, match["relation"], right, margin)


def _refuse_other_words(part: str) -> None:
    """Raise Problem for a comparison that is written in another common way, saying how to write it here."""
    if difference := _DIFFERENCE.fullmatch(part):
        left, right, relation, margin = difference.groups()
        raise Problem((), f"got {part!r}, expected a cell on each side: `{left} {relation} {right} + {margin}`")
    if turned := _NUMBER_FIRST.fullmatch(part):
        number, relation, quantity = turned.groups()
        raise Problem((), f"got {part!r}, expected the number on the right: `{quantity} {_TURNED[relation]} {number}`")
    if percent := re.search(rf"({NUMBER})\s*%$", part):
        raise Problem((), f"got {percent[0]!r}, expected a fraction: {float(percent[1]) / 100:g}")
    if relation := re.search(r"[<>]=|==?|[≤≥]", part):
        raise Problem((), f"got {relation[0]!r}, expected > or < in {part!r}")
    if relation := re.search(r"(?<! )[<>]|[<>](?! )", part):
        raise Problem((), f"got {part!r}, expected a blank on both sides of {relation[0]}")


def compared(plan: Plan) -> list[Comparison]:
    """The comparisons that decide how many seeds each cell gets; empty without `replicates`. Raises Problem.

    They are those of the claims and, where `against` names a cell, of each other cell with that one; where the claims
    compare no two cells, of each cell with the first. A claim about one cell's number asks for no seeds, but has its
    share of the level as well.
    """
    words = plan.study.replicates
    if words is None:
        return []
    first = {cell.name: plan.ids[cell.name, plan.study.seeds[0]] for cell in plan.cells}
    claimed = [part for claim in plan.study.claims for part in _parsed(claim, plan)]
    pairs = [part for part in claimed if part.right is not None]
    against, metric = next(iter(first), ""), words.metric or "top1"
    check_metric(metric, ("metric",))
    if words.against is not None:
        against = planned_cell(words.against, plan, ("against",))
        if against not in first:
            raise Problem(("against",), f"a constraint leaves out {against!r}; expected one of {', '.join(first)}")
    elif pairs and words.metric is not None:
        message = "without `against` it is the claims that say what is compared, and by which metric"
        raise Problem(("metric",), f"{message}; expected `against` as well, or no metric")
    if words.against is not None or not pairs:
        base = Quantity(against, metric)
        claimed += [Comparison(Quantity(cell, metric), ">", base, 0.0) for cell in first if cell != against]
    found: dict[tuple[str, str, float], Comparison] = {}
    for part in claimed:
        if _can_differ(part, first):
            found.setdefault(part.key, part)
    if not any(part.right for part in found.values()):
        message = "no two cells that differ are compared, so nothing can be decided; expected a number of seeds"
        raise Problem((), message)
    if words.margin is not None and words.margin >= 1:
        for part in found.values():
            if part.right is not None and is_fraction(part.left.metric):
                message = f"got {words.margin:g}, within which all of {part} would be equivalent; expected a fraction"
                raise Problem(("margin",), f"{message}, {words.margin / 100:g} for {words.margin:g} points")
    return list(found.values())


def _parsed(claim: Claim, plan: Plan) -> list[Comparison]:
    try:
        return parse_claim(claim.test, plan)
    except Problem:
        # `check_claim` reports it
        return []


def _can_differ(part: Comparison, first: Mapping[str, str]) -> bool:
    """Whether the cells of a comparison are run, and are not the same by their recipes."""
    sides = [side.cell for side in (part.left, part.right) if side is not None]
    return all(cell in first for cell in sides) and len({first.get(cell) for cell in sides}) == len(sides)


def check_claim(claim: Claim, plan: Plan) -> None:
    """Raise Problem for a test that does not parse, or a published size that cannot be that of the test."""
    try:
        comparisons = parse_claim(claim.test, plan)
    except Problem as problem:
        raise problem.under("test") from None
    if claim.published is None:
        return
    if len(comparisons) > 1:
        message = f"got a size for a test of {len(comparisons)} comparisons, expected one comparison"
        raise Problem(("published",), f"{message}, or a claim for each")
    (comparison,) = comparisons
    if is_fraction(comparison.left.metric) and abs(claim.published) > 1:
        message = f"got {claim.published:g}, expected a fraction of 1 (0.021 for 2.1 %)"
        raise Problem(("published",), message)
    beyond = claim.published - comparison.margin
    if beyond < 0 if comparison.relation == ">" else beyond > 0:
        size = f"{comparison.left} - {comparison.right}" if comparison.right else str(comparison.left)
        side = "at least" if comparison.relation == ">" else "at most"
        message = f"got {claim.published:g}, expected {side} {comparison.margin:g}: it is {size}, and the test says"
        raise Problem(("published",), f"{message} `{comparison}`")


def _quantity(text: str, plan: Plan) -> Quantity:
    reference, dot, metric = text.rpartition(".")
    if not dot:
        raise Problem((), f"got {text!r}, expected `cell.metric` such as {next(iter(plan.designed))}.top1")
    known = known_metrics()
    if reference in known and metric not in known:
        raise Problem((), f"got {text!r}, expected the metric last: {metric}.{reference}")
    check_metric(metric, ())
    factor, dot, option = reference.partition(".")
    if not dot:
        return Quantity(planned_cell(reference, plan), metric)
    if factor not in plan.study.factors or option not in plan.study.factors[factor].options:
        known = [f"{f}.{o}" for f in plan.study.factors for o in plan.study.factors[f].options]
        raise Problem((), f"no option is called {reference!r}{nearest(reference, known)}")
    name = cell_name({factor: option}, plan.study.factors)
    if name not in plan.designed:
        raise Problem((), f"no design makes {reference!r}, the cell {name!r}{nearest(name, plan.designed)}")
    return Quantity(name, metric)
