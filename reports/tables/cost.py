"""`kind: cost`: what each cell costs, as measured while its trials ran."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.language.shapes import Table
from experiments.questions.lines import Line, table_lines
from experiments.questions.tables import by_row, stated_metrics
from experiments.tracking.records import TrialRecord

from .. import numbers
from ..numbers import NOTHING, title
from ..runs import Runs
from ..statistics import Summary, summarize
from .body import labels_of, numbers_of
from .columns import count_column, metric_columns
from .entries import measure
from .footnotes import legend, runs_note, sentence
from .printed import Column, Layout, PrintedTable

Records = Sequence[TrialRecord]


@dataclass(frozen=True)
class _Cost:
    """A column: how the cost of a cell follows from its finished runs, and how it is printed."""

    name: str
    head: str
    of: Callable[[Records], Summary | None]
    text: Callable[[Summary], str]


def make(table: Table, runs: Runs) -> list[PrintedTable]:
    """Columns: the metrics that the table states, parameters, MACs, seconds per epoch, device hours, peak memory, n."""
    lines = table_lines(table, runs.plan)
    records = [_records(line, runs) for line in lines]
    metrics = measure(table, lines, runs, stated_metrics(table))
    costs, what = _costs([record for cell in records for record in cell])
    found = {cost.name: [cost.of(cell) for cell in records] for cost in costs}
    facts = {name: [runs.fact(line.cell, name) for line in lines] for name in ("params", "macs")}
    groups = [metric_columns(m.title, m.entries, m.metric, table.unit) for m in metrics]
    groups += [[_fact_column(table.titles.get(name, title(name)), values)] for name, values in facts.items()]
    groups += [[_column(cost, found[cost.name])] for cost in costs]
    groups[-1].append(count_column([len(cell) for cell in records]))
    notes = by_row(table, "notes", lines, runs.plan.study)
    head = table.titles.get("rows", table.rows if isinstance(table.rows, str) else "cell")
    layout = Layout(
        Column(head, labels_of(table, lines, runs), numeric=False),
        groups,
        Column("Notes", [notes.get(line.key, "") for line in lines], numeric=False) if notes else None,
    )
    printed = PrintedTable(
        id=table.id,
        caption=table.caption,
        layout=layout,
        footnotes=[
            *([legend(layout, metrics)] if metrics else []),
            sentence(
                [*what, *([f"{NOTHING}: not recorded"] if any(NOTHING in c.texts for c in layout.columns) else [])]
            ),
            runs_note(lines, runs),
        ],
        numbers=[
            *numbers_of(table, metrics),
            *(
                number
                for index, line in enumerate(lines)
                for number in _numbers(table.id, line, index, facts, found, len(records[index]))
            ),
        ],
        aligned=table.siunitx,
    )
    return [printed]


def _records(line: Line, runs: Runs) -> list[TrialRecord]:
    ids = (runs.plan.ids.get((line.cell, seed), "") for seed in runs.plan.seeds_of(line.cell))
    return [runs.records[trial] for trial in ids if trial in runs.records]


def _costs(records: Records) -> tuple[list[_Cost], list[str]]:
    """The columns for which these records have values, and footnotes that explain them."""
    costs = [_Cost("epoch_seconds", "s/epoch", _pace, _mean_sd)]
    what = [
        "as trials were measured, beside others: s/epoch: training and evaluation, mean ± sd over runs; a longer first "
        "epoch counts as the others do"
    ]
    if records and all(record.gpus for record in records):
        costs.append(_Cost("gpu_hours", "GPU-hours", _hours(lambda record: record.gpus or 0.0), _hours_text))
        what.append("GPU-hours: of all runs of the cell, a trial that shares a GPU counts as its share")
    elif records and all(record.cores and not record.gpus for record in records):
        costs.append(_Cost("core_hours", "core-hours", _hours(lambda record: record.cores or 0), _hours_text))
        what.append("core-hours: of all runs of the cell, on the cores that each held")
    else:
        costs.append(_Cost("hours", "hours", _hours(lambda record: 1.0), _hours_text))
        what.append(
            "hours: of training, of all runs of the cell together; what they held of the machine was not recorded"
        )
    if any(record.peak_memory for record in records):
        costs.append(_Cost("peak_memory", "peak memory", _peak, lambda peak: f"{peak.mean / 2**30:.2f} GiB"))
        what.append("peak memory: of the GPU, the most that a run's tensors took, resident data included")
    return costs, what


def _pace(records: Records) -> Summary | None:
    return summarize([pace for record in records if (pace := record.pace("epoch_seconds")) is not None])


def _hours(weight: Callable[[TrialRecord], float]) -> Callable[[Records], Summary | None]:
    def total(records: Records) -> Summary | None:
        if not records:
            return None
        return Summary(sum(record.seconds * weight(record) for record in records) / 3600, None, len(records))

    return total


def _peak(records: Records) -> Summary | None:
    peaks = [record.peak_memory for record in records if record.peak_memory]
    return Summary(max(peaks), None, len(peaks)) if peaks else None


def _mean_sd(pace: Summary) -> str:
    # three significant digits: epochs may take milliseconds or hours
    decimals = 0 if pace.mean >= 100 else min(4, 2 - math.floor(math.log10(pace.mean))) if pace.mean > 0 else 2
    return f"{pace.mean:.{decimals}f}" + ("" if pace.sd is None else f" ± {pace.sd:.{decimals}f}")


def _hours_text(hours: Summary) -> str:
    return f"{hours.mean:#.2g}" if hours.mean < 1 else f"{hours.mean:.2f}" if hours.mean < 100 else f"{hours.mean:.0f}"


def _fact_column(head: str, values: Sequence[int | None]) -> Column:
    texts = [NOTHING if value is None else numbers.large(value, ".1f") for value in values]
    return Column(head, texts, values=[None if value is None else float(value) for value in values])


def _column(cost: _Cost, found: Sequence[Summary | None]) -> Column:
    texts = [NOTHING if summary is None else cost.text(summary) for summary in found]
    return Column(cost.head, texts, values=[summary.mean if summary else None for summary in found])


def _numbers(
    table: str,
    line: Line,
    index: int,
    facts: dict[str, list[int | None]],
    found: dict[str, list[Summary | None]],
    n: int,
) -> list[dict[str, Any]]:
    common = {"table": table, "row": line.key, "cell": line.cell}
    known = [
        {**common, "column": name, "mean": values[index], "sd": None, "n": None, "published": None}
        for name, values in facts.items()
    ]
    measured = [
        {
            **common,
            "column": name,
            "mean": summary.mean if summary else None,
            "sd": summary.sd if summary else None,
            "n": summary.n if summary else n,
            "published": None,
        }
        for name, summaries in found.items()
        for summary in [summaries[index]]
    ]
    return known + measured
