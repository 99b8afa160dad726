"""Constraints: limits on what a network costs, as a study writes them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.errors import nearest

from ..catalog import kind_of
from ..questions.comparisons import NUMBER
from ..training.costs import Cost

if TYPE_CHECKING:
    from ..options import Dataset
    from ..study import Study

_CONSTRAINT = re.compile(rf"\s*(\w+)\s*(<=|>=|<|>)\s*({NUMBER})\s*")


@dataclass(frozen=True)
class Constraint:
    """A limit on a cost."""

    text: str
    """As the study writes it."""

    name: str
    """params or macs."""

    relation: str
    limit: float

    def excess(self, cost: Cost) -> float:
        """By how much a cost breaks the limit, as a fraction of it; at most 0 where the limit holds."""
        value = getattr(cost, self.name)
        beyond = value - self.limit if self.relation in ("<", "<=") else self.limit - value
        if beyond == 0 and self.relation in ("<", ">"):
            # on the limit, which is not within it
            beyond = 1.0
        return float(beyond / max(self.limit, 1.0))

    def untested(self, dataset: Dataset) -> str:
        """The error of a constraint that can't be tested, as the data that would tell the classes are not there."""
        settings = (getattr(dataset, name) for name in type(dataset).model_fields)
        places = [os.path.abspath(os.path.expanduser(path)) for path in settings if isinstance(path, Path)]
        where = f" in {' and '.join(places)}" if places else ""
        return (
            f"{self.text!r} needs the number of classes, which {kind_of(type(dataset))} takes from its data{where}; "
            f"they are not there, expected them or dataset.classes"
        )


def parse_constraints(study: Study) -> Sequence[Constraint]:
    """A study's constraints; raises UserError for one that does not parse."""
    found = []
    for index, text in enumerate(study.constraints):
        match = _CONSTRAINT.fullmatch(text)
        if not match or match[1] not in Cost.__dataclass_fields__:
            near = nearest(match[1], Cost.__dataclass_fields__) if match else ""
            raise study.error(("constraints", index), f"got {text!r}, expected `params < 100e6` or `macs < 5e9`{near}")
        found.append(Constraint(text, match[1], match[2], float(match[3])))
    return found
