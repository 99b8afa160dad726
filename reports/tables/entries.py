"""The numbers of a table before they are printed: ours, the document's, differences, and which are best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from experiments.language.shapes import Table
from experiments.questions.lines import Line
from experiments.questions.named import FACTS
from experiments.questions.tables import published

from ..numbers import better, title
from ..runs import Runs
from ..significance import PairedComparison
from ..statistics import Summary, summarize
from .comparing import compare_lines, not_told_from_best

Rank = Literal["best", "second", ""]


@dataclass(frozen=True)
class Entry:
    """One number of a table: ours beside the document's."""

    line: Line
    metric: str
    ours: Summary | None
    """Mean and spread over runs; a fact is a mean with n = 0."""

    published: tuple[float, ...] = ()
    """The document's numbers in our units; several if it contradicts itself."""

    comparison: PairedComparison | None = None
    """The comparison with the line's reference; None for the reference itself and for facts."""

    rank: Rank = ""
    among_best: bool = False
    """Whether it can't be told from the best of its column; False for the best itself."""

    @property
    def n(self) -> int:
        """Finished runs behind the number."""
        return self.ours.n if self.ours else 0

    @property
    def differences(self) -> tuple[float, ...]:
        """Ours minus each of the document's."""
        return tuple(self.ours.mean - value for value in self.published) if self.ours else ()

    def number(self, table: str) -> dict[str, Any]:
        """The entry for `report.json` and the CSV; a fact has no n, several published numbers are a list."""
        found = self.comparison
        difference = found.difference if found else None
        return {
            "table": table,
            "row": self.line.key,
            "cell": self.line.cell,
            "column": self.metric,
            "mean": self.ours.mean if self.ours else None,
            "sd": self.ours.sd if self.ours else None,
            "n": None if self.metric in FACTS else self.n,
            "published": _one_or_all(self.published),
            "minus_published": _one_or_all(self.differences),
            "reference": self.line.reference if found else None,
            "difference": difference.mean if difference else None,
            "low": difference.low if difference else None,
            "high": difference.high if difference else None,
            "pairs": difference.n if difference else None,
            "p": found.p if found else None,
            "p_adjusted": found.adjusted if found else None,
            "verdict": found.verdict if found else None,
            "superiority": found.superiority if found else None,
            "best": self.rank == "best",
            "second": self.rank == "second",
            "among_best": self.among_best,
        }


@dataclass(frozen=True)
class MetricEntries:
    """A metric of a table, with an entry for each line."""

    metric: str
    title: str
    entries: list[Entry]
    told_apart: bool = True
    """Whether there are enough runs to tell any of several entries from the best."""

    told_from: str = ""
    """The label of the entry that others are tested against, if the one with the best mean has too few runs for it."""

    @property
    def is_fact(self) -> bool:
        """Whether the metric is known without a run, as parameters are."""
        return self.metric in FACTS

    @property
    def has_published(self) -> bool:
        """Whether the document states any number of this column."""
        return any(entry.published for entry in self.entries)

    @property
    def is_compared(self) -> bool:
        """Whether any entry has a difference to a reference."""
        return any(entry.comparison and entry.comparison.difference for entry in self.entries)


def measure(
    table: Table, lines: Sequence[Line], runs: Runs, metrics: Sequence[str] | None = None
) -> list[MetricEntries]:
    """Each metric of the table (or of `metrics`) over its lines, with the document's numbers and all comparisons."""
    stated = published(table, lines, runs.plan.study)
    return [
        _measured(metric, table.titles.get(metric, title(metric)), lines, stated, runs)
        for metric in (table.metrics if metrics is None else metrics)
    ]


def _measured(
    metric: str, name: str, lines: Sequence[Line], stated: Mapping[str, Mapping[str, tuple[float, ...]]], runs: Runs
) -> MetricEntries:
    document = [stated.get(line.key, {}).get(metric, ()) for line in lines]
    if metric in FACTS:
        facts = [runs.fact(line.cell, metric) for line in lines]
        ours = [None if fact is None else Summary(fact, None, 0) for fact in facts]
        parts = zip(lines, ours, document, strict=True)
        return MetricEntries(metric, name, [Entry(line, metric, fact, said) for line, fact, said in parts])
    cells = dict.fromkeys([line.cell for line in lines] + [line.reference for line in lines if line.reference])
    arms = {cell: runs.values(cell, metric) for cell in cells}
    summaries = [summarize(list(arms[line.cell].values())) for line in lines]
    ranks = _ranks(metric, [summary.mean if summary else None for summary in summaries])
    # a line with the same trials as its reference makes no comparison
    compared = [line for line in lines if line.reference and not runs.plan.are_same(line.cell, line.reference)]
    comparisons = compare_lines(compared, arms, larger_is_better=better(metric) != "min")
    # no marks if all means are equal, so that none is best, or if n followed from results, so that no level holds
    told = any(ranks) and runs.plan.study.replicates is None
    shown = {line.cell: arms[line.cell] for line in lines} if told else {}
    among = not_told_from_best(shown, larger_is_better=better(metric) != "min")
    equal = among.arms - {among.to} if among else frozenset()
    entries = [
        Entry(line, metric, summary, said, comparisons.get(line.key), rank, rank != "best" and line.cell in equal)
        for line, summary, said, rank in zip(lines, summaries, document, ranks, strict=True)
    ]
    other = (e.line.label for e in entries if among and e.line.cell == among.to and e.rank != "best")
    return MetricEntries(metric, name, entries, told_apart=among is not None, told_from=next(other, ""))


def _ranks(metric: str, means: Sequence[float | None]) -> list[Rank]:
    """Best and, of three or more different means, second. Equal means share a rank; if all are equal, none has one."""
    distinct = sorted({mean for mean in means if mean is not None}, reverse=better(metric) == "max")
    if better(metric) is None or len(distinct) < 2:
        return [""] * len(means)
    ranks: dict[float, Rank] = {distinct[0]: "best"}
    if len(distinct) > 2:
        ranks[distinct[1]] = "second"
    return [ranks.get(mean, "") if mean is not None else "" for mean in means]


def _one_or_all(values: tuple[float, ...]) -> float | list[float] | None:
    if len(values) > 1:
        return list(values)
    return values[0] if values else None
