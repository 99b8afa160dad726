"""A temporary folder that is deleted at the end; if its process is killed, the next process deletes it."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .signals import unstoppable

_PREFIX = "ablate-run-"
_LOCK = ".ablate-alive"
"""Held by the process that a folder belongs to, from before it has this name until the folder is deleted."""

_UNLOCKED = 60
"""Seconds after which a folder without a lock is not one that is being made or deleted."""

_SOCKET = len("/ablate-run-12345678/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
"""Length of what follows the temporary folder in the path of a socket of Ray's."""

LONGEST = (107 if sys.platform == "linux" else 103) - _SOCKET
"""The most bytes of the temporary folder's path with which the paths of Ray's sockets are short enough."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Inside, a folder with a path short enough for Ray's sockets. Deletes those that killed processes have left."""
    from filelock import FileLock

    base = Path(tempfile.gettempdir())
    if len(os.fsencode(base)) > LONGEST and os.access("/tmp", os.W_OK):
        base = Path("/tmp")
    for other in base.glob(f"{_PREFIX}*"):
        _delete_if_dead(other)
    with unstoppable():
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        lock = FileLock(folder / f"{_LOCK}.new")
        lock.acquire()
        # under its own name, a lock is never seen free while its process lives
        os.rename(folder / f"{_LOCK}.new", folder / _LOCK)
    try:
        yield folder
    finally:
        with unstoppable():
            # Ray's workers end by themselves, but seconds after their driver
            _kill(_processes_in(folder))
            # held until the folder is gone: this process still writes Ray's log there, and would count as left behind
            shutil.rmtree(folder, ignore_errors=True)
            lock.release()


def _delete_if_dead(folder: Path) -> None:
    # OSError: it is another account's, its process lives, or it was deleted just now
    with suppress(OSError):
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR)
        except FileNotFoundError:
            if time.time() - folder.stat().st_mtime > _UNLOCKED:
                shutil.rmtree(folder)
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if (folder / _LOCK).exists():
                # some of Ray's processes would notice only after minutes that their driver is gone
                _kill(_processes_in(folder))
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _kill(processes: list[int]) -> None:
    for process in processes:
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)


def _processes_in(folder: Path) -> list[int]:
    """Processes that have a file in `folder` open, other than to ask for its lock; none on systems without /proc."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            file = os.readlink(link)
            if file.startswith(f"{folder}/") and not file.startswith(f"{folder}/{_LOCK}"):
                found.add(int(link.parts[2]))
    return sorted(found - {os.getpid()})
