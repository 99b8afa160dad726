"""SQLite files while they are written: in write-ahead mode no commit waits for the disk, only `keep` does.

At rest they are what every tool expects, a single file. A file that a killed process left with its log is whole:
whoever opens it next finds everything that was committed. A power cut can take what was committed after the last
`keep`, never more, and leaves the file whole as well.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

_LOCAL = {"apfs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"}
"""File systems of one machine. The log's index is shared memory, which machines that share a folder do not have."""

_MOUNTS = Path("/proc/self/mounts")


def write_ahead(file: Path) -> None:
    """Switch a file to write-ahead mode where that can be. One that does not exist is created."""
    if is_local(file):
        _switch(file, "WAL")


def hasten(connection: Any, record: object = None) -> None:
    """Let a connection's commits go on at once where the file keeps a log; as a listener of SQLAlchemy's `connect`."""
    if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        connection.execute("PRAGMA synchronous=NORMAL")


def keep(file: Path) -> None:
    """Return once everything that was committed is on the disk."""
    with suppress(FileNotFoundError):
        log = os.open(f"{file}-wal", os.O_RDONLY)
        try:
            os.fsync(log)
        finally:
            os.close(log)


def rest(file: Path) -> None:
    """Take the log into the file and leave the mode; if another process has it open, that one or the next does so."""
    if file.exists():
        _switch(file, "DELETE")


def is_local(file: Path) -> bool:
    """Whether no other machine can have the file open; False where that is not known."""
    try:
        lines = [line.split(" ") for line in _MOUNTS.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return False
    kinds = {Path(place.replace("\\040", " ")): kind for _, place, kind, *_ in lines}
    return next((kinds[folder] in _LOCAL for folder in file.resolve().parents if folder in kinds), False)


def _switch(file: Path, mode: str) -> None:
    # what is wrong with the file is said by who opens it to use it
    with suppress(sqlite3.Error), closing(sqlite3.connect(file, timeout=0)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
