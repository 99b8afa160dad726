"""Stopping on request: Ctrl-C (SIGINT), and SIGTERM as a cluster or a service manager sends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any] | signal.Handlers
_STOPPING = (signal.SIGINT, signal.SIGTERM)


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


def raise_interrupt(number: int, frame: FrameType | None) -> None:
    """A handler that stops at once."""
    raise KeyboardInterrupt


class Stop:
    """A request to stop that is noticed at a safe place.

    An exception raised wherever a signal happens to arrive can vanish in a library's callback; a request can't.
    """

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def on_signal(self) -> Iterator[None]:
        """Inside, Ctrl-C and SIGTERM ask; a second one stops at once."""
        with handled(self._ask, *_STOPPING):
            yield

    def check(self) -> None:
        """The safe place: raises KeyboardInterrupt if a stop was asked for."""
        if self.asked:
            raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def unstoppable() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM are ignored: for clearing up, which takes seconds."""
    with handled(signal.SIG_IGN, *_STOPPING):
        yield
