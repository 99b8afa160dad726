"""What differs between the resolved recipes of two cells, and whether the patches that make the cells name it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import catalog
from ..language.factors import Factor, Patch

if TYPE_CHECKING:
    from ..plan import Cell

_ABSENT = object()
_BLOCKS = catalog.EXTENSION_POINTS["blocks"].place

_COMMON = ("loss", "optimizer", "architecture.head")
"""Where a recipe keeps settings that a refinement should not have a second time."""


@dataclass(frozen=True)
class SettingChange:
    """A setting, or a whole option, in which two recipes differ."""

    path: str
    before: Any
    after: Any
    named: bool
    """Whether the patch of one of the two options names the setting; others are reset or come along."""

    size: int = 1
    """How many changes it counts as: one block in the place of another is one, two in its place are two."""

    def __str__(self) -> str:
        if self.before is _ABSENT or self.after is _ABSENT:
            return f"{self.path} ({'added' if self.before is _ABSENT else 'removed'})"
        if isinstance(self.before, dict | list) or isinstance(self.after, dict | list):
            return self.path
        return f"{self.path} ({_shown(self.before)} → {_shown(self.after)})"


def changes_between(one: Cell, two: Cell, factor: Factor) -> tuple[SettingChange, ...]:
    """Everything in which the recipes of two cells differ, whose choices differ in `factor` alone."""
    patches = [factor.options[cell.choice[factor.name]] for cell in (one, two)]
    before, after = one.recipe.as_data(), two.recipe.as_data()
    preset = frozenset(path for patch in patches for path in _of_preset(patch))
    named = preset | {path for patch in patches for path in _named(patch)}
    if before["architecture"]["kind"] != after["architecture"]["kind"]:
        # a change of its own, because weights of two families may come from other images
        preset -= {"architecture.weights"}
    found = [*_compare(before, after, "", named)]
    found += _smuggled(found, before, named)
    if (scaled := _scaled_rate(before, after)) and not any(change.path == "optimizer.lr" for change in found):
        found.append(scaled)
    return tuple(_collapsed(found, preset))


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[SettingChange]:
    """Every setting, or whole option, in which two recipes as plain data differ."""
    return list(_compare(before, after, "", frozenset()))


def _named(patch: Patch) -> Iterator[str]:
    """Every path that a patch names, those inside its values included."""
    for path, value in patch.items():
        yield path
        yield from (f"{path}.{below}" for below in _paths(value))


def _of_preset(patch: Patch) -> Iterator[str]:
    """The paths that a patch names by naming a preset of an architecture: its settings, its kind, fitting weights."""
    whole = patch.get("architecture", {})
    kind = patch.get("architecture.kind", whole.get("kind") if isinstance(whole, dict) else None)
    presets = [option.presets for option in catalog.options("architectures").values() if kind in option.presets]
    if presets:
        yield from (f"architecture.{setting}" for setting in (*presets[0][str(kind)], "weights", "kind"))


def _paths(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from (f"{key}.{below}" for below in _paths(item))


def _compare(before: Any, after: Any, path: str, named: frozenset[str]) -> Iterator[SettingChange]:
    if before == after:
        return
    if not isinstance(before, dict) or not isinstance(after, dict):
        yield SettingChange(path, before, after, _is_named(path, before, after, named))
        return
    other_kind = before.get("kind") != after.get("kind")
    for key in sorted(dict.fromkeys([*before, *after]), key=lambda key: key != "kind"):
        if other_kind and (key not in before or key not in after):
            # a setting that only one of two kinds has comes with the kind
            continue
        below = f"{path}.{key}" if path else key
        yield from _compare(before.get(key, _ABSENT), after.get(key, _ABSENT), below, named)


def _is_named(path: str, before: Any, after: Any, named: frozenset[str]) -> bool:
    if path in named:
        return True
    parent = path.rpartition(".")[0]
    # a patch that replaces a mapping of options names, by leaving an option out, that it removes it
    whole = before is _ABSENT or after is _ABSENT
    return whole and parent in catalog.KEYED_PLACES and parent in named


def _smuggled(found: list[SettingChange], before: Mapping[str, Any], named: frozenset[str]) -> Iterator[SettingChange]:
    """Settings that an added or removed refinement has by default, where the recipe has another value elsewhere."""
    common = {key: value for place in _COMMON for key, value in _at(before, place).items() if key != "kind"}
    for change in found:
        option = next((value for value in (change.before, change.after) if isinstance(value, dict)), None)
        if option is None or not change.path.startswith("refinements."):
            continue
        for key, value in option.items():
            if key in common and value != common[key] and value is not None and f"{change.path}.{key}" not in named:
                yield SettingChange(f"{change.path}.{key}", common[key], value, named=False)


def _scaled_rate(before: Mapping[str, Any], after: Mapping[str, Any]) -> SettingChange | None:
    """The change of the learning rate that linear scaling makes of another batch size; None where there is none."""
    scalings = [data["refinements"].get("linear_scaling") for data in (before, after)]
    if None in scalings or before["batch_size"] == after["batch_size"]:
        return None
    one, two = (
        data["optimizer"]["lr"] * data["batch_size"] / data["refinements"]["linear_scaling"]["reference"]
        for data in (before, after)
    )
    return SettingChange("the learning rate, by linear_scaling", one, two, named=False)


def _collapsed(found: Iterable[SettingChange], preset: frozenset[str]) -> Iterator[SettingChange]:
    """The changes, those of one refinement, block or preset as one, and so blocks that take each other's place."""
    groups: dict[tuple[str, bool], list[SettingChange]] = {}
    for change in found:
        unit = "architecture.kind" if change.path in preset else _unit(change)
        groups.setdefault((unit, change.named), []).append(change)
    for (unit, named), changes in groups.items():
        if len(changes) == 1:
            yield changes[0]
        elif unit in catalog.KEYED_PLACES:
            gone = [c.path.rpartition(".")[2] for c in changes if c.after is _ABSENT]
            new = [c.path.rpartition(".")[2] for c in changes if c.before is _ABSENT]
            before, after = (", ".join(blocks) or "none" for blocks in (gone, new))
            yield SettingChange(unit, before, after, named, max(len(gone), len(new)))
        else:
            yield SettingChange(unit, {}, {}, named)


def _unit(change: SettingChange) -> str:
    parts = change.path.split(".")
    for place in catalog.KEYED_PLACES:
        depth = len(place.split("."))
        if change.path.startswith(f"{place}.") and change.named:
            whole = len(parts) == depth + 1 and _ABSENT in (change.before, change.after)
            # refinements add up, and are a unit each; blocks share a place, and all are one unit
            return place if whole and place == _BLOCKS else ".".join(parts[: depth + 1])
    return change.path


def _at(data: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    found: Any = data
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
