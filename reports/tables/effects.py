"""`kind: effects`: what each option adds, and what each two add together, over all cells that the table takes in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.language.shapes import Table
from experiments.language.wording import count
from experiments.questions.lines import Line, table_lines

from .. import numbers
from ..answer.pairs import isolates_all
from ..effects import Effect, Effects, effects
from ..effects_text import POOLED, untold
from ..least_squares import Term
from ..numbers import title
from ..runs import Runs
from .columns import INTERVAL, P
from .footnotes import runs_note, sentence
from .printed import Column, Layout, PrintedTable


def make(table: Table, runs: Runs) -> list[PrintedTable]:
    """One row per effect; for each metric the estimate, its interval and p.

    No table if the study does not ask for it and it would show no interaction, while the report's answer has every
    option's effect already.
    """
    lines = [line for line in table_lines(table, runs.plan) if line.cell not in runs.plan.excluded]
    factors = _varying(lines, runs)
    cells = [line.cell for line in lines]
    fits = {metric: effects(runs.observations(cells, metric), factors) for metric in table.metrics}
    crossed = any(len(effect.factors) > 1 for fit in fits.values() for effect in fit.effects)
    if table not in runs.plan.study.tables and not crossed and isolates_all(runs):
        return []
    terms = list(dict.fromkeys(effect.factors for fit in fits.values() for effect in fit.effects))
    names = {term: _name(term, factors, runs) for term in terms}
    labels = [names[term] for term in terms] or ["no effect can be told"]
    head = Column(table.titles.get("rows", "effect"), labels, numeric=False)
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


def _varying(lines: Sequence[Line], runs: Runs) -> dict[str, list[str]]:
    """The factors in which the cells differ, with the options that occur, the default first."""
    choices = [runs.plan.designed[line.cell].choice for line in lines]
    found = {}
    for name, factor in runs.plan.study.factors.items():
        present = {choice[name] for choice in choices}
        if len(present) > 1:
            found[name] = [option for option in factor.options if option in present]
    return found


def _name(term: Term, factors: Mapping[str, Sequence[str]], runs: Runs) -> str:
    """`mixup` for a switch, `model A → B` for another option against the first; two with a cross between them."""
    parts = []
    for factor, option in term:
        if factor not in factors:
            # the block, which may be an alias of an effect
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
        if effect is None:
            return numbers.NOTHING
        # an interaction is a difference of differences, so its limits are twice as wide
        return numbers.interval(effect.low, effect.high, metric, table.unit, most=len(effect.factors))

    columns = [
        Column(
            name,
            [text(effect) for effect in found],
            values=[effect.estimate if effect else None for effect in found],
        ),
        Column(
            INTERVAL,
            [interval(effect) for effect in found],
            values=[effect.low if effect else None for effect in found],
        ),
        Column(
            P,
            [numbers.probability(effect.adjusted if effect else None) for effect in found],
            values=[effect.adjusted if effect else None for effect in found],
        ),
    ]
    return columns if any(effect and effect.adjusted is not None for effect in found) else columns[:2]


def _notes(fits: Mapping[str, Effects], factors: Mapping[str, Sequence[str]], table: Table, runs: Runs) -> list[str]:
    """Footnotes: the same for all metrics, or with metrics' names before those that do not hold for all."""
    notes = {
        table.titles.get(metric, title(metric)): _fit_notes(fit, factors, runs, metric) for metric, fit in fits.items()
    }
    several = list(dict.fromkeys(note for found in notes.values() for note in found))
    if all(found == several for found in notes.values()):
        return several
    whose = {note: [name for name, found in notes.items() if note in found] for note in several}
    return [note if len(names) == len(notes) else f"{', '.join(names)}: {note}" for note, names in whose.items()]


def _fit_notes(fit: Effects, factors: Mapping[str, Sequence[str]], runs: Runs, metric: str) -> list[str]:
    held = "with the seed as a block, " if fit.blocked else ""
    parts = [
        f"ordinary least squares over {count(fit.runs, 'run')}, {held}{fit.df} residual degrees of freedom; an "
        "option's effect is the mean over the options of the other factors that were run with it"
    ]
    if any(len(effect.factors) > 1 for effect in fit.effects):
        parts.append("× is an interaction: what two add together beyond what each adds")
    if any(effect.adjusted is not None for effect in fit.effects):
        over = f"; p Holm-corrected over {len(fit.effects)} effects" if len(fit.effects) > 1 else ""
        parts.append(f"Student's t intervals{over}")
    elif fit.effects:
        left = "the model leaves nothing over" if fit.df else "no degree of freedom is left"
        parts.append(f"no interval: {left} to estimate the spread by")
    notes = [sentence(parts)]
    if fit.additive:
        notes.append("The design does not identify all interactions: an effect holds if those it leaves out are none.")
    if any(effect.low is not None for effect in fit.effects):
        notes.append(POOLED)
    if any(numbers.is_cut(e.low, e.high, metric, -len(e.factors), len(e.factors)) for e in fit.effects):
        notes.append(sentence([numbers.CUT]))
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
