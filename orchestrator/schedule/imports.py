"""Imports Ray Tune without what it only names, pandas and Ray Data: more than half of its import."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from threading import Event, get_ident
from types import ModuleType
from typing import Any

_NAMED = ("pandas", "ray.data")
"""Tune's modules use of them, as they are imported, classes for annotations."""

_PATIENCE = 30.0
"""Seconds for which another thread waits that needs such a module meanwhile."""


class _Named(ModuleType):
    """Stands in for a module: while this thread imports others a class for each name, afterwards what it has."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.importer = get_ident()
        self.over = Event()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if get_ident() != self.importer:
            self.over.wait(_PATIENCE)
        return getattr(importlib.import_module(self.__name__), name) if self.over.is_set() else object


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    new = {name: _Named(name) for name in _NAMED if name not in sys.modules}
    sys.modules.update(new)
    try:
        yield
    finally:
        for name, module in new.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
            module.over.set()


def import_tune() -> None:
    """Import Tune; of a release whose modules use more, what is missing is left to the next import."""
    import ray  # noqa: F401  as what it imports by itself may use what Tune only names

    with contextlib.suppress(Exception), _stand_ins():
        importlib.import_module("ray.tune")
