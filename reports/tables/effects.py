"""`kind: effects`: what each option adds, and each two together, over all cells that the table takes in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.language.shapes import Table
from experiments.questions.lines import Line, table_lines

from .. import numbers
from ..answer.pairs import isolates_all
from ..effects import Effect, Effects, effects
from ..effects_text import POOLED, untold
from ..least_squares import Term
from ..numbers import title
from ..runs import Runs
from .footnotes import runs_note, sentence
from .printed import Column, Layout, PrintedTable


def make(table: Table, runs: Runs) -> list[PrintedTable]:
    """An effect a row; for each metric the estimate, its interval and p.

    Unasked, nothing where it would hold no interaction: the report's answer has every option's effect already.
    """
    lines = [
        line for line in table_lines(table, runs.plan.study, runs.plan.designed) if line.cell not in runs.plan.excluded
    ]
    factors = varying(lines, runs)
    fits = {metric: effects(_rows(lines, metric, runs), factors) for metric in table.metrics}
    crossed = any(len(effect.factors) > 1 for fit in fits.values() for effect in fit.effects)
    if table not in runs.plan.study.tables and not crossed and isolates_all(runs):
        return []
    terms = list(dict.fromkeys(effect.factors for fit in fits.values() for effect in fit.effects))
    names = {term: _name(term, factors, runs) for term in terms}
    head = Column(table.titles.get("rows", "effect"), [names[term] for term in terms] or ["none"], numeric=False)
    layout = Layout(head, [_columns(metric, fit, terms, table) for metric, fit in fits.items()])
    printed = PrintedTable(
        id=table.id,
        caption=table.caption,
        layout=layout,
        footnotes=[*_notes(fits, factors, table, runs), runs_note(lines, runs)],
        numbers=[
            _number(table.id, names[effect.factors], metric, effect, fit)
            for metric, fit in fits.items()
            for effect in fit.effects
        ],
        aligned=table.siunitx,
    )
    return [printed]


def varying(lines: Sequence[Line], runs: Runs) -> dict[str, list[str]]:
    """The factors in which the cells differ, with the options that occur, the default first."""
    choices = [runs.plan.designed[line.cell].choice for line in lines]
    found = {}
    for name, factor in runs.plan.study.factors.items():
        present = {choice[name] for choice in choices}
        if len(present) > 1:
            found[name] = [option for option in factor.options if option in present]
    return found


def _rows(lines: Sequence[Line], metric: str, runs: Runs) -> list[tuple[Mapping[str, str], int, float]]:
    return [
        (runs.plan.designed[line.cell].choice, seed, value)
        for line in lines
        for seed, value in runs.values(line.cell, metric).items()
    ]


def _name(term: Term, factors: Mapping[str, Sequence[str]], runs: Runs) -> str:
    """A switch's name, `model: B` against the first option, two with a cross between them."""
    parts = []
    for factor, option in term:
        if factor not in factors:
            # a block, which an effect may hide behind
            parts.append(f"{factor} {option}")
            continue
        switch = runs.plan.study.factors[factor].switch
        parts.append(factor if switch else f"{factor} {factors[factor][0]} → {option}" if len(term) == 1 else option)
    return " × ".join(parts)


def _columns(metric: str, fit: Effects, terms: Sequence[Term], table: Table) -> list[Column]:
    by_term = {effect.factors: effect for effect in fit.effects}
    found = [by_term.get(term) for term in terms] or [None]
    name = table.titles.get(metric, title(metric))

    def text(effect: Effect | None) -> str:
        return numbers.NOTHING if effect is None else numbers.change(effect.estimate, metric, table.unit)

    def interval(effect: Effect | None) -> str:
        return numbers.interval(effect.low, effect.high, metric, table.unit) if effect else numbers.NOTHING

    columns = [
        Column(
            name,
            [text(effect) for effect in found],
            values=[effect.estimate if effect else None for effect in found],
        ),
        Column(
            "95 % interval",
            [interval(effect) for effect in found],
            values=[effect.low if effect else None for effect in found],
        ),
        Column(
            "p",
            [numbers.probability(effect.adjusted if effect else None) for effect in found],
            values=[effect.adjusted if effect else None for effect in found],
        ),
    ]
    return columns if any(effect and effect.adjusted is not None for effect in found) else columns[:2]


def _notes(fits: Mapping[str, Effects], factors: Mapping[str, Sequence[str]], table: Table, runs: Runs) -> list[str]:
    fit = next(iter(fits.values()))
    blocks = f"with {' and '.join(fit.blocks)} as a block, " if fit.blocks else ""
    parts = [
        f"ordinary least squares over {fit.runs} runs, {blocks}{fit.df} residual degrees of freedom; an option's "
        "effect is the mean over the options of the other factors that were run with it",
        "× is an interaction: what two add together beyond what each adds",
    ]
    if not any(len(effect.factors) > 1 for effect in fit.effects):
        parts.pop()
    if any(effect.adjusted is not None for effect in fit.effects):
        parts.append(f"Student's t intervals; p Holm-corrected over {len(fit.effects)} effects")
    elif fit.effects:
        parts.append("no interval: no degree of freedom is left to estimate the spread by")
    notes = [sentence(parts)]
    if fit.additive:
        notes.append("The design does not identify all interactions: an effect holds if those it leaves out are none.")
    if any(effect.low is not None for effect in fit.effects):
        notes.append(POOLED)
    return [*notes, *untold(fit.unidentified, lambda term: _name(term, factors, runs))]


def _number(table: str, row: str, metric: str, effect: Effect, fit: Effects) -> dict[str, Any]:
    return {
        "table": table,
        "row": row,
        "factors": " ".join(f"{factor}={option}" for factor, option in effect.factors),
        "column": metric,
        "n": fit.runs,
        "published": None,
        "difference": effect.estimate,
        "low": effect.low,
        "high": effect.high,
        "p": effect.p,
        "p_adjusted": effect.adjusted,
    }
