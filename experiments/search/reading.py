"""Reads a study's search space, and says of every mistake in it where it is and what was expected."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from trainer.errors import nearest

from ..catalog import known_metrics
from ..language.factors import Patch, check_name, conflicts, refuse_overlap, unknown_path
from ..language.references import references_in
from ..language.validation import Problem, placed, shown
from ..language.yaml_source import YamlPath
from ..recipe import FIELDS, Recipe
from .space import Dimension, Point, Space, Value, in_order, is_same, label_of
from .words import COLUMNS, COSTS, RANGES, Sampled

if TYPE_CHECKING:
    from ..study import Study


def read_space(study: Study, sample: Mapping[str, Sampled]) -> Space:
    """The space that a search section samples; raises UserError for what does not make sense, alone or together."""
    with placed(study.error, "search", "sample"):
        found = {name: _dimension(name, given) for name, given in sample.items()}
        found = {name: _with_nothing(study, _with_conditions(found, name, sample[name])) for name in found}
        order = in_order(sample, {name: list(dimension.when) for name, dimension in found.items()})
        if circle := [name for name in found if name not in order]:
            raise Problem((circle[0], "when"), f"a circle of conditions: {', '.join(circle)}; expected none")
    space = Space(study, tuple(found[name] for name in order))
    _refuse_impossible(space)
    _refuse_overlaps(space)
    _refuse_factors(space)
    _try_out(space)
    return space


def _dimension(name: str, given: Sampled) -> Dimension:
    words = [word for word in RANGES if getattr(given, word) is not None]
    if len(words) != 1:
        got = " and ".join(words) or "none"
        raise Problem((name,), f"got {got} of {', '.join(RANGES)}, expected one of them")
    (word,) = words
    for setting in ("step", "log"):
        if getattr(given, setting) and word != "int":
            hint = "; a number on a logarithm is loguniform" if setting == "log" else ""
            raise Problem((name, setting), f"'{setting}' belongs to int, got it with {word}{hint}")
    if word == "choice":
        return _choice(name, given)
    path = _path(name, given)
    ends = getattr(given, word)
    _check_ends((name, word), word, ends, given)
    log = given.log or word == "loguniform"
    return Dimension(name, path, word, ends[0], ends[1], given.step, log)


_MOST = 10**12
"""The largest whole number of a range, either way: samplers compute in floating point, and in steps of the range."""

_FAR = 1e100
"""The largest number of a range, either way; of a logarithm, its inverse is the smallest: what samplers and figures
make of wider ranges overflows."""


def _path(name: str, given: Sampled) -> str:
    path = given.path or name
    if path.split(".")[0] not in FIELDS:
        raise Problem((name, "path") if given.path else (name,), unknown_path(path))
    if given.path:
        _check_own_name(name)
    return path


def _check_own_name(name: str) -> None:
    check_name(name, (name,))
    objectives = (*COSTS, *known_metrics())
    again = {f"fresh_{objective}{end}" for objective in objectives for end in ("", "_sd")}
    if name in COLUMNS or name in objectives or name in again:
        raise Problem((name,), f"{name!r} is a column of the report's table of configurations; expected another name")


def _check_ends(place: YamlPath, word: str, ends: tuple[float, ...], given: Sampled) -> None:
    low, high = ends
    if low > high:
        raise Problem(place, f"got {shown(ends)}, expected the lower end first: [{high:g}, {low:g}]")
    if low == high:
        raise Problem(place, f"got {shown(ends)}, expected two different ends; one value belongs to the recipe")
    if word == "int" and max(abs(low), abs(high)) > _MOST:
        raise Problem(place, f"got {shown(ends)}, expected whole numbers of at most {_MOST:,} either way")
    if max(abs(low), abs(high)) > _FAR:
        raise Problem(place, f"got {shown(ends)}, expected numbers of at most {_FAR:g} either way")
    if (word == "loguniform" or given.log) and low <= 0:
        raise Problem(place, f"got {shown(ends)}, expected a lower end above 0: {low:g} has no logarithm")
    if word == "loguniform" and low < 1 / _FAR:
        raise Problem(place, f"got {shown(ends)}, expected a lower end of at least {1 / _FAR:g}")
    if given.step and given.log:
        raise Problem((place[0], "step"), "got a step and a logarithm, expected one of them")
    if given.step and (high - low) % given.step:
        reached = int(high - (high - low) % given.step)
        message = (
            f"steps of {given.step} from {low:g} reach {reached}, not {high:g}; expected an upper end that they reach"
        )
        raise Problem((place[0], "step"), message)


def _choice(name: str, given: Sampled) -> Dimension:
    options = given.choice
    assert options is not None, "it is this word"
    if len(options) < 2:
        raise Problem((name, "choice"), f"got {shown(options)}, expected at least two to choose from")
    if isinstance(options, dict):
        if given.path or name.split(".")[0] in FIELDS:
            message = "named patches stand under a name that is no path; expected such a name, or a list of values"
            raise Problem((name, "choice"), message)
        _check_own_name(name)
        for label, patch in options.items():
            _check_patch(label, patch, (name, "choice", label))
        return Dimension(name, None, "choice", patches=options, places={label: (label,) for label in options})
    path = _path(name, given)
    patches: dict[str, Patch] = {}
    places: dict[str, YamlPath] = {}
    for index, value in enumerate(options):
        label = label_of(value)
        if (known := _like(value, [patch[path] for patch in patches.values()])) is not None:
            raise Problem((name, "choice", index), known)
        patches[label], places[label] = {path: value}, (index,)
    return Dimension(name, path, "choice", patches=patches, places=places)


def _like(value: Any, others: list[Any]) -> str | None:
    """What is wrong with a value of a choice, beside those before it: it is one of them, or reads like one."""
    for other in others:
        if is_same(value, other):
            return f"the value {label_of(value)} stands twice"
        if label_of(value) == label_of(other):
            got = f"got {json.dumps(other)} and {json.dumps(value)}"
            return f"{got}, which read alike in a choice; expected one of them, or named patches"
    return None


def _check_patch(label: str, patch: Any, place: YamlPath) -> None:
    check_name(label, place)
    if not isinstance(patch, dict):
        raise Problem(place, f"got {shown(patch)}, expected a patch: a mapping from recipe path to value")
    for key in patch:
        if key.split(".")[0] not in FIELDS:
            raise Problem((*place, key), unknown_path(key))
    refuse_overlap(patch, place)


def _with_conditions(found: Mapping[str, Dimension], name: str, given: Sampled) -> Dimension:
    when = {}
    for other, values in given.when.items():
        place: YamlPath = (name, "when", other)
        if other not in found or other == name:
            known = [n for n in found if n != name and found[n].word == "choice"]
            listed = ", ".join(known) or "none"
            raise Problem(place, f"no other choice is called {other!r}; there are {listed}{nearest(other, known)}")
        if found[other].word != "choice":
            raise Problem(place, f"{other!r} is {found[other].shown()}; expected a condition on a choice")
        # a list may itself be what the choice has
        one = not isinstance(values, list) or found[other].label_like(values) in found[other].patches
        labels = tuple(map(found[other].label_like, [values] if one else values))
        if not labels:
            raise Problem(place, f"got an empty list, expected one of {', '.join(found[other].patches)}, or several")
        for label in labels:
            if label not in found[other].patches:
                near = nearest(label, found[other].patches)
                raise Problem(place, f"got {label}, expected one of {', '.join(found[other].patches)}{near}")
        when[other] = labels
    return replace(found[name], when=when)


def _with_nothing(study: Study, dimension: Dimension) -> Dimension:
    """Where the recipe has nothing at the path of a choice, such as a refinement, null leaves it so."""
    path = dimension.path
    if path is None or dimension.when or dimension.patches.get("null") != {path: None}:
        return dimension
    *parents, last = path.split(".")
    known: Any = study.recipe.as_data()
    for part in parents:
        known = known.get(part) if isinstance(known, Mapping) else None
    is_there = not isinstance(known, Mapping) or last in known
    return dimension if is_there else replace(dimension, patches={**dimension.patches, "null": {}})


def _refuse_overlaps(space: Space) -> None:
    """Raise UserError for dimensions that patch one place, unless one depends on the other or they never meet."""
    conditions = {d.name: _conditions(space, d) for d in space.dimensions}
    for one, other in combinations(space.dimensions, 2):
        mine, its = conditions[one.name], conditions[other.name]
        apart = any(not set(mine[name]) & set(its[name]) for name in mine.keys() & its.keys())
        if one.name in its or other.name in mine or apart:
            continue
        for first, path, second, rival in conflicts([(d.name, dict.fromkeys(d.paths)) for d in (one, other)]):
            raise space.study.error(
                ("search", "sample", second),
                f"{second!r} patches {rival!r} and {first!r} patches {path!r}; which of them holds would depend on "
                f"their order, so expected `when`, so that one applies under the other or they never meet",
            )


def _conditions(space: Space, dimension: Dimension) -> dict[str, tuple[str, ...]]:
    """A dimension's own conditions and, deeper, those of the choices that they are on: choice to allowed labels."""
    found = dict(dimension.when)
    for name in dimension.when:
        for other, labels in _conditions(space, space.by_name[name]).items():
            found[other] = tuple(label for label in found.get(other, labels) if label in labels)
    return found


def _refuse_impossible(space: Space) -> None:
    """Raise UserError for a dimension that could never be sampled."""
    for dimension in space.dimensions:
        for name, labels in _conditions(space, dimension).items():
            if not labels:
                message = f"this never holds: of its conditions, two want another {name!r}; expected one that may hold"
                raise space.study.error(("search", "sample", dimension.name, "when"), message)


def _refuse_factors(space: Space) -> None:
    for dimension in space.dimensions:
        sampled = (dimension.name, dict.fromkeys(dimension.paths))
        for factor in space.study.factors.values():
            for option, patch in factor.options.items():
                for _, path, _, rival in conflicts([sampled, (option, patch)]):
                    what = f"factor {factor.name!r}" + ("" if factor.switch else f" (option {option!r})")
                    raise space.study.error(
                        ("search", "sample", dimension.name),
                        f"{path!r} is sampled, and {what} patches {rival!r}; expected it in one of them "
                        f"(`ablate search --emit FILE` writes what a search finds as the factors of a study)",
                    )


def _try_out(space: Space) -> None:
    """Raise UserError unless every end and option makes a valid recipe, under the conditions where it applies."""
    _refuse_teacher(space, space.study.recipe, ("recipe",))
    for dimension in space.dimensions:
        context = _context(space, dimension)
        for value in dimension.samples():
            recipe = space.recipe({**context, dimension.name: value})
            _refuse_teacher(space, recipe, dimension.place)
    for point in _pairs(space):
        space.recipe(point)


def _refuse_teacher(space: Space, recipe: Recipe, place: YamlPath) -> None:
    for path, _, setting in references_in(recipe):
        where = ".".join(map(str, (*path, setting)))
        message = f"{where} names a cell, and a search has no cells; expected a recipe without a teacher"
        raise space.study.error(place, message)


def _context(space: Space, dimension: Dimension) -> dict[str, Value]:
    """Choices under which a dimension applies: each that it depends on, with the first option that all allow."""
    return {name: labels[0] for name, labels in _conditions(space, dimension).items()}


def _pairs(space: Space) -> Iterator[Point]:
    """Each dimension under each further label of its conditions, beyond the first, which `_context` takes."""
    for dimension in space.dimensions:
        allowed = _conditions(space, dimension)
        for name in dimension.when:
            for label in allowed[name][1:]:
                yield {**_context(space, dimension), name: label, dimension.name: dimension.samples()[0]}
