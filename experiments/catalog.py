"""Finds the options: folder = extension point, file = option, file name = kind.

Besides the folders here, a study's `plugins:` and installed packages (entry points of the group `ablate.options`)
offer options: every subclass of an extension point's class that their module defines.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from trainer.errors import UserError, nearest

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
    digest,
)

EXTENSION_POINTS: dict[str, type[Option]] = {
    "architectures": Architecture,
    "blocks": Block,
    "datasets": Dataset,
    "heads": Head,
    "losses": Loss,
    "optimizers": Optimizer,
    "refinements": Refinement,
    "schedules": Schedule,
}
_found: dict[str, dict[str, type[Option]]] = {}
_plugins: dict[Path, str] = {}


def options(point: str) -> dict[str, type[Option]]:
    """All options of an extension point by kind, sorted."""
    if not _found:
        try:
            _discover()
        except BaseException:
            _found.clear()
            raise
    return dict(sorted(_found[point].items()))


def _discover() -> None:
    _found.update({name: {} for name in EXTENSION_POINTS})
    for name in EXTENSION_POINTS:
        package = importlib.import_module(f"{__package__}.{name}")
        for module in pkgutil.iter_modules(package.__path__):
            _register(importlib.import_module(f"{package.__name__}.{module.name}"))
    for entry in entry_points(group="ablate.options"):
        module = entry.load()
        _register(module, digest(_text_of(module)))


def _text_of(module: ModuleType) -> str:
    """Its text; of one that has none, such as a compiled one, its file."""
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        return Path(str(module.__file__)).read_bytes().hex()


def kinds(point: str) -> list[str]:
    """Every name that `kind` may have: the options' own and their presets'."""
    found = options(point)
    return sorted({*found, *(preset for option in found.values() for preset in option.presets)})


def kind_of(option: type[Option]) -> str:
    """The kind that an option class declares as the default of its field `kind`."""
    return str(option.model_fields["kind"].default)


def parse(point: str, value: object, path: tuple[str | int, ...] = ()) -> Option:
    """The option that a mapping with `kind` describes; raises Problem."""
    what = point.removesuffix("s")
    if isinstance(value, EXTENSION_POINTS[point]):
        return value
    if not isinstance(value, Mapping):
        raise Problem(path, f"got {shown(value)}, expected a mapping with 'kind' (one of {', '.join(kinds(point))})")
    if "kind" not in value:
        raise Problem(path, f"'kind' is missing; expected one of {', '.join(kinds(point))}")
    kind = value["kind"]
    if kind not in kinds(point):
        raise Problem((*path, "kind"), f"unknown {what} {kind!r}, {_expected(kind, kinds(point), point)}")
    return _validate(point, kind, {k: v for k, v in value.items() if k != "kind"}, path)


def parse_named(point: str, value: object, path: tuple[str | int, ...] = ()) -> dict[str, Any]:
    """The options that a mapping from kind to settings describes, sorted by kind; raises Problem."""
    what = point.removesuffix("s")
    if not isinstance(value, Mapping):
        raise Problem(path, f"got {shown(value)}, expected a mapping from {what} to its settings")
    parsed: dict[str, Any] = {}
    for kind in sorted(value):
        settings = value[kind]
        known = options(point)
        if kind not in known:
            raise Problem((*path, kind), f"unknown {what} {kind!r}, {_expected(kind, known, point)}")
        if isinstance(settings, EXTENSION_POINTS[point]):
            parsed[kind] = settings
            continue
        if not isinstance(settings, Mapping):
            raise Problem(
                (*path, kind), f"got {shown(settings)}, expected a mapping of settings ({{}} for the defaults)"
            )
        settings = {k: v for k, v in settings.items() if k != "kind"}
        parsed[kind] = _validate(point, kind, settings, (*path, kind))
    return parsed


def add_plugin(path: Path) -> str:
    """Import a plugin file once and register its options; the digest of its code as it was then. Raises UserError."""
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
        # read once: the digest is of what runs, whatever becomes of the file
        code = path.read_bytes()
        found = digest(code.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n"))
        exec(compile(code, path, "exec", dont_inherit=True), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        line = line_in(error, path)
        raise UserError(f"{path}{line}: the plugin fails to import: {type(error).__name__}: {error}") from error
    if not _register(module, found):
        raise UserError(f"plugin {path}: defines no option; expected a subclass of {_base_names()}")
    _plugins[path] = found
    return found


def _register(module: ModuleType, code: str | None = None) -> int:
    """Register the options that a module defines (a class whose name begins with `_` is none); returns how many."""
    count = 0
    for value in vars(module).values():
        if not isinstance(value, type) or value.__module__ != module.__name__ or value.__name__.startswith("_"):
            continue
        for point, base in EXTENSION_POINTS.items():
            if issubclass(value, base):
                _check_option(value, module)
                value.code = code
                kind = kind_of(value)
                taken = _found[point].get(kind)
                if taken is not None:
                    raise UserError(f"{module.__file__}: the {point} option {kind!r} is already in {taken.__module__}")
                _found[point][kind] = value
                count += 1
    return count


def _check_option(option: type[Option], module: ModuleType) -> None:
    where = f"{module.__file__}: {option.__name__}"
    kind = option.model_fields.get("kind")
    if kind is None or not isinstance(kind.default, str):
        name = option.__name__.lower()
        raise UserError(f'{where} has no kind; expected a line such as `kind: Literal["{name}"] = "{name}"`')
    if missing := sorted(getattr(option, "__abstractmethods__", ())):
        raise UserError(f"{where} does not define {', '.join(missing)}")


def _validate(point: str, kind: str, settings: dict[str, Any], path: tuple[str | int, ...]) -> Option:
    for name, option in options(point).items():
        if kind == name:
            return validate(option, settings, path)
        if kind in option.presets:
            return validate(option, {**option.presets[kind], **settings}, path)
    raise AssertionError(kind)


def _expected(kind: object, known: Iterable[str], point: str) -> str:
    """What there is; of many, only where they are listed, if one is near enough to be meant."""
    known = list(known)
    near = nearest(str(kind), known)
    if near and len(known) > 8:
        return f"`ablate options {point}` lists all{near}"
    return f"expected one of {', '.join(known)}{near}"


def line_in(error: BaseException, path: Path) -> str:
    """`:12` for the last line of the file that an error went through; nothing for an error of elsewhere."""
    lines = []
    if isinstance(error, SyntaxError) and error.lineno:
        lines.append(error.lineno)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f":{lines[-1]}" if lines else ""


def _base_names() -> str:
    return ", ".join(base.__name__ for base in EXTENSION_POINTS.values())
