"""The processors of this process."""

from __future__ import annotations

import os


def cores() -> int:
    """Processors that this process may use, which a container or a scheduler may have made fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
