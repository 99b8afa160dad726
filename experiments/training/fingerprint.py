"""Fingerprint of a data set: what its files are called and contain, wherever they lie."""

from __future__ import annotations

import hashlib
import os
import time
from functools import cache
from pathlib import Path

from trainer.errors import UserError

from .remembered import recall, remember

LENGTH = 32
"""Hex digits of a fingerprint; MLflow takes at most 36 characters as a data set's digest."""

SETTLED = 2.0
"""Seconds after a file's last change until its time vouches for its content, because clocks of files are coarse."""


def file_digest(file: Path) -> str:
    """SHA-256 of a file's content, as `sha256sum` prints it."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def content_digest(files: list[Path]) -> str:
    """Digest over (path below the common folder, content) of every file.

    The digest is remembered by the files' names, sizes and times, so that asking again costs one `stat` per file.
    Raises UserError naming a file that can't be read.
    """
    return _examined(files)[0]


def same_content(files: list[Path]) -> list[list[Path]]:
    """Groups of files whose content is the same; found, and remembered, with their digest."""
    return [[files[i] for i in group] for group in _examined(files)[1]]


def _examined(files: list[Path]) -> tuple[str, list[list[int]]]:
    """The digest, and the indices of files of the same content."""
    try:
        return _read(files)
    except OSError as error:
        raise UserError(f"{error.filename}: can't be read ({error.strerror})") from error


def _read(files: list[Path]) -> tuple[str, list[list[int]]]:
    now = time.time()
    common = Path(os.path.commonpath([str(file.parent) for file in files]))
    names = [file.relative_to(common).as_posix() for file in files]
    stats = [file.stat() for file in files]
    # of folders alone, as resolving a million files would take half a minute; what a link leads to has another inode
    resolved = cache(os.path.realpath)
    known_by = [
        (
            name,
            os.path.join(resolved(file.parent), file.name),
            stat.st_ino,
            stat.st_size,
            stat.st_mtime_ns,
            stat.st_ctime_ns,
        )
        for name, file, stat in zip(names, files, stats, strict=True)
    ]
    if known := recall("fingerprints", known_by):
        return str(known["digest"]), list(known.get("alike", []))
    total = hashlib.blake2b(digest_size=LENGTH // 2)
    of_content: dict[str, list[int]] = {}
    for i, (name, file) in enumerate(zip(names, files, strict=True)):
        content = hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
        total.update(os.fsencode(f"{name}\0{content}\n"))
        of_content.setdefault(content, []).append(i)
    alike = [group for group in of_content.values() if len(group) > 1]
    if now - max(max(stat.st_mtime, stat.st_ctime) for stat in stats) >= SETTLED:
        remember("fingerprints", known_by, {"digest": total.hexdigest(), "alike": alike})
    return total.hexdigest(), alike
