"""Footnotes of a table: what its numbers are, how they were tested, what is missing, where they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from experiments.language.shapes import Table
from experiments.language.wording import count, duration, first_few, seeds_named
from experiments.questions.confounders import table_notes
from experiments.questions.lines import FULL, Line, reference_of
from experiments.tracking.records import TrialRecord
from trainer.metrics import BINS, is_fraction, measured

from ..numbers import CUT, NOTHING, is_cut
from ..power import fewest_seeds
from ..provenance import command
from ..runs import Runs
from ..significance import LEVEL, PairedComparison
from .columns import TESTED, is_tested
from .entries import MetricEntries
from .printed import MARK, Layout

_SHORT = 40
"""Letters beyond which a footnote says "the first row" instead of a label."""


def legend(layout: Layout, metrics: Sequence[MetricEntries], *, lines: bool = False) -> str:
    """Explains the numbers and marks that the table shows. lines: whether some of its places have no cell."""
    every = [entry for metric in metrics for entry in metric.entries]
    parts = []
    if any(not metric.is_fact for metric in metrics):
        parts.append("mean ± sd over n runs" if any(entry.n > 1 for entry in every) else "one run each")
    told_from = list(dict.fromkeys(metric.told_from for metric in metrics if metric.told_from))
    of_whom = f" (of those with runs enough: {first_few(told_from)})" if told_from else ""
    marks = {
        "best in bold": any(column.bold for column in layout.columns),
        "second underlined": any(column.underlined for column in layout.columns),
        f"{MARK}: not distinguishable from the best{of_whom}, which was chosen by looking (sign-flip, 5 %, "
        "Bonferroni)": any(column.marked for column in layout.columns),
        "n too small to tell any from the best": any(not metric.told_apart for metric in metrics),
    }
    parts += [text for text, shown in marks.items() if shown]
    if any(entry.published for entry in every):
        several = any(len(entry.published) > 1 for entry in every)
        parts.append("published: the document's number" + (", or all where it states several" if several else ""))
        parts.append("Δ: ours minus the document's")
    if any(NOTHING in column.texts for column in layout.columns):
        parts.append(f"{NOTHING}: there is none")
    if lines:
        parts.append("empty: no design makes the cell")
    return sentence(parts)


def test_note(compared: Sequence[MetricEntries], lines: Sequence[Line], labels: Sequence[str]) -> str:
    """Says what the differences are to and how they were tested."""
    tests = max(sum(entry.comparison is not None for entry in metric.entries) for metric in compared)
    found = [e.comparison.difference for m in compared for e in m.entries if e.comparison and e.comparison.difference]
    interval = ", with Student's t interval" if any(each.low is not None for each in found) else ""
    parts = [f"differences are to {_reference(lines, labels)}, paired by seed{interval}"]
    if interval and any(each.low is None for each in found):
        parts.append(f"{NOTHING}: of one pair, or of pairs that all differ by the same, there is none")
    if any(_is_cut(entry.comparison, metric.metric) for metric in compared for entry in metric.entries):
        parts.append(CUT)
    if any(is_tested(metric) for metric in compared):
        correction = f", Holm-corrected over {tests} comparisons a column" if tests > 1 else ""
        parts.append(f"p: exact sign-flip test{correction}")
    if not all(is_tested(metric) for metric in compared):
        parts.append(_too_small(max(each.n for each in found), tests))
    dropped = {
        f"{seeds_named(entry.comparison.dropped)} of {entry.line.label}": None
        for metric in compared
        for entry in metric.entries
        if entry.comparison and entry.comparison.dropped
    }
    if dropped:
        parts.append(f"without a pair: {first_few(list(dropped))}")
    return sentence(parts)


def _is_cut(found: PairedComparison | None, metric: str) -> bool:
    difference = found.difference if found else None
    return difference is not None and is_cut(difference.low, difference.high, metric)


def unit_note(table: Table) -> str:
    """Says in which unit accuracies, and what else is a fraction of 1, are printed, if not as fractions; else empty."""
    of_one = [metric for metric in table.metrics if is_fraction(metric)]
    if table.unit != "percent" or not of_one:
        return ""
    what = "Accuracies" if all(measured(metric).endswith(("top1", "top5")) for metric in of_one) else "Fractions of 1"
    return f"{what} are in per cent, their differences in percentage points."


def metric_note(table: Table) -> str:
    """Says what a metric is that has more than one definition; else empty."""
    if any(measured(metric).endswith("ece") for metric in table.metrics):
        return f"ECE: expected calibration error, in {BINS} bins of confidence."
    return ""


def fixed_n_note(layout: Layout, runs: Runs) -> str:
    """Warns, in a study that adds seeds to open comparisons, that a table's tests take n as fixed; else empty."""
    tested = any(column.marked or column.head in TESTED for column in layout.columns)
    if runs.plan.study.replicates is None or not tested:
        return ""
    return (
        "Seeds were added where comparisons were open; what is tested here takes n as fixed, and errs more often than "
        "it says. Intervals that pay for every look stand in the report's answer."
    )


def _too_small(n: int, tests: int) -> str:
    enough = fewest_seeds(tests, LEVEL)
    until = f"; from {enough} seeds on it can" if enough else ""
    over = f", Holm-corrected over {tests} comparisons," if tests > 1 else ""
    return f"n too small for a p: with {count(n, 'seed')} no sign-flip test{over} can reach 5 %{until}"


def _reference(lines: Sequence[Line], labels: Sequence[str]) -> str:
    cell = reference_of(lines)
    if cell is None:
        return "the row before"
    label = next((label for line, label in zip(lines, labels, strict=True) if line.cell == cell), cell)
    if len(label) > _SHORT and cell == lines[0].cell:
        return "the first row"
    return f"the {label}" if label == FULL else label


def confounder_note(table: Table, runs: Runs) -> str:
    """Says what the table's comparisons can't tell apart, as where an option changes several settings; else empty."""
    notes = table_notes(table, runs.plan)
    return f"Note: {'; '.join(notes)}." if notes else ""


def runs_note(lines: Sequence[Line], runs: Runs) -> str:
    """How many trials are planned and finished; for each cell how many failed or are missing."""
    cells = [cell for cell in dict.fromkeys(line.cell for line in lines) if cell not in runs.plan.excluded]
    planned = {cell: runs.plan.seeds_of(cell) for cell in cells}
    trials = {(cell, seed): runs.plan.ids[cell, seed] for cell, seeds in planned.items() for seed in seeds}
    distinct = set(trials.values())
    done = len(distinct & runs.records.keys())
    partial = "partial: " if done < len(distinct) else ""
    of = f"{count(len(cells), 'cell')}, {_seeds(planned.values())}"
    parts = [f"{partial}{done} of {count(len(distinct), 'trial')} finished ({of})"]
    short = []
    for cell, seeds in planned.items():
        states = Counter(_state(runs, trials[cell, seed]) for seed in seeds)
        if states["finished"] < len(seeds):
            what = ", ".join(f"{states[state]} {state}" for state in ("failed", "missing") if states[state])
            short.append(f"{cell} {what} of {len(seeds)}")
    if short:
        parts.append(first_few(short))
    excluded = [line.cell for line in lines if line.cell in runs.plan.excluded]
    if excluded:
        parts.append(f"left out by a constraint: {first_few(excluded)}")
    return sentence(parts)


def _state(runs: Runs, trial: str) -> str:
    return "finished" if trial in runs.records else "failed" if trial in runs.failures else "missing"


def _seeds(planned: Iterable[tuple[int, ...]]) -> str:
    several = list(dict.fromkeys(planned))
    if len(several) > 1:
        sizes = [len(seeds) for seeds in several]
        return f"{min(sizes)} to {max(sizes)} seeds" if min(sizes) < max(sizes) else f"{min(sizes)} seeds each"
    seeds = several[0] if several else ()
    return seeds_named(seeds) if seeds else "no seeds"


def provenance_note(runs: Runs) -> str:
    """Code, data, hardware, cost and command of the report's runs; the same below all its tables."""
    records = list(runs.records.values())
    if not records:
        return ""

    def distinct(value: Callable[[TrialRecord], str]) -> str:
        return first_few(sorted({value(record) for record in records}))

    code = distinct(lambda r: f"{(r.commit or 'no commit')[:10]}{' with local changes' if r.dirty else ''}")
    data = distinct(lambda r: f"{r.recipe['dataset']['kind']} {r.fingerprint[:8]}")
    cost = duration(sum(record.seconds for record in records))
    hardware = distinct(lambda r: r.hardware)
    return f"Code {code}; data {data}; {hardware}; {cost} of training in all; {command(runs)}."


def sentence(parts: Sequence[str]) -> str:
    """The parts as one sentence, with semicolons between them; empty if there are none."""
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "." if text else ""
