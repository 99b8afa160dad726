"""Stopping on request: Ctrl-C (SIGINT), SIGTERM of a cluster or a service manager, SIGHUP of a terminal that closes."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any] | signal.Handlers
_STOPPING: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
    # nohup's user wants it to go on
    _STOPPING = (*_STOPPING, signal.SIGHUP)

AGAIN = 3.0
"""Seconds for which a request to stop is not heard again: clearing up takes as long, and cut short it leaves things."""


class _Requests:
    """Tells a new request from the repetition of one that is being followed."""

    def __init__(self) -> None:
        self.last = -math.inf

    def is_new(self) -> bool:
        now = time.monotonic()
        if now - self.last < AGAIN:
            return False
        self.last = now
        return True


_requests = _Requests()


@contextmanager
def handled(handler: Handler, *numbers: signal.Signals) -> Iterator[None]:
    """Inside, these signals go to `handler`; outside the main thread, where Python takes none, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM raise KeyboardInterrupt at once, and pressed twice or thrice they raise it once."""
    _requests.last = -math.inf
    with handled(_raise_interrupt, *_STOPPING):
        yield


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    if _requests.is_new():
        raise KeyboardInterrupt


class Stop:
    """A request to stop that is noticed at a safe place.

    An exception raised wherever a signal happens to arrive can vanish in a library's callback, or leave the lock of a
    module that is being imported taken for ever; a request can't.
    """

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def on_signal(self) -> Iterator[None]:
        """Inside, Ctrl-C and SIGTERM ask; one that comes when the safe place should long be reached stops at once."""
        with handled(self._ask, *_STOPPING):
            yield

    def check(self) -> None:
        """The safe place: raises KeyboardInterrupt if a stop was asked for."""
        if self.asked:
            raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if _requests.is_new():
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True


@contextmanager
def unstoppable() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM are ignored: for clearing up, which takes seconds."""
    with handled(signal.SIG_IGN, *_STOPPING):
        yield


def ignore_from_now_on() -> None:
    """For a process that is about to end: nothing is left to stop."""
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)
