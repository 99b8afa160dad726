"""The numbers of a table before they are printed: ours, the document's, and which are best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from experiments.language import Table
from experiments.lines import Line
from experiments.questions import FACTS
from trainer.metrics import direction

from ..runs import Runs
from ..statistics import Summary, summarize

Rank = Literal["best", "second", "among the best", ""]


@dataclass(frozen=True)
class Entry:
    """One number of a table: ours beside the document's."""

    line: Line
    metric: str
    ours: Summary | None
    """A fact of the cell is a mean of no runs."""

    published: tuple[float, ...] = ()
    """The document's numbers in our units: several, where it contradicts itself."""

    rank: Rank = ""

    @property
    def n(self) -> int:
        """Finished runs behind the number."""
        return self.ours.n if self.ours else 0

    @property
    def differences(self) -> tuple[float, ...]:
        """Ours minus each of the document's."""
        return tuple(self.ours.mean - value for value in self.published) if self.ours else ()

    def number(self, table: str) -> dict[str, Any]:
        """The entry for `report.json`; a fact has no n, several published numbers are a list."""
        return {
            "table": table,
            "row": self.line.key,
            "cell": self.line.cell,
            "column": self.metric,
            "mean": self.ours.mean if self.ours else None,
            "sd": self.ours.sd if self.ours else None,
            "n": None if self.metric in FACTS else self.n,
            "published": _one_or_all(self.published),
            "difference": _one_or_all(self.differences),
            "best": self.rank == "best",
        }


def make_entries(
    table: Table, lines: Sequence[Line], published: Mapping[str, Mapping[str, Any]], runs: Runs
) -> dict[str, list[Entry]]:
    """For each metric of the table an entry a line; published: by the line's key and metric."""
    return {metric: _column(metric, lines, published, runs) for metric in table.metrics}


def _column(metric: str, lines: Sequence[Line], published: Mapping[str, Mapping[str, Any]], runs: Runs) -> list[Entry]:
    found = [_ours(metric, line.cell, runs) for line in lines]
    ranks = _ranks(metric, [summary.mean if summary else None for summary in found])
    entries = []
    for line, summary, rank in zip(lines, found, ranks, strict=True):
        stated = published.get(line.key, {}).get(metric, ())
        several = stated if isinstance(stated, tuple) else (stated,)
        entries.append(Entry(line, metric, summary, several, rank))
    return entries


def _ours(metric: str, cell: str, runs: Runs) -> Summary | None:
    if metric in FACTS:
        fact = runs.fact(cell, metric)
        return None if fact is None else Summary(fact, None, 0)
    return summarize(list(runs.values(cell, metric).values()))


def _ranks(metric: str, means: Sequence[float | None]) -> list[Rank]:
    """Best and, of three or more, second; equal means share a rank."""
    better = None if metric in FACTS else direction(metric)
    distinct = sorted({mean for mean in means if mean is not None}, reverse=better == "max")
    if better is None or not distinct:
        return [""] * len(means)
    ranks: dict[float, Rank] = {distinct[0]: "best"}
    if len(distinct) > 2:
        ranks[distinct[1]] = "second"
    return [ranks.get(mean, "") if mean is not None else "" for mean in means]


def _one_or_all(values: tuple[float, ...]) -> float | list[float] | None:
    if len(values) > 1:
        return list(values)
    return values[0] if values else None
