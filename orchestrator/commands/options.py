"""`ablate options`: the options that a recipe may be made of."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import indent
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

import click
from pydantic_core import PydanticUndefined
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments import catalog
from experiments.options import Option
from trainer.errors import UserError, one_of
from trainer.settings import Settings, about


def show(kind: str | None, plugins: Sequence[Path], as_json: bool) -> None:
    """Print a line for each option, or those of one kind with their settings; as JSON, all with their settings.

    kind: also an extension point, such as `schedules`, for all that it has. plugins: files with more options.
    """
    for plugin in plugins:
        catalog.add_plugin(plugin)
    if as_json:
        click.echo(json.dumps({point: _point_json(point) for point in catalog.EXTENSION_POINTS}, indent=1))
        return
    console = Console(soft_wrap=True)
    if kind is None:
        _print_all(console)
        return
    found = [
        (p, name, o)
        for p in catalog.EXTENSION_POINTS
        for name, o in catalog.options(p).items()
        if kind in (name, p, catalog.singular(p), *o.presets)
    ]
    if not found:
        known = [name for point in catalog.EXTENSION_POINTS for name in (point, *catalog.kinds(point))]
        raise UserError(
            f"options: no kind is called {kind!r} here, nor in a plugin named by --plugin{one_of(kind, known)}"
        )
    for _, name, option in found:
        if about_file := _about(option):
            console.print(f"{about_file}\n", markup=False, highlight=False)
        _print_option(name, option, console)


def _print_all(console: Console) -> None:
    table = Table.grid(padding=(0, 2))
    for point in catalog.EXTENSION_POINTS:
        table.add_row(f"[bold]{point}[/bold]")
        for name, option in catalog.options(point).items():
            sentence, *_ = re.split(r"(?<=[^.]\.)\s", " ".join((option.__doc__ or "").split()))
            table.add_row(f"  [bold cyan]{name}[/bold cyan]", escape(sentence))
        table.add_row()
    console.print(table, highlight=False)
    console.print("`ablate options KIND` explains one with its settings; `ablate options schedules`, all schedules")


def _print_option(name: str, option: type[Option], console: Console) -> None:
    text = indent(escape(inspect.cleandoc(option.__doc__ or "")), "    ").lstrip()
    console.print(f"  [bold cyan]{name}[/bold cyan]  {text}", highlight=False)
    if option.presets:
        console.print(f"    presets: {', '.join(option.presets)}", highlight=False, style="dim")
    table = Table.grid(padding=(0, 2))
    for setting, field in option.model_fields.items():
        if setting != "kind":
            default = "required" if field.is_required() else f"= {_default(option, setting)}"
            choices = _choices(field.annotation)
            said = f"\n\nOne of {', '.join(choices)}." if choices else ""
            table.add_row(f"    {setting}", default, _flowing(about(option, setting) + said))
    console.print(table, highlight=False, markup=False)


def _choices(annotation: Any) -> list[str]:
    """The values of a setting that has a few, as a study would write them; empty for any other."""
    if get_origin(annotation) is Literal:
        return [json.dumps(value) if not isinstance(value, str) else value for value in get_args(annotation)]
    if annotation is NoneType:
        return ["null"]
    parts = list(map(_choices, get_args(annotation))) if isinstance(annotation, UnionType) else []
    return [value for part in parts for value in part] if all(parts) else []


def _flowing(text: str) -> str:
    """Text without the line breaks of its source, which a column of another width would have beside its own."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _default(option: type[Option], setting: str) -> str:
    value = option.model_fields[setting].get_default(call_default_factory=True)
    return "null" if value is None else json.dumps(_plain(value))


def _plain(value: object) -> Any:
    """A default as a study would write it; for an option, its kind and the settings that differ from their defaults."""
    if isinstance(value, Settings):
        return value.identity() if isinstance(value, Option) else value.model_dump(mode="json")
    return json.loads(json.dumps(value, default=str))


def _about(option: type[Option]) -> str:
    module = inspect.getmodule(option)
    return inspect.cleandoc(module.__doc__ or "") if module else ""


def _point_json(point: str) -> dict[str, object]:
    return {name: _option_json(option) for name, option in catalog.options(point).items()}


def _option_json(option: type[Option]) -> dict[str, object]:
    settings = {}
    for name, field in option.model_fields.items():
        if name != "kind":
            default = field.get_default(call_default_factory=True)
            entry: dict[str, object] = {"required": field.is_required(), "about": about(option, name)}
            if default is not PydanticUndefined:
                entry["default"] = _plain(default)
            settings[name] = entry
    return {
        "about": inspect.cleandoc(option.__doc__ or ""),
        "presets": list(option.presets),
        "settings": settings,
    }
