"""The printed tables and the answer's changes as views."""

from __future__ import annotations

import re

from experiments.catalog import KEYED_PLACES
from experiments.language.wording import count
from trainer.metrics import is_fraction

from ..answer.changes import Change, StudyAnswer
from ..answer.costs import TIMED
from ..answer.text import (
    MINUS,
    NEAR,
    compared_on,
    ends,
    is_unclear,
    leaning,
    other_epochs,
    relative,
    size,
    spread,
    standing,
    times,
)
from ..numbers import CUT, NOTHING, is_cut, probability, setting, title
from ..significance import PairedComparison
from ..tables.printed import MARK, Column, PrintedTable
from .views import ColumnHead, Field, Mark, Plot, View

_MINUS = re.compile(r"(?<![^\s(])-(?=[\d.])")
"""A hyphen that stands for a minus sign."""


def table_view(table: PrintedTable) -> View:
    """A study's table, without the provenance that all tables share: the page has it in a section of its own."""
    columns = table.layout.columns
    heads = [ColumnHead(column.head, column.numeric) for column in columns]
    rows = [[_field(column, row) for column in columns] for row in range(len(table.layout.rows.texts))]
    return View(f"table-{table.id}", table.title or table.id, heads, rows, table.footnotes)


def _field(column: Column, row: int) -> Field:
    mark: Mark = "best" if row in column.bold else "second" if row in column.underlined else ""
    value = column.values[row] if column.values else _first(column.texts[row]) if column.numeric else None
    text = _MINUS.sub(MINUS, column.texts[row]) if column.numeric else column.texts[row]
    return Field(text, value, mark=mark, tied=MARK if row in column.marked else "")


def _first(text: str) -> float | None:
    """The number that a text begins with, such as the lower end of an interval; None if there is none."""
    found = re.match(r"[+-]?\d+(?:\.\d+)?(?![\w.])", text)
    return float(found[0]) if found else None


def changes_view(answer: StudyAnswer) -> View:
    """Each change with its effect, its test and its cost."""
    metric = title(answer.metric)
    unit = f"{metric}, points" if is_fraction(answer.metric) else metric
    heads = [
        ColumnHead("Change"),
        ColumnHead("Verdict"),
        ColumnHead(unit, True),
        ColumnHead("Repeated interval" if answer.repeated else "95 % interval"),
        *([ColumnHead("p", True)] if _tested(answer) else []),
        ColumnHead("n", True),
        ColumnHead("Time", True),
        ColumnHead("Parameters", True),
        ColumnHead("Compared on"),
    ]
    scale = _scale(answer)
    rows = [_change_row(change, answer, scale) for change in answer.changes]
    return View("changes", f"Every change and its effect on {metric}", heads, rows, [_changes_note(answer)])


def _change_row(change: Change, answer: StudyAnswer, scale: tuple[float, float]) -> list[Field]:
    found, compared = change.comparison.difference, change.comparison
    return [
        Field(change.name, small=_patch(change)),
        _verdict(change, answer.metric),
        Field(NOTHING)
        if found is None
        else Field(size(found.mean, answer.metric, signed=True), found.mean, small=_see(change)),
        _interval(change, answer.metric, scale),
        *([_probability(compared)] if _tested(answer) else []),
        Field(str(found.n if found else 0), found.n if found else 0),
        Field(_time(change), change.time, small=_of_time(change)),
        Field(NOTHING if change.params is None else relative(change.params), change.params),
        _compared(change, answer.metric),
    ]


def _see(change: Change) -> str:
    return f"see {title(change.twin)}" if change.twin else ""


def _time(change: Change) -> str:
    if change.time is None:
        return NOTHING
    # a ratio near 1 is printed even if seeds fall on both sides of 1: the number itself says "about the same"
    return "unclear" if is_unclear(change) and abs(change.time - 1) > NEAR else f"{change.time:.2f}×"


def _of_time(change: Change) -> str:
    return "; ".join(filter(None, [times(change), other_epochs(change)])) if change.time is not None else ""


def _tested(answer: StudyAnswer) -> bool:
    """Whether any p is worth printing: none with too few seeds, nor where seeds were added after repeated looks."""
    return not answer.repeated and any(_is_tested(change.comparison) for change in answer.changes)


def _is_tested(compared: PairedComparison) -> bool:
    return compared.verdict in ("better", "worse", "not significant")


def _probability(compared: PairedComparison) -> Field:
    if compared.adjusted is None or not _is_tested(compared):
        return Field(NOTHING)
    return Field(probability(compared.adjusted), compared.adjusted)


def _verdict(change: Change, metric: str) -> Field:
    word, small = standing(change), change.stands
    if word in ("n too small", "undecided"):
        side = leaning(change, metric)
        small = f"interval speaks {side} it" if side else "" if word == "undecided" else word
        word = word if side else "undecided"
    return Field(word, small=small, mark="best" if word in ("helps", "hurts") else "dim")


def _interval(change: Change, metric: str, scale: tuple[float, float]) -> Field:
    found = change.comparison.difference
    if found is None or found.low is None or found.high is None:
        return Field(NOTHING)
    least, width = scale
    low, estimate, high, zero = ((at - least) / width for at in (found.low, found.mean, found.high, 0.0))
    return Field(ends(found.low, found.high, metric), found.low, plot=Plot(zero, low, estimate, high))


def _compared(change: Change, metric: str) -> Field:
    if len(change.pairs) < 2:
        return Field(compared_on(change, metric))
    return Field(count(len(change.pairs), "pair"), small=spread(change, metric))


def _scale(answer: StudyAnswer) -> tuple[float, float]:
    """Smallest value and length of the axis that all intervals share; zero is on it."""
    found = [change.comparison.difference for change in answer.changes]
    ends = [end for f in found if f for end in (f.low, f.mean, f.high) if end is not None]
    least, most = min([0.0, *ends]), max([0.0, *ends])
    return least, (most - least) or 1.0


def _patch(change: Change) -> str:
    return "; ".join(f"{path}: {_value(path, value)}" for path, value in change.patch.items())


def _value(path: str, value: object) -> str:
    """What a patch puts at a path, in words; an option without settings is on, a mapping of no options is none."""
    if value == {}:
        return "none" if any(f".{place}".endswith(f".{path}") for place in KEYED_PLACES) else "on"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(key, inner)}" for key, inner in value.items())
    return setting(value)


def _changes_note(answer: StudyAnswer) -> str:
    compared = [change for change in answer.changes if change.comparison.difference]
    tests = [
        "interval: Student's t, not corrected",
        f"{'p' if _tested(answer) else 'verdict'}: exact sign-flip permutation test, corrected for "
        f"{count(len(compared), 'comparison')} by Holm's method",
        f"n: seeds; with fewer than {answer.needed or 'many more'} the test can't reach 5 %, whatever the effect",
    ]
    if any(is_cut(f.low, f.high, answer.metric) for c in compared if (f := c.comparison.difference)):
        tests.append(CUT)
    if answer.repeated:
        tests = [
            "interval: pays for every look, together with those of the section Seeds for a change that is one of these "
            "comparisons, and of the others for one that is none",
            "n: seeds",
        ]
    parts = [
        "Differences are with minus without, paired by seed, the mean of all pairs of cells that differ in nothing else"
        if answer.isolated
        else f"Differences are cell minus {answer.changes[0].against}, paired by seed; cells may differ in more",
        *tests,
        "time (its range over the seeds) and parameters: of the training and its network, relative to the same cells"
        + (f"; no time: trials under {TIMED:g} s are too short to compare" if any(c.brief for c in compared) else ""),
    ]
    return "; ".join(parts) + "."
