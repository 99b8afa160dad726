"""Recognises a full disk, whichever library reports it, and waits for room, which is often made soon."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 30.0
"""Seconds for which a training waits for room; a worker that is silent for longer might be taken to hang."""

PAUSE = 0.5
"""Seconds from one try to the next."""


class NoRoom(Exception):
    """The disk stayed full."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"no space left on the disk of {folder} for {PATIENCE:.0f} s; make room there")


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk (or an exhausted quota) is behind an error of Python's, SQLite's, torch's or safetensors'."""
    while error is not None:
        if isinstance(error, NoRoom) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error) or "database or disk is full" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def with_room(folder: Path, write: Callable[[], object]) -> None:
    """Write, and try again as long as the disk is full; raises NoRoom after PATIENCE seconds.

    write: must leave nothing behind where it fails, because it is called again.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            write()
            return
        except Exception as error:
            if not is_full(error):
                raise
            if time.monotonic() > end:
                raise NoRoom(folder) from error
        time.sleep(PAUSE)
