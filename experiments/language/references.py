"""Cells that other cells refer to: a student's teacher, named by its cell, becomes a trial id. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from trainer.errors import nearest

from ..recipe import Recipe, parse_recipe
from .designs import canonical_name
from .factors import Factor
from .validation import Problem, shown

if TYPE_CHECKING:
    from ..options import Option
    from .yaml_source import YamlPath

Resolved = tuple[Recipe, tuple[str, ...]]
"""A recipe whose references are trial ids, and the names of the cells that it refers to."""


def resolve_references(
    recipes: Mapping[str, Recipe],
    factors: Mapping[str, Factor],
    identify: Callable[[Recipe], str],
    excluded: Mapping[str, str],
) -> dict[str, Resolved]:
    """Each cell's recipe with trial ids (`identify` of the recipe referred to) in the place of cells' names.

    excluded: cells that a constraint leaves out, with the constraint.

    Raises Reference where a name is no cell's, cells refer to each other in a circle, or a teacher does not fit its
    student.
    """
    found: dict[str, Resolved] = {}

    def resolve(name: str, students: tuple[str, ...]) -> Resolved:
        if name in found:
            return found[name]
        recipe = recipes[name]
        data: dict[str, Any] | None = None
        teachers = []
        for path, option, setting in references_in(recipe):
            place = (*path, setting)
            teacher = _cell(getattr(option, setting), recipes, factors, excluded, name, place)
            chain = (*students, name)
            if teacher in chain:
                circle = ", which is taught by ".join((*chain[chain.index(teacher) :], teacher))
                raise Reference(name, place, f"a circle: {circle}; expected a cell that can be trained first")
            its_recipe, _ = resolve(teacher, chain)
            _check_fit(recipe, its_recipe, teacher, name, place)
            data = data or recipe.as_data()
            _put(data, place, identify(its_recipe))
            teachers.append(teacher)
        found[name] = (parse_recipe(data) if data else recipe, tuple(teachers))
        return found[name]

    return {name: resolve(name, ()) for name in recipes}


class Reference(Problem):
    """What is wrong with a reference: the cell that makes it, the path in its recipe, the message."""

    def __init__(self, cell: str, path: YamlPath, message: str) -> None:
        super().__init__(path, message)
        self.cell = cell


def references_in(recipe: Recipe) -> list[tuple[YamlPath, Option, str]]:
    """Every setting that refers to another cell: the option's path, the option, the setting's name."""
    return [(path, option, setting) for path, option in recipe.options for setting in option.trial_references]


def referred(recipe: Recipe) -> set[str]:
    """What a recipe refers to: names of cells or, once these are resolved, ids of trials."""
    return {getattr(option, setting) for _, option, setting in references_in(recipe)}


def _cell(
    text: str,
    recipes: Mapping[str, Recipe],
    factors: Mapping[str, Factor],
    excluded: Mapping[str, str],
    student: str,
    place: YamlPath,
) -> str:
    try:
        name = canonical_name(text, factors)
    except Problem as problem:
        raise Reference(student, place, problem.message) from None
    if name in excluded:
        raise Reference(student, place, f"{place[-1]} {name!r} is left out by the constraint {excluded[name]}")
    if name not in recipes:
        message = f"{place[-1]} {text!r} is cell {name!r}, which no design makes{nearest(name, recipes)}"
        raise Reference(student, place, message)
    return name


def _check_fit(student: Recipe, teacher: Recipe, name: str, cell: str, place: YamlPath) -> None:
    """Raise Reference unless images, split and size agree: a teacher must not train on what validates its student."""
    ours, theirs = student.dataset.num_classes(), teacher.dataset.num_classes()
    if ours != theirs:
        has = f"has {theirs or 'other'} classes, expected those of cell {cell!r}: {ours or 'its data'}"
        raise Reference(cell, place, f"the teacher {name!r} {has}")
    if getattr(student.dataset, "split_seed", None) == "trial":
        message = "got split_seed: trial, expected one split: the teacher of the first seed has trained on images that"
        raise Reference(cell, place, f"{message} validate students of the others")
    own, other = (recipe.dataset.model_dump(mode="json") for recipe in (student, teacher))
    for setting in sorted(own.keys() | other.keys()):
        if own.get(setting) != other.get(setting):
            message = f"the teacher {name!r} has dataset.{setting} {shown(other.get(setting))}, cell {cell!r} "
            raise Reference(cell, place, f"{message}{shown(own.get(setting))}; expected the same images for both")


def _put(data: Any, path: YamlPath, value: str) -> None:
    for part in path[:-1]:
        data = data[part]
    data[path[-1]] = value
