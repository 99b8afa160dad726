"""Trials that this process trains, kept from processes on other machines that share its record: a lease on each.

Between processes of one machine a reservation (see reservations) is enough; where the record is a file, there are no
others. A lease is agreed on through the record (see arbitration, board) just before a trial begins, so that machines
share the work of a study trial by trial.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Protocol

from ..tracking.attempts import Attempt
from ..tracking.failures import described, may_pass
from ..tracking.uris import embedded_record, shown_uri, without_secrets
from . import arbitration
from .arbitration import Board, Contender
from .reservations import Reservation

PATIENCE = 3.0
"""Seconds that a trial waits for a record that does not answer; then it begins all the same."""

_LAST_PATIENCE = 20.0
"""Seconds that the end waits until the board has been told; what it is not told, others learn only from silence."""

_MOMENT = 0.3
"""Seconds in the place of both where the record did not answer the last time."""


class Lease(Protocol):
    """The trials of a record that this process may train. No method waits longer than `PATIENCE`."""

    def take(self, name: str) -> Reservation | Attempt | None:
        """Ask for the trial of a folder. None: this process has it; else who has it, or how it has ended meanwhile."""

    def lost(self, name: str) -> Reservation | None:
        """Who has taken over a trial that this process trains, because it was silent or cut off for too long."""

    def release(self, name: str, *, finished: bool = False) -> None:
        """The trial has ended and is recorded. finished: as finished, of which the record keeps one attempt."""

    def others(self) -> Mapping[str, Reservation]:
        """Names that others held when the board was last read; it is read again for the next call."""

    def tell(self, ends: float | None, shares: Mapping[str, str]) -> None:
        """How it goes; see reservations.Held."""


class Unshared:
    """The lease of a record that no other machine writes to: everything is this process's."""

    def take(self, name: str) -> Reservation | Attempt | None:
        """See Lease."""
        return None

    def lost(self, name: str) -> Reservation | None:
        """See Lease."""
        return None

    def release(self, name: str, *, finished: bool = False) -> None:
        """See Lease."""

    def others(self) -> Mapping[str, Reservation]:
        """See Lease."""
        return {}

    def tell(self, ends: float | None, shares: Mapping[str, str]) -> None:
        """See Lease."""


@contextmanager
def leased(say: Callable[[str], None]) -> Iterator[Lease]:
    """Inside, this process takes leases; after it, it has none. say: hears what the user should know."""
    if embedded_record() is not None:
        yield Unshared()
        return
    from .board import RecordBoard

    lease = Shared(RecordBoard(), say)
    try:
        yield lease
    finally:
        lease.close()


class Shared:
    """See Lease. A thread of its own makes all calls of the board, in their order, and gives the signs of life."""

    def __init__(self, board: Board, say: Callable[[str], None]) -> None:
        self._contender = Contender(board, say)
        self._say = say
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._away = self._complained = self._looking = False

    def take(self, name: str) -> Reservation | Attempt | None:
        """See Lease."""
        answer = self._ask(lambda: self._take(name))
        try:
            found: Reservation | Attempt | None = answer.result(_MOMENT if self._away else PATIENCE)
        except Exception:
            # it stays wanted, and is asked for with the next sign of life
            return None
        self._contender.lost.pop(name, None)
        return found

    def lost(self, name: str) -> Reservation | None:
        """See Lease."""
        return self._contender.lost.get(name)

    def release(self, name: str, *, finished: bool = False) -> None:
        """See Lease."""
        self._contender.lost.pop(name, None)
        self._ask(lambda: self._contender.release(name, finished=finished))

    def others(self) -> Mapping[str, Reservation]:
        """See Lease."""
        if not self._looking:
            self._looking = True
            self._ask(self._look)
        return self._contender.others

    def tell(self, ends: float | None, shares: Mapping[str, str]) -> None:
        """See Lease."""
        self._contender.news = (ends, shares)

    def close(self) -> None:
        """Give everything up; waits a limited time for the board to be told."""
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join(_MOMENT if self._away else _LAST_PATIENCE)

    def _take(self, name: str) -> Reservation | Attempt | None:
        found = self._contender.take(name)
        if isinstance(found, Reservation):
            # the trial may have begun meanwhile, as it waits only for so long
            self._contender.lost[name] = found
        return found

    def _look(self) -> None:
        self._looking = False
        self._contender.look()

    def _ask(self, call: Callable[[], Any]) -> Future[Any]:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="lease", daemon=True)
            self._thread.start()
        answer: Future[Any] = Future()
        self._tasks.put(lambda: self._do(call, answer))
        return answer

    def _work(self) -> None:
        beat = time.monotonic() + arbitration.BEAT_SECONDS
        while True:
            if time.monotonic() >= beat:
                self._do(self._contender.beat, Future())
                beat = time.monotonic() + arbitration.BEAT_SECONDS
            try:
                task = self._tasks.get(timeout=max(0.0, beat - time.monotonic()))
            except queue.Empty:
                continue
            if task is None:
                self._do(self._contender.close, Future())
                return
            task()

    def _do(self, call: Callable[[], Any], answer: Future[Any]) -> None:
        try:
            found = call()
        except Exception as error:
            self._away = True
            self._complain(error)
            answer.set_exception(error)
        else:
            self._away = False
            answer.set_result(found)

    def _complain(self, error: Exception) -> None:
        # that the record is away is said by what writes it
        if not self._complained and not may_pass(error):
            self._complained = True
            reason = without_secrets(described(error))
            self._say(
                f"the record at {shown_uri()} does not tell who trains what ({reason}): others may train the same"
            )
