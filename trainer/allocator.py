"""glibc's allocator, told to keep what a training step frees: the next one asks for the same blocks.

By itself it gives large blocks back to the system at once, and they come in again page by page: 2 to 5 % of a step on
the CPU. Other C libraries ignore all of this.
"""

from __future__ import annotations

import ctypes

SETTINGS = {
    # large blocks of threads other than the first are never kept
    "MALLOC_ARENA_MAX": "1",
    # no block is mapped by itself, which would go back at once
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
}
"""Environment of a process that trains; read when it starts."""


def give_back() -> None:
    """Return what is kept to the system: between two trials, it may be another process's turn."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
