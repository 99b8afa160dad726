"""The store in a process of its own, so that MLflow's import (a second) and calls (milliseconds) hold up nothing else.

It reads pickled calls, (method of the store, arguments, named ones), and answers each by (what it returns, the error),
one of them None. It ends as soon as its input does, and so with the process that started it.
"""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from trainer import children
from trainer.errors import UserError

from .failures import described, may_pass
from .store import MlflowStore, Store, StoreError
from .uris import embedded_record
from .write_ahead import rest

if TYPE_CHECKING:
    import subprocess

_Call = tuple[str, tuple[Any, ...], dict[str, Any]]
Answer = tuple[Any, Exception | None]
"""What a call returns, or its error."""


@contextmanager
def store_apart() -> Iterator[Store]:
    """Inside, a store in a process that is starting; it does one call after another, and is replaced if it dies."""
    remote = _Remote()
    try:
        yield cast(Store, remote)
    finally:
        remote.end()
        # a process that died, or never opened the record, has not brought its file to rest
        if (file := embedded_record()) is not None:
            rest(file)


class _Remote:
    """Every method of a store, called by name."""

    def __init__(self) -> None:
        self._calling = threading.Lock()
        self._lock = threading.Lock()
        self._ended = False
        self._process: subprocess.Popen[bytes] | None = _started()

    def __getattr__(self, name: str) -> Any:
        return partial(self._call, name)

    def end(self) -> None:
        """No call goes through any more; one that is under way fails."""
        with self._lock:
            self._ended = True
            self._drop()

    def _call(self, name: str, *arguments: Any, **named: Any) -> Any:
        with self._calling:
            answer, error = self._answer(name, arguments, named)
        if error is not None:
            raise error
        return answer

    def _answer(self, *call: Any) -> Answer:
        process = self._living()
        try:
            children.send(process, call)
            return cast(Answer, children.answer(process))
        except (EOFError, OSError, pickle.UnpicklingError) as broken:
            with self._lock:
                self._drop()
            raise StoreError("the process that writes it has died", passes=not self._ended) from broken

    def _living(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._ended:
                raise StoreError("the process that writes it has ended", passes=False)
            if self._process is None:
                self._process = _started()
            return self._process

    def _drop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            children.end(process)


def _started() -> subprocess.Popen[bytes]:
    return children.start(__name__, answer_calls.__name__)


def answer_calls() -> None:
    """Answer calls until there are no more."""
    out = os.fdopen(os.dup(1), "wb")
    # what a library prints is no answer
    os.dup2(2, 1)
    # MLflow looks whether it is there, for tables that it could log; to import it takes half a second
    sys.modules.setdefault("pandas", cast(ModuleType, None))
    calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, calls), daemon=True).start()
    store = MlflowStore()
    while True:
        pickle.dump(answer_of(store, *calls.get()), out)
        out.flush()


def answer_of(store: Store, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Answer:
    """What a call returns, or its error in words that can be pickled, as MLflow's own may not be."""
    try:
        return getattr(store, name)(*arguments, **named), None
    except UserError as error:
        return None, UserError(str(error))
    except Exception as error:
        return None, StoreError(described(error), may_pass(error))


def _read(source: BinaryIO, calls: queue.SimpleQueue[_Call]) -> None:
    # a driver that is killed may leave half a call
    with suppress(EOFError, pickle.UnpicklingError):
        while True:
            calls.put(pickle.load(source))
    # even in the midst of a call: whoever asked for it is gone
    os._exit(0)
