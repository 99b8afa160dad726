"""Confounders: settings besides the named one in which the recipes of two compared cells differ.

Pure. A cell is the baseline with the patches of its options, so what an option changes is found by comparing two
recipes, and what it says it changes by reading its patch. Nothing here is an error: the documents' own studies do it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..language.factors import Factor
from ..language.shapes import Table
from ..language.wording import listed
from .changes import SettingChange, changes_between
from .comparisons import parse_claim
from .lines import table_lines

if TYPE_CHECKING:
    from ..plan import Cell, Plan

Pair = tuple[str, str]
"""Names of two cells that are compared: the reference, and the other."""

_UNTOLD = "no comparison can tell which of them matters"
_SHOWN = 5
"""The most settings that a note lists."""


@dataclass(frozen=True)
class Confounder:
    """One option of a factor against another, and every setting in which they differ."""

    factor: str
    reference: str
    option: str
    changes: tuple[SettingChange, ...]

    @property
    def named(self) -> tuple[SettingChange, ...]:
        """The changes that the patches of the two options name."""
        return tuple(change for change in self.changes if change.named)

    @property
    def silent(self) -> tuple[SettingChange, ...]:
        """The changes that no patch names."""
        return tuple(change for change in self.changes if not change.named)


def study_notes(plan: Plan) -> list[str]:
    """Notes on a study before it runs: on each factor's options against its first, then on tables and claims."""
    pairs = [pair for table in plan.study.tables for pair in table_pairs(table, plan)]
    found = find_confounders(plan, [*_against_first(plan), *claim_pairs(plan), *pairs])
    defaults = {name: factor.default for name, factor in plan.study.factors.items()}
    first = [c for c in found if c.reference == defaults[c.factor]]
    known = {(c.factor, c.option) for c in first}
    # what an option changes against the first one need not be said again against the others
    rest = [c for c in found if c not in first and not {(c.factor, c.option), (c.factor, c.reference)} & known]
    return [*_sentences(plan, [*first, *rest]), *_of_several_factors(plan)]


def table_notes(table: Table, plan: Plan) -> list[str]:
    """Notes for below a table, on its rows and what they are compared with."""
    return pair_notes(table_pairs(table, plan), plan)


def pair_notes(pairs: Iterable[Pair], plan: Plan) -> list[str]:
    """Notes on cells and the reference that each is compared with."""
    return _sentences(plan, find_confounders(plan, pairs, turn=False))


def claim_notes(plan: Plan) -> list[str]:
    """Notes on the claims."""
    return [*_sentences(plan, find_confounders(plan, claim_pairs(plan))), *_of_several_factors(plan)]


def table_pairs(table: Table, plan: Plan) -> list[Pair]:
    """A table's rows with their references, or with the first row; of `effects`, all pairs that effects come from."""
    if table.kind == "cost":
        return []
    if table.kind == "effects":
        return _against_first(plan)
    lines = table_lines(table, plan)
    if pairs := [(line.reference, line.cell) for line in lines if line.reference]:
        return list(dict.fromkeys(pairs))
    return [(lines[0].cell, line.cell) for line in lines[1:]]


def claim_pairs(plan: Plan) -> list[Pair]:
    """The two cells of each comparison that a claim makes, the right one as the reference."""
    study = plan.study
    parsed = [comparison for claim in study.claims for comparison in parse_claim(claim.test, plan)]
    found = [(c.right.cell, c.left.cell) for c in parsed if c.right is not None and c.right.cell != c.left.cell]
    return list(dict.fromkeys(found))


def find_confounders(plan: Plan, pairs: Iterable[Pair], *, turn: bool = True) -> list[Confounder]:
    """Of pairs that differ in one factor, the options that change several settings, or some silently, or none at all.

    turn: whether a factor's first option is the reference wherever it is compared, rather than the pair's first cell.
    """
    found: dict[tuple[str, frozenset[str]], Confounder] = {}
    for reference, other in pairs:
        one, two = plan.designed[reference], plan.designed[other]
        differing = _differing(one, two)
        if len(differing) != 1:
            continue
        factor = plan.study.factors[differing[0]]
        if two.choice[factor.name] == factor.default and (turn or factor.switch):
            one, two = two, one
        options = one.choice[factor.name], two.choice[factor.name]
        if (key := (factor.name, frozenset(options))) not in found:
            found[key] = Confounder(factor.name, *options, changes_between(one, two, factor))
    return [c for c in found.values() if sum(change.size for change in c.named) > 1 or c.silent or not c.changes]


def _against_first(plan: Plan) -> list[Pair]:
    """Each cell behind every other one that differs from it by having the first option of one factor."""
    by_choice = {tuple(cell.choice.items()): cell.name for cell in plan.cells}
    pairs = []
    for cell in plan.cells:
        for name, factor in plan.study.factors.items():
            first = by_choice.get(tuple({**cell.choice, name: factor.default}.items()))
            if first is not None and first != cell.name:
                pairs.append((first, cell.name))
    return pairs


def _of_several_factors(plan: Plan) -> list[str]:
    pairs = claim_pairs(plan)
    several = [pair for pair in pairs if len(_differing(plan.designed[pair[0]], plan.designed[pair[1]])) > 1]
    if not several:
        return []
    reference, other = several[0]
    if len(several) == 1:
        lead, tells = f"a claim compares {other} with {reference}, which differ in several factors", "it tells"
    else:
        of = f"{len(several)} of the {len(pairs)} pairs of cells that claims compare"
        lead, tells = f"{of} differ in several factors, first {other} and {reference}", "they tell"
    return [f"{lead}: {tells} which cell is better, not which factor makes it so"]


def _differing(one: Cell, two: Cell) -> list[str]:
    return [name for name, option in one.choice.items() if two.choice[name] != option]


def _sentences(plan: Plan, found: list[Confounder]) -> list[str]:
    """A sentence for each factor and kind of trouble, without a full stop."""
    said: list[str] = []
    for name in dict.fromkeys(confounder.factor for confounder in found):
        factor = plan.study.factors[name]
        those = [confounder for confounder in found if confounder.factor == name]
        said += _at_once(factor, [c for c in those if sum(change.size for change in c.named) > 1])
        said += _silently(factor, [c for c in those if c.silent])
        for confounder in those:
            if not confounder.changes:
                label = factor.label(confounder.option)
                other = f"with {confounder.reference}" if not factor.switch else "without it"
                said.append(f"{label} changes nothing: a cell with it and the one {other} are the same trials")
    return said


def _at_once(factor: Factor, found: list[Confounder]) -> list[str]:
    said = []
    for reference in dict.fromkeys(confounder.reference for confounder in found):
        those = [confounder for confounder in found if confounder.reference == reference]
        against = "" if factor.switch else f" against {reference}"
        if len(those) == 1:
            name = factor.label(those[0].option)
            said.append(f"{name}{against} changes {_listed(map(str, those[0].named))} at once: {_UNTOLD}")
            continue
        alike: dict[str, list[str]] = {}
        for confounder in those:
            alike.setdefault(_listed(change.path for change in confounder.named), []).append(confounder.option)
        changed = "; ".join(f"{', '.join(options)} {paths}" for paths, options in alike.items())
        said.append(f"options of {factor.name} change several settings{against} at once ({changed}): {_UNTOLD}")
    return said


def _silently(factor: Factor, found: list[Confounder]) -> list[str]:
    alike: dict[str, list[str]] = {}
    for confounder in found:
        names = alike.setdefault(_listed(map(str, confounder.silent)), [])
        if (name := factor.label(confounder.option)) not in names:
            names.append(name)
    return [
        f"{', '.join(names)} {'change' if len(names) > 1 else 'changes'} {paths} as well, which no patch names"
        for paths, names in alike.items()
    ]


def _listed(texts: Iterable[str]) -> str:
    texts = list(texts)
    if len(texts) > _SHOWN:
        return f"{', '.join(texts[:_SHOWN])} and {len(texts) - _SHOWN} more settings"
    return listed(texts)
