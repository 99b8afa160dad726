"""Cells that other cells refer to: a student's teacher becomes the trial that it is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from trainer.errors import nearest

from .catalog import kind_of
from .designs import cell_name, parse_cell
from .factors import Factor
from .recipe import Recipe, options_in, parse_recipe
from .validation import Path, Problem

if TYPE_CHECKING:
    from .options import Option

Resolved = tuple[Recipe, tuple[str, ...]]
"""A recipe whose references are trial ids, and the names of the cells that it refers to."""


def resolve_references(
    recipes: Mapping[str, Recipe], factors: Mapping[str, Factor], identify: Callable[[Recipe], str]
) -> dict[str, Resolved]:
    """Each cell's recipe with trial ids (`identify` of the recipe referred to) in the place of cells' names.

    Raises Reference where a name is no cell, refers in a circle, or a teacher does not fit its student.
    """
    found: dict[str, Resolved] = {}

    def resolve(name: str, students: tuple[str, ...]) -> Resolved:
        if name in found:
            return found[name]
        recipe = recipes[name]
        data: dict[str, Any] | None = None
        teachers = []
        for path, option, setting in _references(recipe):
            place = (*path, setting)
            teacher = _cell(getattr(option, setting), recipes, factors, name, place)
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

    def __init__(self, cell: str, path: Path, message: str) -> None:
        super().__init__(path, message)
        self.cell = cell


def _references(recipe: Recipe) -> list[tuple[Path, Option, str]]:
    return [(path, option, setting) for path, option in options_in(recipe) for setting in option.trial_references]


def _cell(text: str, recipes: Mapping[str, Recipe], factors: Mapping[str, Factor], student: str, place: Path) -> str:
    try:
        name = cell_name(parse_cell(text, factors), factors)
    except Problem as problem:
        raise Reference(student, place, problem.message) from None
    if name not in recipes:
        message = f"{place[-1]} {text!r} is cell {name!r}, which no design makes{nearest(name, recipes)}"
        raise Reference(student, place, message)
    return name


def _check_fit(student: Recipe, teacher: Recipe, name: str, cell: str, place: Path) -> None:
    ours, theirs = student.dataset.num_classes(), teacher.dataset.num_classes()
    if ours != theirs or (ours is None and student.dataset.identity() != teacher.dataset.identity()):
        has = f"has {theirs} classes" if theirs else "has other classes"
        raise Reference(
            cell, place, f"the teacher {name!r} {has}, expected those of cell {cell!r}: {ours or 'its data'}"
        )
    own, other = _data_name(student), _data_name(teacher)
    if own != other:
        raise Reference(cell, place, f"the teacher {name!r} learns {other}, expected the data of cell {cell!r}, {own}")
    try:
        teacher.architecture.check(student)
    except ValueError as error:
        raise Reference(cell, place, f"the teacher {name!r} can't see the images of cell {cell!r}: {error}") from None
    for setting in ("mean", "std"):
        ours_seen, theirs_seen = (list(getattr(recipe.dataset, setting)) for recipe in (student, teacher))
        if ours_seen != theirs_seen:
            message = f"the teacher {name!r} sees dataset.{setting} {theirs_seen}, cell {cell!r} {ours_seen}"
            raise Reference(cell, place, message + "; expected the same")


def _data_name(recipe: Recipe) -> str:
    """What the images are, whatever their size and split."""
    return str(recipe.dataset.identity().get("name", kind_of(type(recipe.dataset))))


def _put(data: Any, path: Path, value: str) -> None:
    for part in path[:-1]:
        data = data[part]
    data[path[-1]] = value
