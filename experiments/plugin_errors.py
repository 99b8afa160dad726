"""What is wrong with a plugin's classes, and where in a plugin an error arose."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from trainer.errors import UserError
from trainer.metrics import NETWORK, TAKEN

from .language.validation import shown
from .options import Option, Refinement


def check_option(option: type[Option], base: type[Option], file: str) -> None:
    """Raise UserError where an option of a file is no valid one of its extension point, whose class is `base`."""
    where = f"{file}: {option.__name__}"
    kind = option.model_fields.get("kind")
    if kind is None or not isinstance(kind.default, str):
        name = option.__name__.lower()
        raise UserError(f'{where} has no kind; expected a line such as `kind: Literal["{name}"] = "{name}"`')
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", kind.default):
        raise UserError(f"{where} has the kind {kind.default!r}; expected letters, digits and '_', as paths hold it")
    if get_args(kind.annotation) not in ((), (kind.default,)):
        raise UserError(f"{where} has the kind {kind.default!r}, but allows {shown(get_args(kind.annotation)[0])} only")
    if missing := sorted(getattr(option, "__abstractmethods__", ())):
        raise UserError(f"{where} does not define {', '.join(missing)}")
    if wrong := misfit(option, base):
        raise UserError(f"{where}.{wrong}")
    order = option.model_fields.get("order")
    if (
        order is not None
        and "order" in base.model_fields
        and (order.annotation is not int or type(order.default) is not int)
    ):
        raise UserError(f"{where}.order is {order.default!r}, expected a whole number, as in `order: int = 1`")
    if issubclass(option, Refinement) and (wrong := _misnamed(option)):
        raise UserError(f"{where}.networks{wrong}")


def _misnamed(refinement: type[Refinement]) -> str:
    """What is wrong with the names of a refinement's further networks; empty if nothing is."""
    if "networks" in refinement.model_fields:
        return " is one of its settings, expected `networks: ClassVar[tuple[str, ...]]`"
    networks: object = refinement.networks
    if not isinstance(networks, tuple):
        return f" is {networks!r:.60}, expected a tuple of names such as ('ema',)"
    wrong = [name for name in networks if not isinstance(name, str) or not NETWORK.fullmatch(name)]
    expected = f"letters and digits, but none of {', '.join(TAKEN)}"
    return f" has {wrong[0]!r:.60}, expected {expected}" if wrong else ""


def misfit(own: type[Any], base: type[Any]) -> str:
    """`build(self), expected build(self, setup)` for a method that can't be called as the base's is; else empty."""
    for name, method in vars(base).items():
        found = getattr(own, name, None)
        if name.startswith("_") or not inspect.isfunction(method) or not inspect.isfunction(found) or found is method:
            continue
        expected = inspect.signature(method)
        try:
            inspect.signature(found).bind(*expected.parameters)
        except TypeError:
            return f"{name}{_names_of(inspect.signature(found))}, expected {name}{_names_of(expected)}"
    return ""


def import_hint(error: BaseException, plugin: Path) -> str:
    """How a plugin imports what lies beside it, if that is what failed; else empty."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    beside = name and any((plugin.parent / found).exists() for found in (name, f"{name}.py"))
    if not beside and not (isinstance(error, ImportError) and "relative import" in str(error)):
        return ""
    return (
        f"; a plugin is one file: what lies beside it is imported by its own name, with {plugin.parent} on PYTHONPATH"
    )


def _names_of(signature: inspect.Signature) -> str:
    return f"({', '.join(signature.parameters)})"


def place_in(error: BaseException, files: Iterable[Path]) -> tuple[Path, int] | None:
    """The last place in one of these files that an error went through: file and line; None if it went through none."""
    by_name = {str(file): file for file in files}
    places = []
    if isinstance(error, SyntaxError) and error.filename in by_name and error.lineno:
        places.append((by_name[error.filename], error.lineno))
    trace = error.__traceback__
    while trace is not None:
        if (name := trace.tb_frame.f_code.co_filename) in by_name:
            places.append((by_name[name], trace.tb_lineno))
        trace = trace.tb_next
    return places[-1] if places else None
