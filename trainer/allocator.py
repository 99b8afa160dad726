"""Memory of the host and the GPU between steps, and between trials.

glibc's allocator is made to keep the memory that a training step frees: the next step asks for the same blocks. By
default it returns large blocks to the system at once, and gets them again page by page, which takes 2 to 5 % of a step
on the CPU. Other C libraries ignore all of this.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

SETTINGS = {
    # one arena for all threads, because large blocks in those of threads other than the first are never kept
    "MALLOC_ARENA_MAX": "1",
    # no block gets a mapping of its own, which would be returned as soon as the block is freed
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
}
"""Environment variables for a process that trains; glibc reads them when the process starts."""


def forget_peak() -> None:
    """Measure the most memory of the GPU from now on; no effect where this process uses none.

    After the first steps: to choose its algorithms, cuDNN tries some that take much memory, up to all that is free, and
    torch keeps that for later.
    """
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def give_back() -> None:
    """Return freed memory to the system and the GPU, between two trials: another process may need it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        # no error after a failure that has taken the device: whoever asks next will say so
        with suppress(RuntimeError):
            torch.cuda.empty_cache()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
