"""The JSON Schema of a study file, options of plugins that are loaded included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from .. import catalog
from ..options import Option
from ..recipe import Recipe
from .shapes import Outline

_REF = "#/$defs/{model}"


def study_schema() -> dict[str, Any]:
    """The schema, draft 2020-12: the recipe is spelled out with every option's settings; patches may hold anything."""
    models: list[type[Any]] = [Outline, Recipe]
    for point in catalog.EXTENSION_POINTS:
        models += catalog.options(point).values()
    refs, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    # by class, because two options may have classes of the same name
    at: dict[type[Any], str] = {model: str(ref["$ref"]) for (model, _), ref in refs.items()}
    defs: dict[str, Any] = definitions["$defs"]
    for point in catalog.EXTENSION_POINTS:
        keyed = catalog.EXTENSION_POINTS[point].keyed
        for kind, option in catalog.options(point).items():
            _require_kind(defs[at[option].rpartition("/")[2]], kind, option, keyed=keyed)
    for schema in defs.values():
        for name, setting in schema.get("properties", {}).items():
            if "x-options" in setting:
                schema["properties"][name] = _options(setting, at)
    outline: dict[str, Any] = defs.pop("Outline")
    outline["properties"]["recipe"] = {"$ref": _REF.format(model="Recipe")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A study of ablate",
        **{key: value for key, value in outline.items() if key != "title"},
        "$defs": defs,
    }


def _options(setting: dict[str, Any], at: Mapping[type[Any], str]) -> dict[str, Any]:
    """The schema of a setting that is an option, or a mapping from kind to settings. at: references of the options'."""
    point = setting.pop("x-options")
    refs = {kind: {"$ref": at[option]} for kind, option in catalog.options(point).items()}
    if catalog.EXTENSION_POINTS[point].keyed:
        return {**setting, "type": "object", "properties": refs, "additionalProperties": False}
    return {**setting, "anyOf": list(refs.values())}


def _require_kind(schema: dict[str, Any], kind: str, option: type[Option], *, keyed: bool) -> None:
    """Drop `kind` where it is the key (keyed); elsewhere require it, but not what a preset of the option supplies."""
    if keyed:
        schema["properties"].pop("kind")
        return
    preset = {name for settings in option.presets.values() for name in settings}
    schema["properties"]["kind"] = {"enum": [kind, *option.presets]}
    schema["required"] = [
        "kind",
        *(name for name in schema.get("required", []) if name != "kind" and name not in preset),
    ]
