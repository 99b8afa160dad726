"""Plan: what a study would run. Pure: needs no data, no network and no torch (unless a constraint asks for a cost)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from trainer import SEMANTICS
from trainer.errors import UserError
from trainer.settings import canonical, digest_of

from .language.constraints import parse_constraints
from .language.designs import Choice, cell_name, expand_design
from .language.factors import conflicts
from .language.references import Reference, resolve_references
from .language.validation import placed
from .language.yaml_source import YamlPath
from .questions.comparisons import Comparison, check_claim, compared
from .questions.figures import check_figure
from .questions.tables import check_table
from .recipe import Recipe
from .study import Study
from .training.costs import Cost, cost_of, known_cost


@dataclass(frozen=True)
class Cell:
    """One choice for each factor, and the recipe that it makes."""

    name: str
    choice: Choice
    recipe: Recipe

    @cached_property
    def cost(self) -> Cost | None:
        """Parameters and MACs; None where the number of classes is not known before the data are."""
        classes = self.recipe.dataset.num_classes()
        if classes is None:
            return None
        try:
            return cost_of(self.recipe.architecture, classes, self.recipe.dataset.image_size)
        except UserError as error:
            raise UserError(f"cell {self.name}: {error}") from error

    @property
    def known_macs(self) -> int | None:
        """Multiply-accumulates of an image where this machine has measured them before, else None; never measures."""
        if "cost" in vars(self):
            return self.cost.macs if self.cost else None
        classes = self.recipe.dataset.num_classes()
        cost = known_cost(self.recipe.architecture, classes, self.recipe.dataset.image_size) if classes else None
        return cost.macs if cost else None


@dataclass(frozen=True)
class Trial:
    """A cell under one seed. `id` names the work: the same id is never trained twice."""

    id: str
    cell: str
    seed: int
    recipe: Recipe


@dataclass(frozen=True)
class Plan:
    """The cells of a study in the order of its designs, and its distinct trials, seed by seed."""

    study: Study
    cells: tuple[Cell, ...]
    excluded: Mapping[str, str]
    """Cells that a constraint leaves out, with the constraint."""

    designed: Mapping[str, Cell] = field(repr=False)
    """Every cell that the designs make, by name, those left out included; its recipe names a teacher by its cell."""

    trials: tuple[Trial, ...]
    """Every cell's first seed comes before any second one. Of a study with `replicates`, only the seeds that results so
    far ask for (from `expand`: the first `min` of each cell)."""

    ids: Mapping[tuple[str, int], str] = field(repr=False)
    """(cell, seed) to trial id; two cells of one recipe share their trials."""

    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """Trial id to the trials (teachers) whose weights it needs; trials that need none are left out."""

    @cached_property
    def by_name(self) -> dict[str, Cell]:
        """Cell name to cell."""
        return {cell.name: cell for cell in self.cells}

    def seeds_of(self, cell: str) -> tuple[int, ...]:
        """The seeds under which a cell is planned, in the study's order."""
        return tuple(seed for seed in self.study.seeds if (cell, seed) in self.ids)

    def are_same(self, cell: str, other: str) -> bool:
        """Whether two cells are one recipe, and so the same trials."""
        return any(self.ids[cell, seed] == self.ids.get((other, seed)) for seed in self.seeds_of(cell))

    @cached_property
    def compared(self) -> list[Comparison]:
        """The comparisons that decide how many seeds each cell gets; empty for a study without `replicates`."""
        return compared(self)

    def keeps_weights(self, trial: str) -> bool:
        """Whether a trial's weights stay in the record: as the study says, but always those of a teacher."""
        return self.study.keep_weights or any(trial in teachers for teachers in self.needs.values())


def trial_id(recipe: Recipe, seed: int) -> str:
    """The identity of a training: 12 hex digits of its resolved recipe, seed and the trainer's semantics."""
    return _id_of(canonical(recipe.identity()), seed)


def _id_of(recipe: str, seed: int) -> str:
    # of the canonical recipe, because that is the same under every seed and takes longest to make
    return digest_of(f'{{"recipe":{recipe},"seed":{seed},"semantics":{SEMANTICS}}}')


def expand(study: Study) -> Plan:
    """All cells and trials of a study; raises UserError where a design, cell, table or claim does not make sense."""
    designed = _cells(study)
    cells, excluded = _constrained(study, designed)
    cells, teachers = _with_teachers(study, cells, excluded)
    by_name = {cell.name: cell for cell in designed}
    least = study.replicates.min if study.replicates else len(study.seeds)
    plan = _replicated(Plan(study, tuple(cells), excluded, by_name, (), {}), teachers, lambda cell: least)
    _check_questions(plan)
    return plan


def with_seeds(plan: Plan, number: Mapping[str, int]) -> Plan:
    """The same plan with other numbers of seeds. number: cell name to how many of the study's first seeds it gets."""
    cells = {plan.ids[cell.name, plan.study.seeds[0]]: cell.name for cell in plan.cells}
    teachers = {
        cell.name: tuple(cells[teacher] for teacher in plan.needs[first])
        for first, cell in ((plan.ids[cell.name, plan.study.seeds[0]], cell) for cell in plan.cells)
        if first in plan.needs
    }
    return _replicated(plan, teachers, number.__getitem__)


def _replicated(plan: Plan, teachers: Mapping[str, tuple[str, ...]], number: Callable[[str], int]) -> Plan:
    """The plan with `number` seeds of each cell. teachers: cell to the cells whose first trials it needs."""
    ids: dict[tuple[str, int], str] = {}
    trials: dict[str, Trial] = {}
    identities = {cell.name: canonical(cell.recipe.identity()) for cell in plan.cells}
    for place, seed in enumerate(plan.study.seeds):
        for cell in plan.cells:
            if place < number(cell.name):
                name = _id_of(identities[cell.name], seed)
                ids[cell.name, seed] = name
                trials.setdefault(name, Trial(name, cell.name, seed, cell.recipe))
    first = plan.study.seeds[0]
    needs = {
        id: tuple(dict.fromkeys(ids[teacher, first] for teacher in teachers[cell]))
        for (cell, _), id in ids.items()
        if cell in teachers
    }
    return dataclasses.replace(plan, trials=tuple(trials.values()), ids=ids, needs=needs)


def _cells(study: Study) -> list[Cell]:
    choices: dict[str, Choice] = {}
    if study.factors and not study.designs:
        raise study.error(("factors",), "the factors stand in no design; expected `designs:` saying which cells to run")
    for index, design in enumerate(study.designs):
        with placed(study.error, "designs", index):
            for choice in expand_design(design, study.factors):
                choices.setdefault(cell_name(choice, study.factors), choice)
    if not study.designs:
        choices = {cell_name({}, {}): {}}
    cells = [Cell(name, choice, _recipe(study, name, choice)) for name, choice in choices.items()]
    _refuse_shadows(study, cells)
    return cells


def _recipe(study: Study, name: str, choice: Choice) -> Recipe:
    chosen = [(factor, choice[factor.name]) for factor in study.factors.values()]
    patches = [(factor.label(option), factor.options[option]) for factor, option in chosen]
    for one, path, other, rival in conflicts(patches):
        factor, option = next(pair for pair in chosen if pair[0].label(pair[1]) == other)
        raise study.error(
            factor.origin(option, rival),
            f"in cell {name!r}, {other!r} patches {rival!r} and {one!r} patches {path!r}; which of them holds would "
            f"depend on their order, so expected a design that never has both on",
        )
    merged: dict[str, Any] = {}
    for factor, option in chosen:
        merged |= factor.options[option]
    # each option by itself makes a valid recipe, so an error here is one of their combination
    return study.recipe_with(merged, _origins(study, choice), f"in cell {name!r}, ")


def _origins(study: Study, choice: Choice) -> dict[str, YamlPath]:
    """Each recipe path that the choice patches to where it stands in the file."""
    where: dict[str, YamlPath] = {}
    for factor in study.factors.values():
        option = choice[factor.name]
        where |= {path: factor.origin(option, path) for path in factor.options[option]}
    return where


def _with_teachers(
    study: Study, cells: list[Cell], excluded: Mapping[str, str]
) -> tuple[list[Cell], dict[str, tuple[str, ...]]]:
    """The cells, with trial ids in the place of the cells that they refer to, and which cells each refers to."""
    by_name = {cell.name: cell for cell in cells}
    recipes = {cell.name: cell.recipe for cell in cells}
    try:
        found = resolve_references(recipes, study.factors, lambda recipe: trial_id(recipe, study.seeds[0]), excluded)
    except Reference as problem:
        where = _origins(study, by_name[problem.cell].choice)
        raise study.error_in_recipe(problem.path, problem.message, where) from None
    resolved = [dataclasses.replace(cell, recipe=found[cell.name][0]) for cell in cells]
    return resolved, {name: teachers for name, (_, teachers) in found.items() if teachers}


def _refuse_shadows(study: Study, cells: list[Cell]) -> None:
    """Raise UserError for cells that differ only in what identity leaves out, such as a path: results would mix."""
    seen: dict[str, Cell] = {}
    for cell in cells:
        other = seen.setdefault(trial_id(cell.recipe, 0), cell)
        if other.recipe != cell.recipe:
            raise study.error(
                ("factors",),
                f"cells {other.name!r} and {cell.name!r} differ only in paths or in `classes`, which are no part of a "
                f"trial's identity; expected a setting besides these that tells them apart",
            )


def _constrained(study: Study, cells: list[Cell]) -> tuple[list[Cell], dict[str, str]]:
    excluded: dict[str, str] = {}
    worst: dict[str, float] = {}
    for index, constraint in enumerate(parse_constraints(study)):
        for cell in cells:
            if cell.cost is None:
                raise study.error(("constraints", index), constraint.untested(cell.recipe.dataset))
            excess = constraint.excess(cell.cost)
            worst[cell.name] = max(excess, worst.get(cell.name, 0.0))
            if excess > 0:
                excluded.setdefault(cell.name, constraint.text)
    kept = [cell for cell in cells if cell.name not in excluded]
    if not kept:
        nearest = min(cells, key=lambda cell: worst[cell.name])
        assert nearest.cost is not None
        size = f"params {nearest.cost.params:,} and macs {nearest.cost.macs:,}"
        raise study.error(("constraints",), f"they leave no cell to run; the nearest, {nearest.name!r}, has {size}")
    return kept, excluded


def _check_questions(plan: Plan) -> None:
    checks: dict[str, Callable[[Any, Plan], None]] = {
        "tables": check_table,
        "figures": check_figure,
        "claims": check_claim,
    }
    for word, check in checks.items():
        for index, question in enumerate(getattr(plan.study, word)):
            with placed(plan.study.error, word, index):
                check(question, plan)
    with placed(plan.study.error, "seeds"):
        _ = plan.compared
