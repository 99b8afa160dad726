"""Footnotes of a table: what its numbers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.questions import FACTS

from ..numbers import NOTHING
from ..runs import Runs
from .entries import Entry
from .printed import MARK, Layout


def legend(layout: Layout, entries: Mapping[str, Sequence[Entry]], runs: Runs) -> str:
    """What the table's numbers and marks are, of those that it shows."""
    every = [entry for column in entries.values() for entry in column]
    parts = []
    if any(metric not in FACTS for metric in entries):
        planned = len(runs.plan.study.seeds)
        seeds = f"{planned} planned seeds" if planned > 1 else "one planned seed"
        if (words := runs.plan.study.replicates) is not None:
            seeds = f"{words.min} to {words.max} seeds, as many as comparisons asked for"
        parts.append(f"mean ± sd over n of {seeds}")
    marks = {
        "best mean in bold": any(column.bold for column in layout.columns),
        "second underlined": any(column.underlined for column in layout.columns),
        f"{MARK}: not distinguishable from the best": any(column.marked for column in layout.columns),
    }
    parts += [text for text, shown in marks.items() if shown]
    if any(entry.published for entry in every):
        several = any(len(entry.published) > 1 for entry in every)
        parts.append("published: the document's number" + (", or all where it states several" if several else ""))
        parts.append("Δ: ours minus the document's")
    if any(NOTHING in column.texts for column in layout.columns):
        parts.append(f"{NOTHING}: there is none")
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "." if text else ""
