"""Factors: named ways in which trials differ, and the patches that make it so."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from trainer.errors import nearest

from .. import catalog
from ..recipe import FIELDS, Recipe
from .validation import Problem, shown
from .yaml_source import YamlPath

Patch = Mapping[str, Any]
"""Dotted recipe path to value; None removes."""

OFF, ON = "off", "on"
BASELINE = "baseline"
"""The cell in which nothing is on."""

_LONGEST = 100
"""Letters of a name, at most; the record takes keys of 250."""


@dataclass(frozen=True)
class Factor:
    """A named choice: its options as patches on the baseline recipe, the first of them the default."""

    name: str
    options: dict[str, Patch]
    switch: bool
    """Whether the options are just off and on."""

    @property
    def default(self) -> str:
        """The option of cells that don't mention this factor."""
        return next(iter(self.options))

    def label(self, option: str) -> str:
        """What the option adds to a cell's name: nothing for a switch that is off."""
        if self.switch:
            return self.name if option == ON else ""
        return option

    def origin(self, option: str, path: str) -> YamlPath:
        """Where in the study file the patch of `option` at dotted `path` stands."""
        return ("factors", self.name, path) if self.switch else ("factors", self.name, option, path)


def parse_factors(data: Mapping[str, Mapping[str, Any]]) -> dict[str, Factor]:
    """All factors of a study; raises Problem with a path below `factors`."""
    factors = {name: _parse_factor(name, value) for name, value in data.items()}
    taken: dict[str, str] = {}
    for factor in factors.values():
        for label in [factor.name] if factor.switch else factor.options:
            check_name(label, (factor.name,) if factor.switch else (factor.name, label))
            if label in taken:
                raise Problem(
                    (factor.name,),
                    f"the name {label!r} is taken by factor {taken[label]!r}; cells are named after options, "
                    f"so expected one that is used once",
                )
            taken[label] = factor.name
    return factors


def _parse_factor(name: str, value: Mapping[str, Any]) -> Factor:
    check_name(name, (name,))
    paths = [key for key in value if _looks_like_path(key)]
    if paths and len(paths) == len(value):
        refuse_overlap(value, (name,))
        return Factor(name, {OFF: {}, ON: dict(value)}, switch=True)
    if set(value) == {OFF, ON} and value[OFF] == {} and isinstance(value[ON], Mapping):
        return _parse_factor(name, value[ON])
    if paths:
        other = next(key for key in value if key not in paths)
        raise Problem(
            (name, other),
            f"{other!r} is no path into the recipe (they start with {', '.join(FIELDS)}){nearest(other, FIELDS)}; "
            f"a factor holds either one patch or named options",
        )
    if len(value) < 2:
        only = next(iter(value), "")
        raise Problem(
            (name, only) if only else (name,),
            f"a factor needs two options or a patch (paths start with {', '.join(FIELDS)}){near_path(only, FIELDS)}",
        )
    options: dict[str, Patch] = {}
    for option, patch in value.items():
        if not isinstance(patch, Mapping):
            raise Problem((name, option), f"got {shown(patch)}, expected a patch: a mapping from recipe path to value")
        for key in patch:
            if not _looks_like_path(key):
                raise Problem((name, option, key), unknown_path(key))
        refuse_overlap(patch, (name, option))
        options[option] = dict(patch)
    return Factor(name, options, switch=False)


def _looks_like_path(key: str) -> bool:
    return key.split(".")[0] in FIELDS or re.fullmatch(r"[A-Za-z_]+\.\S+", key) is not None


def refuse_overlap(patch: Patch, where: YamlPath) -> None:
    """Raise Problem, below `where`, for a patch with two paths of which one leads into the other."""
    for path, rival in _overlaps(patch, patch):
        if path < rival:
            raise Problem((*where, rival), f"the patch sets {path!r} as well, which overlaps; expected one of them")


def _overlaps(patch: Patch, other: Patch) -> Iterator[tuple[str, str]]:
    """Pairs of paths, one of each patch, that are equal or of which one leads into the other."""
    for path in patch:
        for rival in other:
            shorter, longer = sorted((path.split("."), rival.split(".")), key=len)
            if longer[: len(shorter)] == shorter:
                yield path, rival


def unknown_path(key: str) -> str:
    """The message for a path that begins with no word of the recipe."""
    return f"the recipe has no path {key!r}; expected one that starts with {', '.join(FIELDS)}{near_path(key, FIELDS)}"


def near_path(key: str, known: Sequence[str]) -> str:
    """What was meant by a path that begins with none of the known words: the nearest, or that of a setting."""
    first, _, rest = key.partition(".")
    if first == "recipe" and rest.split(".")[0] in FIELDS:
        return f"; did you mean {rest!r}?"
    return nearest(first, known) or _setting_called(key)


def _setting_called(name: str) -> str:
    """A hint at the path of a setting that is known by this name; empty where there is none."""
    name = {"learning_rate": "lr"}.get(name, name)
    for kinds, point in catalog.EXTENSION_POINTS.items():
        if not point.keyed and any(name in option.model_fields for option in catalog.options(kinds).values()):
            return f"; did you mean '{point.place}.{name}'?"
    return ""


def check_name(name: str, path: YamlPath) -> None:
    """Raise Problem at `path` for a name that cells' names can't hold."""
    if name == BASELINE:
        raise Problem(path, f"the name {name!r} is that of the cell in which everything is at its first option")
    if not name:
        raise Problem(path, "got an empty name, by which nothing can be called")
    if len(name) > _LONGEST:
        raise Problem(
            path, f"got a name of {len(name)} letters, expected at most {_LONGEST}; `labels` say it at length"
        )
    if hidden := next((letter for letter in name if not letter.isprintable()), ""):
        raise Problem(path, f"got the name {name!r}, expected one without {hidden!r}, which can't be seen")
    if name != name.strip() or any(c in "+.=," for c in name):
        message = f"got the name {name!r}, expected one without '+', '.', ',' and '=', which cells' names use"
        raise Problem(path, f"{message}, and without blanks at its ends")
    if word := re.search(r" (and|or|not|[<>]) ", name):
        raise Problem(path, f"got the name {name!r}, expected one without {word[0]!r}, which claims use")


class BadPath(Problem):
    """A patch to a path that the recipe does not have; `path` holds only the dotted path."""


def patch_data(base: Mapping[str, Any], resolved: Recipe, patches: Patch) -> dict[str, Any]:
    """The recipe `base` (as the file says it) with patches applied, as plain data.

    `resolved` is the same recipe with its defaults, because a path may lead through a default. Raises BadPath for a
    path that leads nowhere; a wrong last name is left to `parse_recipe`, which knows the settings.
    """
    data = copy.deepcopy(dict(base))
    known = resolved.as_data()
    for path, value in patches.items():
        _apply(data, known, path, value)
    return data


def _apply(data: dict[str, Any], known: Any, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    if (parents or [last])[0] not in FIELDS:
        raise BadPath((path,), unknown_path(path))
    for depth, part in enumerate(parents):
        if not isinstance(known.get(part), dict):
            so_far = ".".join(parents[: depth + 1])
            if isinstance(known.get(part), list | tuple):
                raise BadPath((path,), f"{so_far!r} is a list, which is patched as a whole: expected `{so_far}: [...]`")
            here = ", ".join(known) or "nothing"
            setting = ".".join([*parents[depth + 1 :], last])
            remedy = nearest(part, known) or _switched_on(parents[:depth], part, setting)
            raise BadPath((path,), f"the baseline recipe has no {so_far!r} to patch; there is {here}{remedy}")
        known = known[part]
        if not isinstance(data.get(part), dict):
            data[part] = {"kind": known["kind"]} if "kind" in known else {}
        data = data[part]
    if value is not None:
        data[last] = copy.deepcopy(value)
    elif last in known:
        data.pop(last, None)
    else:
        # a name with nothing behind it is null
        empty = "; expected {} to have it with its defaults" if parents == ["refinements"] else ""
        remedy = nearest(last, known) or empty
        raise BadPath((path,), f"the baseline recipe has no {path!r} to remove{remedy}")


def _switched_on(parents: Sequence[str], kind: str, setting: str) -> str:
    """How a patch has an option that the recipe has not, with a setting of it; empty for what is no option."""
    place = ".".join(parents)
    point = next((name for name, at in catalog.EXTENSION_POINTS.items() if at.keyed and at.place == place), None)
    if point is None or kind not in catalog.options(point) or "." in setting:
        return ""
    return f"; expected `{place}.{kind}: {{{setting}: ...}}` to have it"


def conflicts(chosen: Iterable[tuple[str, Patch]]) -> Iterator[tuple[str, str, str, str]]:
    """Pairs of choices whose order would decide, as they patch the same place: (one, its path, other, its path)."""
    for (one, patch), (other, second) in combinations(chosen, 2):
        for path, rival in _overlaps(patch, second):
            yield one, path, other, rival
