"""Writing beside training: an epoch's files go to the disk while the next epoch trains."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self


class Saver:
    """Does one write at a time, in order and at most one behind; leaving its context waits for the last one."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "saver")
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)
        if error is None:
            self.wait()

    def submit(self, write: Callable[[], None]) -> None:
        """Begin `write` once the write before is done; raises what that one raised."""
        self.wait()
        self._pending = self._thread.submit(write)

    def wait(self) -> None:
        """Return when nothing is left to write; raises what the last write raised."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()
