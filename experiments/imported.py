"""The author's own modules that a plugin imports: their source decides results as much as the plugin's own.

They are found, not imported: what a method imports only when it is called counts as well, loaded by now or not.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType

_OURS = Path(__file__).resolve().parent.parent
_PACKAGES = ("experiments", "orchestrator", "reports", "trainer")


def imported_texts(module: ModuleType, code: str) -> dict[str, str]:
    """Name to text of every module that `module`, whose text is `code`, imports from a file that was not installed.

    It may import them through each other. Installed packages are left out; the record has the versions of some.
    """
    found: dict[str, str] = {}
    _add(code, module.__package__ or "", found)
    return dict(sorted(found.items()))


def _add(code: str, package: str, found: dict[str, str]) -> None:
    for name in _names(code, package):
        parts, inside = name.split("."), None
        for prefix in (".".join(parts[: i + 1]) for i in range(len(parts))):
            file, inside = _place(prefix, inside)
            if file is not None and prefix not in found and file.suffix == ".py" and _is_own(file.resolve()):
                found[prefix] = file.read_text(encoding="utf-8")
                _add(found[prefix], prefix if inside is not None else prefix.rpartition(".")[0], found)
            if inside is None:
                break


def _place(name: str, inside: list[str] | None) -> tuple[Path | None, list[str] | None]:
    """A module's file and, of a package, where its modules are; None for what there is not.

    inside: where the package is that it is part of; None for a module that is part of none.
    """
    if (module := sys.modules.get(name)) is not None:
        file, parts = getattr(module, "__file__", None), getattr(module, "__path__", None)
        return Path(file) if file else None, list(parts) if parts is not None else None
    for finder in sys.meta_path:
        spec = finder.find_spec(name, inside) if hasattr(finder, "find_spec") else None
        if spec is not None:
            file = Path(spec.origin) if spec.has_location and spec.origin else None
            parts = spec.submodule_search_locations
            return file, list(parts) if parts is not None else None
    return None, None


def _names(code: str, package: str) -> Iterator[str]:
    """Every module that the code may import, also inside of functions; `from a import b` may mean `a.b`."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (package or not node.level):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _is_own(file: Path) -> bool:
    installed = [Path(place).resolve() for place in sysconfig.get_paths().values()]
    ours = [_OURS / package for package in _PACKAGES]
    return not any(file.is_relative_to(place) for place in (*installed, *ours))
