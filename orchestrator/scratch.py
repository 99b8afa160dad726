"""A temporary folder that is deleted at the end; if its process is killed, the next process deletes it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from experiments.training.folders import is_held

from .signals import unstoppable

_PREFIX = "ablate-run-"
_LOCK = ".ablate-alive"
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
        # without its lock, it would never be recognised as left behind
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        lock = FileLock(folder / _LOCK)
        lock.acquire()
    try:
        yield folder
    finally:
        with unstoppable():
            # Ray's workers end by themselves, but seconds after their driver
            _kill(_processes_in(folder))
            lock.release()
            shutil.rmtree(folder, ignore_errors=True)


def _delete_if_dead(folder: Path) -> None:
    try:
        dead = (folder / _LOCK).is_file() and not is_held(folder / _LOCK)
    except OSError:
        # it is another user's, or was deleted just now
        return
    if dead:
        # some of Ray's processes would notice only after minutes that their driver is gone
        _kill(_processes_in(folder))
        shutil.rmtree(folder, ignore_errors=True)


def _kill(processes: list[int]) -> None:
    for process in processes:
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)


def _processes_in(folder: Path) -> list[int]:
    """Processes that have a file in `folder` open; none on systems without /proc."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if os.readlink(link).startswith(f"{folder}/"):
                found.add(int(link.parts[2]))
    return sorted(found - {os.getpid()})
