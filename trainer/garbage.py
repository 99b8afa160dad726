"""Python's search for objects that refer to each other in circles, which reference counting does not free."""

from __future__ import annotations

import gc


def collect_seldom() -> None:
    """Look for garbage after 10,000 new objects instead of 700; a process calls it before it imports much.

    An import makes hundreds of thousands of objects that stay: to look through them again and again, as Python does by
    default, takes a sixth of the processor time of a short study, and 0.1 s of a training step now and then.
    """
    gc.set_threshold(10_000, 10, 10)
