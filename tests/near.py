"""The store that writes the record, in this process instead of one of its own (see experiments.tracking.apart)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from experiments.tracking.apart import answer_of
from experiments.tracking.store import MlflowStore, Store, StoreError
from experiments.tracking.uris import embedded_record
from experiments.tracking.write_ahead import rest


@contextmanager
def store_near() -> Iterator[Store]:
    """Inside, a store that answers as one in a process of its own does, one call after another."""
    near = _Near()
    try:
        yield cast(Store, near)
    finally:
        near.ended = True
        if (file := embedded_record()) is not None:
            rest(file)


class _Near:
    def __init__(self) -> None:
        self.store = MlflowStore()
        self.lock = threading.Lock()
        self.ended = False

    def __getattr__(self, name: str) -> Any:
        return partial(self._call, name)

    def _call(self, name: str, *arguments: Any, **named: Any) -> Any:
        if self.ended:
            raise StoreError("it has ended", passes=False)
        with self.lock:
            answer, error = answer_of(self.store, name, arguments, named)
        if error is not None:
            raise error
        return answer
