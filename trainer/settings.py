"""Settings: frozen, typed values with a canonical form, of which recipes and identities are made."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import textwrap
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from .errors import UserError


class _NotIdentity:
    """Marks a setting that cannot change a result (a path, a device): it stays out of the trial's identity."""


NOT_IDENTITY = _NotIdentity()
MachinePath = Annotated[Path, NOT_IDENTITY]


class Settings(BaseModel):
    """Frozen, keyword-only settings that refuse what they don't know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = handler(schema)
        for name, setting in handler.resolve_ref_schema(found).get("properties", {}).items():
            if text := about(cls, name):
                setting.setdefault("description", text)
        return found

    def identity(self) -> dict[str, Any]:
        """What these settings contribute to a trial's identity, as plain data.

        A setting at its default is left out, so that a new setting leaves every recorded identity as it was; a default
        that changes its meaning raises `trainer.SEMANTICS` instead.
        """
        found: dict[str, Any] = {}
        for name, default in _decisive(type(self)):
            value = getattr(self, name)
            # False is not 0 where a setting may be either
            if value != default or isinstance(value, bool) != isinstance(default, bool):
                found[name] = _plain(value)
        return found


def about(kind: type[BaseModel], setting: str) -> str:
    """The text below a setting in the source, its description; empty where there is none."""
    return _texts(kind).get(setting, "")


@cache
def _texts(kind: type[BaseModel]) -> dict[str, str]:
    # not by pydantic, which would read the sources of all settings on every import: a third of a worker's start
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if issubclass(owner, Settings):
            (node,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
            for this, below in pairwise(cast(ast.ClassDef, node).body):
                match this, below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        found[name] = inspect.cleandoc(text)
    return found


_REQUIRED = object()
"""In the place of the default of a setting that has none, and of `kind`, which is always written."""


@cache
def _decisive(kind: type[Settings]) -> tuple[tuple[str, Any], ...]:
    """The settings that an identity may hold, with their defaults; cached, because pydantic copies these each time."""
    return tuple(
        (
            name,
            _REQUIRED if name == "kind" or field.is_required() else field.get_default(call_default_factory=True),
        )
        for name, field in kind.model_fields.items()
        if NOT_IDENTITY not in field.metadata
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.identity()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in sorted(value.items())}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    # a Path may stay, because an option may put the file's content in its place; `canonical` refuses one that is left
    if value is None or isinstance(value, bool | int | float | str | Path):
        return value
    return _refuse(value)


def _refuse(value: object) -> NoReturn:
    """Raise UserError for a setting that a trial can't be identified by."""
    raise UserError(
        f"a setting is {type(value).__name__} {str(value)[:40]!r}, which no identity can hold; expected numbers, text, "
        f"lists, mappings or a class derived from Settings, for a path of one machine MachinePath"
    )


def canonical(value: object) -> str:
    """A JSON-like value as text, in the one form that digests are taken of; raises UserError for any other."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_refuse)


def digest(value: object, length: int = 12) -> str:
    """Short hex digest of a JSON-like value."""
    return digest_of(canonical(value), length)


def digest_of(text: str, length: int = 12) -> str:
    """Short hex digest of a value in canonical form."""
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()[:length]
