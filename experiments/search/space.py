"""The space of a search: what each configuration is made of, as dimensions and as patches of the recipe. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from trainer.errors import nearest

from ..language.factors import Patch
from ..language.yaml_source import YamlPath
from ..questions.named import settings_of
from ..recipe import Recipe
from .words import Sampled

if TYPE_CHECKING:
    from ..study import Study

Value = float | int | str
"""A number, or the label of a choice."""

Point = Mapping[str, Value]
"""A configuration: the value of each dimension that applies to it, by name."""


@dataclass(frozen=True)
class Dimension:
    """One thing that a search varies."""

    name: str
    path: str | None
    """The recipe path; None for a choice of named patches."""

    word: str
    """uniform, loguniform, int or choice."""

    low: float = 0.0
    high: float = 0.0
    """The ends of a range of numbers, both included; whole numbers of `int`."""

    step: int | None = None
    log: bool = False
    patches: Mapping[str, Patch] = field(default_factory=dict)
    """Of a choice: label to patch, in order."""

    places: Mapping[str, YamlPath] = field(default_factory=dict)
    """Of a choice: label to where it stands, below the dimension's own place."""

    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name of another choice to the labels with which this dimension applies."""

    @property
    def place(self) -> YamlPath:
        """Where in the file the dimension's range stands."""
        return ("search", "sample", self.name, self.word)

    @property
    def paths(self) -> list[str]:
        """Every recipe path that the dimension may patch."""
        return [self.path] if self.path else list(dict.fromkeys(p for patch in self.patches.values() for p in patch))

    def applies(self, point: Point) -> bool:
        """Whether a configuration has this dimension, given its values of the dimensions before."""
        return all(point.get(name) in labels for name, labels in self.when.items())

    def patch(self, value: Value) -> Patch:
        """The patch of the recipe that a value stands for."""
        if self.word == "choice":
            return self.patches[str(value)]
        assert self.path is not None, "numbers have a path"
        return {self.path: value}

    def where(self, value: Value) -> dict[str, YamlPath]:
        """The place in the file of each path that the value patches."""
        if self.word != "choice":
            return dict.fromkeys(self.paths, self.place)
        place = (*self.place, *self.places[str(value)])
        return {path: place if self.path else (*place, path) for path in self.patches[str(value)]}

    def holds(self, value: Any) -> bool:
        """Whether the range has this value (of a choice: this label)."""
        if self.word == "choice":
            return value in self.patches
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        if self.word != "int":
            return True
        return value == int(value) and (self.step is None or (value - self.low) % self.step == 0)

    def label_like(self, value: Any) -> str:
        """Of a choice, the label of this value, also where the choice has it written otherwise, such as 1 for 1.0."""
        label = label_of(value)
        if label in self.patches or self.path is None:
            return label
        values = {known: patch.get(self.path) for known, patch in self.patches.items()}
        return next((known for known, its in values.items() if is_same(value, its)), label)

    def samples(self) -> list[Value]:
        """Values with which to try out whether the recipe takes what the range holds."""
        if self.word == "choice":
            return list(self.patches)
        if self.word == "int":
            return [int(self.low), int(self.high)]
        # no whole number: a setting of whole numbers must not pass because the ends are whole
        middle = self.low + (self.high - self.low) / math.e
        return [self.low, self.high, middle]

    def value_of(self, recipe: Recipe) -> Value | None:
        """The recipe's own value of a dimension of numbers; None where it has none that the range holds."""
        found = settings_of(recipe).get(self.path or "")
        if found is None or not self.holds(found):
            return None
        return int(found) if self.word == "int" else float(found)

    def shown(self) -> str:
        """The range in words, for messages and for telling whether it has changed."""
        if self.word == "choice":
            text = f"choice of {', '.join(self.patches)}"
        else:
            text = f"{self.word} {self.low:g} to {self.high:g}"
            text += f" by {self.step}" if self.step else ""
            text += " on a logarithm" if self.log and self.word == "int" else ""
        conditions = [f"{name} is {' or '.join(labels)}" for name, labels in self.when.items()]
        return text + (f", when {' and '.join(conditions)}" if conditions else "")

    def as_data(self) -> dict[str, Any]:
        """Everything that decides what its values mean."""
        return {
            "path": self.path,
            "word": self.word,
            "range": [self.low, self.high, self.step, self.log],
            "patches": {label: dict(patch) for label, patch in self.patches.items()},
            "when": {name: list(labels) for name, labels in self.when.items()},
        }


@dataclass(frozen=True)
class Space:
    """All dimensions of a search, each after those that it depends on."""

    study: Study
    dimensions: tuple[Dimension, ...]

    def recipe(self, point: Point) -> Recipe:
        """The recipe of a configuration. Raises UserError where its values do not fit together."""
        return self.study.recipe_after(self._steps(point))[1]

    def written(self, point: Point) -> Mapping[str, Any]:
        """The same recipe as a study would say it, without defaults that it does not mention."""
        return self.study.recipe_after(self._steps(point))[0]

    def patches(self, point: Point) -> dict[str, Patch]:
        """The patch of each dimension of a configuration, by name."""
        return {d.name: d.patch(point[d.name]) for d in self.dimensions if d.name in point}

    def _steps(self, point: Point) -> list[tuple[Patch, Mapping[str, YamlPath]]]:
        """A patch for each depth of conditions, because a later one may lead into what an earlier one has put there."""
        steps: list[tuple[dict[str, Any], dict[str, YamlPath]]] = []
        for dimension in self.dimensions:
            if dimension.name in point:
                depth = self.depths[dimension.name]
                steps += [({}, {}) for _ in range(depth + 1 - len(steps))]
                steps[depth][0].update(dimension.patch(point[dimension.name]))
                steps[depth][1].update(dimension.where(point[dimension.name]))
        return [(patch, where) for patch, where in steps]

    @cached_property
    def depths(self) -> dict[str, int]:
        """How many conditions deep each dimension lies, 0 for one without any."""
        found: dict[str, int] = {}
        for dimension in self.dimensions:
            found[dimension.name] = max((found[name] + 1 for name in dimension.when), default=0)
        return found

    @cached_property
    def by_name(self) -> dict[str, Dimension]:
        """Name to dimension."""
        return {dimension.name: dimension for dimension in self.dimensions}

    @cached_property
    def baseline(self) -> dict[str, Value]:
        """The recipe itself as a configuration. Raises UserError where the space does not hold it."""
        point: dict[str, Value] = {}
        for dimension in self.dimensions:
            if dimension.applies(point):
                point[dimension.name] = self._own(dimension)
        return point

    def _own(self, dimension: Dimension) -> Value:
        always = "the recipe is always the first configuration, so expected"
        if dimension.word == "choice":
            for label, patch in dimension.patches.items():
                if self.study.recipe_with(patch, dimension.where(label)) == self.study.recipe:
                    return label
            listed = ", ".join(dimension.patches)
            message = f"none of {listed} leaves the recipe as it is; {always} one that does, such as {{}}"
            if dimension.path:
                own = label_of(settings_of(self.study.recipe).get(dimension.path))
                message = f"the recipe's own {own} is not among {listed}; {always} it there"
            raise self.study.error(dimension.place, message)
        found = dimension.value_of(self.study.recipe)
        if found is None:
            its = settings_of(self.study.recipe).get(dimension.path or "")
            message = f"the recipe's own {label_of(its)} is not in {dimension.shown()}; {always} a range that holds it"
            raise self.study.error(dimension.place, message)
        return found

    def start(self, given: Mapping[str, Any], index: int) -> dict[str, Value]:
        """A starting point as a configuration; what it leaves out is as in the recipe. Raises UserError."""
        place: YamlPath = ("search", "start", index)
        for name in given:
            if name not in self.by_name:
                known = ", ".join(self.by_name)
                message = f"{name!r} is not sampled; there are {known}{nearest(name, self.by_name)}"
                raise self.study.error((*place, name), message)
        point: dict[str, Value] = {}
        for dimension in self.dimensions:
            name = dimension.name
            if not dimension.applies(point):
                if name in given:
                    raise self.study.error((*place, name), f"{name!r} does not apply here, only {dimension.shown()}")
                continue
            if name in given:
                point[name] = _given(self.study, dimension, given[name], (*place, name))
            elif name in self.baseline:
                point[name] = self.baseline[name]
            else:
                raise self.study.error(place, f"{name!r} is missing: {dimension.shown()}")
        return point


def _given(study: Study, dimension: Dimension, value: Any, place: YamlPath) -> Value:
    found = dimension.label_like(value) if dimension.word == "choice" else value
    if not dimension.holds(found):
        near = nearest(str(found), dimension.patches)
        got = label_of(value) if dimension.word == "choice" else json.dumps(value)
        raise study.error(place, f"got {got}, expected {dimension.shown()}{near}")
    if dimension.word == "choice":
        return str(found)
    return int(found) if dimension.word == "int" else float(found)


def is_same(one: Any, other: Any) -> bool:
    """Whether two values of a choice are one, however they are written; true is no 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def label_of(value: Any) -> str:
    """A choice's value as text: words as they are, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def in_order(given: Mapping[str, Sampled], conditions: Mapping[str, Sequence[str]]) -> list[str]:
    """The names, each after those that its conditions are on; names in a circle are left out."""
    found: list[str] = []
    while more := [n for n in given if n not in found and all(other in found for other in conditions[n])]:
        found += more
    return found
