"""What the answer of a study consists of: what each option changes, and what is best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from trainer.metrics import best

from ..power import fewest_seeds
from ..significance import LEVEL, Equals, PairedComparison
from ..statistics import Summary

WITHOUT = "without it"
"""What a switch is said to be compared with."""

Pair = tuple[str, str]
"""A cell and the cell that it is compared with, by name."""


@dataclass(frozen=True)
class Change:
    """An option against its factor's first option; if no pair isolates any option, a cell against the first cell."""

    label: str
    """The option's name as it stands in names of cells, or the cell's name."""

    against: str
    patch: Mapping[str, Any]
    """Recipe path to the value that the option sets; empty for a cell."""

    pairs: tuple[Pair, ...]
    """The pairs over which the effect is averaged; empty if no pair has a finished seed in common."""

    unpaired: int
    """How many pairs are left out because their missing runs would cost the others seeds."""

    comparison: PairedComparison
    effects: tuple[float, ...]
    """The mean difference of each pair."""

    dropped: tuple[int, ...]
    """Planned seeds that are left out because a run of theirs is missing, or has no finite number."""

    unknown: tuple[int, ...]
    """Those of the dropped seeds under which all runs have finished, but one has no finite number."""

    time: float | None
    """Training time relative to the other cells of the pairs; None where they ran on different hardware, or `brief`."""

    times: tuple[float, ...]
    """`time` of each seed; empty where `time` is None."""

    brief: bool
    """Whether trials on either side were too short to compare their times: see `TIMED`."""

    epochs: float | None
    """Epochs trained relative to the other cells of the pairs; early stopping, or the option, may change them."""

    params: float | None
    """Parameters relative to the other cells of the pairs, on average."""

    taught: bool
    """Whether the option needs a teacher, whose training `time` does not include."""

    first: bool = True
    """Whether `against` is the factor's first option, as a reader would expect."""

    looked: bool = False
    """Whether the interval allows for repeated looks, as in a study that adds seeds; there is no p then."""

    twin: str = ""
    """If the metric does not change at all but that of a further network, such as averaged weights, does: its name."""

    stands: str = ""
    """Where the study's own comparison of these two cells stands (see sequential.Verdict); empty if it has none."""

    @property
    def name(self) -> str:
        """The label, followed by what it is compared with unless that is the factor's first option."""
        return self.label if self.first else f"{self.label} against {self.against}"


@dataclass(frozen=True)
class StudyAnswer:
    """What a study has found out about one metric."""

    metric: str
    changes: tuple[Change, ...]
    isolated: bool
    """Whether the changes are options, compared in pairs of cells that differ in nothing else."""

    confounded: tuple[str, ...]
    """Options without a pair of cells that differ in nothing else."""

    idle: tuple[str, ...]
    """Options that change nothing: cells with and without them have the same trials."""

    seeds: tuple[int, ...]
    means: Mapping[str, Summary]
    """Cell to the mean over its finished runs, for the cells that have any."""

    equals: Equals | None
    """The cells that can't be told from the best. None where there are too few seeds to tell any, or where seeds were
    added depending on results, so that the test would not keep its level."""

    repeated: bool = False
    """Whether the study adds seeds to open comparisons."""

    @cached_property
    def best(self) -> str | None:
        """The cell with the best mean."""
        means = {cell: summary.mean for cell, summary in self.means.items()}
        top = best(list(means.values()), self.metric) if means else None
        return next((cell for cell, mean in means.items() if mean == top), None)

    @property
    def needed(self) -> int | None:
        """The fewest seeds with which the test can decide any of the changes: see power.fewest_seeds."""
        return fewest_seeds(max(1, sum(change.comparison.difference is not None for change in self.changes)), LEVEL)
