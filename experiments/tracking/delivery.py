"""Tasks done in their order by one thread, patiently: what fails for a reason that may pass is tried until it works."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from .failures import described

PATIENCE = 60.0
_LONGEST_PAUSE = 10.0
_SOON = 10.0
"""Seconds of waiting in the end after which the user is told what is waited for."""


class Delivery:
    """A queue of tasks whose caller never waits. Each must be such that doing it again does no harm.

    may_pass: whether a task that raised this might succeed later. say: hears, on the delivering thread, when tasks
    begin to be late and when they are in time again. patience: for how many seconds after `close` is called what is
    late is still tried (PATIENCE); until then there is no limit. describe: an error in words for people (`described`).
    """

    def __init__(
        self,
        may_pass: Callable[[Exception], bool],
        say: Callable[[str], None],
        patience: float | None = None,
        describe: Callable[[Exception], str] = described,
    ) -> None:
        self.errors: list[str] = []
        """Why each of the tasks that were given up failed."""

        self._may_pass = may_pass
        self._say = say
        self._patience = PATIENCE if patience is None else patience
        self._describe = describe
        self._closed_at: float | None = None
        self._lost = False
        self._given = self._done = 0
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)
        self._thread.start()

    def put(self, task: Callable[[], None]) -> None:
        """Have it done after all that came before."""
        self._given += 1
        self._queue.put(task)

    def is_idle(self) -> bool:
        """Whether everything so far is done or given up."""
        return self._done == self._given

    def close(self) -> None:
        """Return when everything is done, or given up after `patience` seconds."""
        self._closed_at = time.monotonic()
        self._queue.put(None)
        self._thread.join(_SOON)
        if self._thread.is_alive():
            self._say("is still being written; Ctrl-C leaves the rest to the same command")
            self._thread.join()

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            self._do(task)
            self._done += 1

    def _do(self, task: Callable[[], None]) -> None:
        pause, late = 0.5, False
        while True:
            try:
                task()
                break
            except Exception as error:
                reason = self._describe(error)
                passes = self._may_pass(error)
            if not passes or self._is_impatient():
                self._lost = self._lost or passes
                self.errors.append(reason)
                return
            if not late:
                self._say(f"is away, training goes on ({reason})")
            late = True
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        if late:
            self._say("is back, nothing is lost")

    def _is_impatient(self) -> bool:
        """Whether a task has a single try: the time after `close` is up, or was for an earlier task."""
        return self._lost or (self._closed_at is not None and time.monotonic() - self._closed_at > self._patience)
