"""Plain data to typed settings, with errors that teach: where, got, expected, nearest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError

from trainer.errors import UserError, nearest
from trainer.settings import about

from .wording import count

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from .yaml_source import YamlPath

Model = TypeVar("Model", bound=BaseModel)


class Problem(ValueError):
    """Data that don't parse: `path` inside them and what is wrong there, in one line."""

    def __init__(self, path: YamlPath, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message

    def under(self, *prefix: str | int) -> Problem:
        """The same problem seen from outside, below `prefix`."""
        return Problem((*prefix, *self.path), self.message)


def at_path(path: YamlPath, message: str) -> UserError:
    """The error for a problem whose line in a file is not known: `path: message`."""
    return UserError(f"{'.'.join(map(str, path))}: {message}")


@contextmanager
def placed(error: Callable[[YamlPath, str], UserError], *outer: str | int) -> Iterator[None]:
    """Inside, a Problem becomes what `error` makes of its path, put below `outer`, and its message."""
    try:
        yield
    except Problem as problem:
        raise error((*outer, *problem.path), problem.message) from None


def validate(model: type[Model], data: object, path: YamlPath = ()) -> Model:
    """`model` from plain data, strictly (text is no number, 1 is no boolean); raises Problem for the first error."""
    try:
        text = json.dumps(data)
    except (TypeError, ValueError) as error:
        raise Problem(path, f"got {data!r}, expected plain data: {error}") from None
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        # missing settings last, because a name that is not known explains one that is missing
        found = sorted(error.errors(include_url=False), key=lambda e: e["type"] == "missing")
        where = _real_path(data, found[0])
        # the members of a union each complain at the same place
        same = [e for e in found if _real_path(data, e) == where and e["type"] == found[0]["type"] != "extra_forbidden"]
        same += [e for e in found if e not in same and _real_path(data, e) == where]
        inner = found[0].get("ctx", {}).get("error")
        if isinstance(inner, Problem):
            raise inner.under(*path, *where) from None
        raise Problem((*path, *where), _explain(found[0], same, model)) from None


def _real_path(data: Any, error: ErrorDetails) -> YamlPath:
    """The error's place without the names that pydantic gives to the members of unions."""
    path: list[str | int] = []
    for part in error["loc"]:
        within = range(len(data)) if isinstance(data, list) else data if isinstance(data, dict) else ()
        if part in within:
            data = data[part]
            path.append(part)
    # a missing item of a list is reported at the list itself
    if error["type"] == "missing" and isinstance(error["loc"][-1], str):
        path.append(error["loc"][-1])
    if error["type"] == "union_tag_invalid":
        path.append("kind")
    return tuple(path)


_WORDS = {
    "a valid integer": "a whole number",
    "a valid array": "a list",
    "a valid dictionary": "a mapping",
    "an object": "a mapping",
    "a valid string": "text",
    "a valid number": "a number",
    "a valid boolean": "true or false",
}


_NUMBER = re.compile(r"([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?) ?(%?)")
"""A number in quotes, or a percentage."""


def _explain(error: ErrorDetails, same: list[ErrorDetails], model: type[BaseModel]) -> str:
    name = str(error["loc"][-1]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        known = _fields_at(model, error["loc"][:-1])
        expected = f"expected one of {', '.join(known)}" if known else "expected no settings"
        return f"unknown setting {name!r}, {expected}{nearest(name, known)}"
    if error["type"] == "missing" and isinstance(error["loc"][-1], int):
        return f"got {shown(error['input'])}, expected a list of {len(error['input']) + len(same)} items"
    if error["type"] == "missing":
        return f"{name!r} is missing{_wanted(_model_at(model, error['loc'][:-1]), name)}"
    if error["type"] == "union_tag_invalid":
        # 'tag' of a field that tells the members apart, '<tag>' of a function
        got, known = error["ctx"]["tag"].strip("<>"), re.findall(r"'<?(\w+)>?'", error["ctx"]["expected_tags"])
        return f"unknown kind {got!r}, expected one of {', '.join(known)}{nearest(got, known)}"
    if error["type"] == "value_error":
        return error["msg"].removeprefix("Value error, ")
    expected = " or ".join(dict.fromkeys(_expected(e) for e in same))
    if error["type"] == "literal_error" and isinstance(error["input"], str):
        known = re.findall(r"'(\w+)'", error["ctx"]["expected"])
        return f"got {shown(error['input'])}, expected {expected}{nearest(error['input'], known)}"
    if expected == "a mapping":
        return f"got {shown(error['input'])}, expected a mapping{_as_mapping(error, model)}"
    return f"got {shown(error['input'])}, expected {expected}{_remedy(error['input'], expected)}"


def _as_mapping(error: ErrorDetails, model: type[BaseModel]) -> str:
    """How a value is written where a mapping is expected: as the setting that it is meant for, where that is plain."""
    *outer, name = error["loc"] or ("",)
    parent = _model_at(model, tuple(outer))
    settings: dict[str, Any] = getattr(_model_at(model, error["loc"]), "model_fields", {})
    if error["type"] == "dict_type" or not settings:
        text = about(parent, name) if isinstance(name, str) and name in getattr(parent, "model_fields", {}) else ""
        text = text or (about(model, str(outer[0])) if len(outer) == 1 else "")
        return f"; {outer[0] if len(outer) == 1 else name}: {text.partition('. ')[0].rstrip('.')}" if text else ""
    got = error["input"]
    if isinstance(got, list):
        return f": {{choice: {shown(got)}}}" if "choice" in settings else ""
    required = [setting for setting, field in settings.items() if field.is_required()]
    return f": {{{(required or list(settings))[0]}: {shown(got)}}}" if len(required) < 2 else ""


def _remedy(got: object, expected: str) -> str:
    """How what was meant is written, for what is often written otherwise."""
    if expected == "text" and isinstance(got, int | float):
        return "; put it in quotes"
    if not isinstance(got, str):
        return ""
    if expected == "a list":
        return "; leave out the quotes" if got.startswith("[") else f": [{got}]" if got else ""
    if expected == "true or false":
        return "; leave out the quotes" if got.lower() in ("true", "false") else ""
    found = _NUMBER.fullmatch(got) if expected in ("a number", "a whole number") else None
    if found is None:
        return ""
    return f": {float(found[1]) / 100:g}" if found[2] else "; leave out the quotes"


def _expected(error: ErrorDetails) -> str:
    if error["type"] == "too_short":
        what = "mapping" if error["ctx"].get("field_type") == "Dictionary" else "list"
        return f"a {what} of at least {count(error['ctx']['min_length'], 'item')}"
    if error["type"] == "too_long":
        return f"a list of at most {count(error['ctx']['max_length'], 'item')}"
    message = error["msg"].removeprefix("Input should be ")
    for jargon, word in _WORDS.items():
        message = message.replace(jargon, word)
    return message


def _wanted(model: Any, name: str) -> str:
    """What to say of a field that is missing: what it is, and its possible values."""
    field = getattr(model, "model_fields", {}).get(name)
    if field is None:
        return ""
    values = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    text = about(model, name)
    what = f": {text.partition('. ')[0].rstrip('.')}" if text else ""
    return what + (f"; expected one of {', '.join(map(shown, values))}" if values else "")


def _fields_at(model: type[BaseModel], loc: YamlPath) -> list[str]:
    """The field names of the (nested) model that `loc` leads to."""
    return sorted(getattr(_model_at(model, loc), "model_fields", {}))


def _model_at(model: type[BaseModel], loc: YamlPath) -> Any:
    current: Any = model
    members: Any = None
    for part in loc:
        fields = getattr(current, "model_fields", {})
        if part in fields:
            members = fields[part].annotation
            current = _model_in(members)
        elif isinstance(part, str) and (member := _tagged(members, part)) is not None:
            current = member
        # any other part is an index or key into a container of the model found last
    return current


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _model_in(part)
        if found is not None:
            return found
    return None


def _tagged(annotation: Any, tag: str) -> Any:
    """The member of a tagged union that has this tag."""
    if Tag(tag) in getattr(annotation, "__metadata__", ()):
        return _model_in(annotation)
    found = (_tagged(part, tag) for part in getattr(annotation, "__args__", ()))
    return next((member for member in found if member is not None), None)


def shown(value: object) -> str:
    """A value as JSON, which is YAML as well, cut to 60 characters."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= 60 else text[:57] + "..."
