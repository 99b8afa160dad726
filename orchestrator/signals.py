"""Stopping on request: Ctrl-C (SIGINT), SIGTERM of a cluster or a service manager, SIGHUP of a terminal that closes."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_DELICATE = ("<frozen importlib._bootstrap>", weakref.__file__)
"""Files of code that runs while a module is imported, or when an object has been deleted."""

Handler = Callable[[int, FrameType | None], Any] | signal.Handlers
_STOPPING: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
    # unless it is ignored, as under nohup, whose user wants the program to go on
    _STOPPING = (*_STOPPING, signal.SIGHUP)

_LATER = 0.05
"""Seconds after which a request is repeated that came where an exception would get lost."""

_AT_LAST = 10.0
"""Seconds after which a postponed request is followed wherever the program is."""

AGAIN = 3.0
"""Seconds for which a second request to stop is ignored: clearing up takes as long, and must not be cut short."""


class _Requests:
    """Tells a new request from the repetition of one that is being followed."""

    def __init__(self) -> None:
        self.last = -math.inf
        self.late: signal.Signals | None = None
        """The postponed request, which is to be repeated."""

        self.since = -math.inf
        """When the postponed request came first."""

    def waits(self, number: int, frame: FrameType | None) -> bool:
        """Whether a request comes at a bad moment; if so, it is postponed and repeated a little later."""
        now = time.monotonic()
        if self.late is None:
            self.since = now
        if not _would_get_lost(frame) or now - self.since > _AT_LAST:
            self.late = None
            return False
        self.late = signal.Signals(number)
        signal.setitimer(signal.ITIMER_REAL, _LATER)
        return True

    def is_new(self) -> bool:
        now = time.monotonic()
        if now - self.last < AGAIN:
            return False
        self.last = now
        return True


_requests = _Requests()


@contextmanager
def handled(handler: Handler, *numbers: signal.Signals) -> Iterator[None]:
    """Inside, these signals go to `handler`. Outside the main thread, where Python takes none, nothing changes."""
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
    """Inside, Ctrl-C and SIGTERM raise KeyboardInterrupt at once; repeated within `AGAIN` seconds, only once."""
    _requests.last, _requests.late = -math.inf, None
    with handled(_hear_again, signal.SIGALRM), handled(_raise_interrupt, *_STOPPING):
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    if not _requests.waits(number, frame) and _requests.is_new():
        raise KeyboardInterrupt


def _hear_again(number: int, frame: FrameType | None) -> None:
    # sent again as a signal, for whichever handler is in place by now
    if _requests.late is not None:
        os.kill(os.getpid(), _requests.late)


def _would_get_lost(frame: FrameType | None) -> bool:
    """Whether an exception raised in this frame would vanish in a callback, leave a module half imported, or abort."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename in _DELICATE or code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


class Stop:
    """A request to stop that is noticed at a safe place.

    An exception raised wherever a signal happens to arrive can vanish in a library's callback, or leave the lock of a
    module that is being imported taken for ever; a request can't.
    """

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def on_signal(self) -> Iterator[None]:
        """Inside, Ctrl-C and SIGTERM ask to stop; a second one, over `AGAIN` seconds later, stops at once."""
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
    """Ignore requests to stop, in a process that is about to end."""
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)
