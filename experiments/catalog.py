"""Finds the options: folder = extension point, file = option, file name = kind.

Besides the folders here, a study's `plugins:` and installed packages (entry points of the group `ablate.options`)
offer options: every subclass of an extension point's class that their module defines.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from trainer.errors import UserError, nearest
from trainer.metrics import metric_names
from trainer.settings import digest

from .imported import imported_texts
from .language.validation import Problem, shown, validate
from .options import (
    Architecture,
    Block,
    Dataset,
    Head,
    Loss,
    Optimizer,
    Option,
    Refinement,
    Schedule,
    Surgery,
)
from .plugin_errors import check_option, import_hint, place_in


class Point(NamedTuple):
    """An extension point: the class of its options, and where a recipe has them."""

    base: type[Option]
    place: str
    """Dotted path in a recipe."""

    keyed: bool = False
    """Whether a mapping from kind to settings stands there, rather than one option with its `kind`."""


EXTENSION_POINTS = {
    "architectures": Point(Architecture, "architecture"),
    "blocks": Point(Block, "architecture.blocks", keyed=True),
    "datasets": Point(Dataset, "dataset"),
    "heads": Point(Head, "architecture.head"),
    "losses": Point(Loss, "loss"),
    "optimizers": Point(Optimizer, "optimizer"),
    "refinements": Point(Refinement, "refinements", keyed=True),
    "schedules": Point(Schedule, "schedule"),
    "surgeries": Point(Surgery, "architecture.surgery", keyed=True),
}
KEYED_PLACES = tuple(point.place for point in EXTENSION_POINTS.values() if point.keyed)
"""Where a recipe has mappings from kind to settings."""

_found: dict[str, dict[str, type[Option]]] = {}
_plugins: dict[Path, str] = {}


def options(point: str) -> Mapping[str, type[Option]]:
    """All options of an extension point by kind, sorted."""
    if not _found:
        try:
            _discover()
        except BaseException:
            _found.clear()
            raise
    return _found[point]


def _discover() -> None:
    _found.update({name: {} for name in EXTENSION_POINTS})
    for name in EXTENSION_POINTS:
        package = importlib.import_module(f"{__package__}.{name}")
        for module in pkgutil.iter_modules(package.__path__):
            _register(importlib.import_module(f"{package.__name__}.{module.name}"))
    for entry in entry_points(group="ablate.options"):
        module = entry.load()
        _register(module, _digest(module, _text_of(module)))


def _digest(module: ModuleType, text: str) -> str:
    """Digest of a plugin's text and of its author's own modules that it imports."""
    imported = imported_texts(module, text) if module.__file__ and module.__file__.endswith(".py") else {}
    return digest([text, imported]) if imported else digest(text)


def _text_of(module: ModuleType) -> str:
    """A module's source; of one without, such as a compiled module, the bytes of its file in hex."""
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        return Path(str(module.__file__)).read_bytes().hex()


def kinds(point: str) -> list[str]:
    """Every name that `kind` may have: the options' own and their presets'."""
    found = options(point)
    return sorted({*found, *(preset for option in found.values() for preset in option.presets)})


def networks() -> dict[str, list[str]]:
    """The further networks that refinements give (see Refinement.networks), each with the kinds that give it."""
    found: dict[str, list[str]] = {}
    for kind, option in options("refinements").items():
        for network in option.networks if issubclass(option, Refinement) else ():
            found.setdefault(network, []).append(kind)
    return dict(sorted(found.items()))


def known_metrics() -> list[str]:
    """Every name under which a trial's number may be asked for, whatever its refinements."""
    return metric_names(networks())


def singular(point: str) -> str:
    """What one option of an extension point is called: `loss` of `losses`."""
    return EXTENSION_POINTS[point].base.__name__.lower()


def kind_of(option: type[Option]) -> str:
    """The kind that an option class declares as the default of its field `kind`."""
    return str(option.model_fields["kind"].default)


def parse(point: str, value: object, path: tuple[str | int, ...] = ()) -> Option:
    """The option that a mapping with `kind` describes; raises Problem."""
    what = singular(point)
    if isinstance(value, EXTENSION_POINTS[point].base):
        return value
    if not isinstance(value, Mapping):
        raise Problem(path, f"got {shown(value)}, expected a mapping with 'kind' (one of {', '.join(kinds(point))})")
    if "kind" not in value:
        raise Problem(path, f"'kind' is missing; expected one of {', '.join(kinds(point))}")
    kind = value["kind"]
    option = owner(point, kind) if isinstance(kind, str) else None
    if option is None:
        raise Problem((*path, "kind"), f"unknown {what} {kind!r}, {_expected(kind, kinds(point), point)}")
    preset = {} if kind == kind_of(option) else option.presets[kind]
    return validate(option, preset | {k: v for k, v in value.items() if k != "kind"}, path)


def parse_named(point: str, value: object) -> dict[str, Any]:
    """The options that a mapping from kind to settings describes, sorted by kind; raises Problem."""
    what = singular(point)
    if not isinstance(value, Mapping):
        names = value if isinstance(value, list) and all(isinstance(name, str) for name in value) else []
        meant = f": {{{', '.join(f'{name}: {{}}' for name in names)}}}" if names else ""
        raise Problem((), f"got {shown(value)}, expected a mapping from {what} to its settings{meant}")
    parsed: dict[str, Any] = {}
    known = options(point)
    for kind in sorted(value):
        settings = value[kind]
        if kind not in known:
            raise Problem((kind,), f"unknown {what} {kind!r}, {_expected(kind, known, point)}")
        if isinstance(settings, EXTENSION_POINTS[point].base):
            parsed[kind] = settings
            continue
        if not isinstance(settings, Mapping):
            raise Problem((kind,), f"got {shown(settings)}, expected a mapping of settings ({{}} for the defaults)")
        if settings.get("kind", kind) != kind:
            raise Problem((kind, "kind"), f"got {shown(settings['kind'])}, but its key says {kind}")
        settings = {k: v for k, v in settings.items() if k != "kind"}
        parsed[kind] = validate(known[kind], settings, (kind,))
    return parsed


def add_plugin(path: Path) -> str:
    """Import a plugin file once and register its options; returns the digest of what was imported. Raises UserError."""
    path = path.resolve()
    if path in _plugins:
        return _plugins[path]
    options("refinements")
    if not path.is_file():
        raise UserError(f"plugin {path}: no such file")
    name = f"ablate_plugin_{path.stem}_{digest(str(path), 6)}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"plugin {path}: expected a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        # read once, so that the digest is of what runs, whatever becomes of the file
        code = path.read_bytes()
        text = code.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
        # what a plugin prints goes to stderr, because it is not part of the command's answer
        with contextlib.redirect_stdout(sys.stderr):
            exec(compile(code, path, "exec", dont_inherit=True), vars(module))
        found = _digest(module, text)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        at = f":{place[1]}" if (place := place_in(error, [path])) else ""
        what = f"{type(error).__name__}: {error}{import_hint(error, path)}"
        raise UserError(f"{path}{at}: the plugin fails to import: {what}") from error
    before = dict(_found)
    try:
        if not _register(module, found):
            raise UserError(f"plugin {path}: defines no option; expected a subclass of {_base_names()}")
    except UserError:
        # all of it or nothing: once it is mended, it is imported again
        _found.update(before)
        del sys.modules[name]
        raise
    _plugins[path] = found
    return found


def _register(module: ModuleType, code: str | None = None) -> int:
    """Register the options that a module defines (a class whose name begins with `_` is none); returns how many."""
    count = 0
    for value in vars(module).values():
        if not isinstance(value, type) or value.__module__ != module.__name__ or value.__name__.startswith("_"):
            continue
        for point, (base, *_) in EXTENSION_POINTS.items():
            if issubclass(value, base):
                if "presets" not in vars(value):
                    # those of an option that it derives from are that one's
                    value.presets = {}
                check_option(value, base, str(module.__file__))
                value.code = code
                kind = kind_of(value)
                for name in (kind, *value.presets):
                    if (taken := owner(point, name)) is not None:
                        place = sys.modules[taken.__module__].__file__
                        raise UserError(f"{module.__file__}: the {point} option {name!r} is already in {place}")
                _found[point] = dict(sorted((_found[point] | {kind: value}).items()))
                count += 1
    return count


def owner(point: str, name: str) -> type[Option] | None:
    """The option that has this kind, or a preset of this name."""
    found = options(point)
    return found.get(name) or next((option for option in found.values() if name in option.presets), None)


def _expected(kind: object, known: Iterable[str], point: str) -> str:
    """All `known` kinds; where there are many and one is near, that one and how to list the rest."""
    known = list(known)
    near = nearest(str(kind), known)
    if near and len(known) > 8:
        return f"`ablate options {point}` lists all{near}"
    return f"expected one of {', '.join(known)}{near}"


def plugin_line(error: BaseException) -> str:
    """`my.py:12` for the last place in a plugin that an error went through; empty if it went through none."""
    return "{}:{}".format(*place) if (place := place_in(error, _plugins)) else ""


def _base_names() -> str:
    return ", ".join(point.base.__name__ for point in EXTENSION_POINTS.values())
