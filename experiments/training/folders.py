"""Where things are kept: what a machine shares, and what a working folder holds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.errors import UserError

STATE = ".ablate"
"""The folder of what a working folder holds."""

LOCK_MODE = 0o664
"""Of lock files that other accounts of a group that shares a folder must be able to ask for."""


def cache_folder() -> Path:
    """Per machine and user: decoded images, rendered data sets, measured costs. May be deleted at any time.

    `ABLATE_CACHE`, else `ablate` below `XDG_CACHE_HOME` or `~/.cache`.
    """
    if own := os.environ.get("ABLATE_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ablate"


def state_folder() -> Path:
    """Per working folder: journals, checkpoints and logs of trials."""
    return Path(STATE)


def trial_folder(trial_id: str, fingerprint: str) -> Path:
    """What one trial keeps: what trainer.files names; on other data, another folder."""
    return Path(STATE, "trials", f"{trial_id}-{fingerprint[:8]}")


@contextmanager
def alone_in(folder: Path, seconds: float = 60) -> Iterator[None]:
    """Inside, no other process trains in this trial folder; waits so long for one that a kill has just orphaned."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / "lock", timeout=seconds):
            yield
    except Timeout as error:
        raise UserError(f"{folder}: another process trains here; expected one at a time") from error


def is_held(lock: Path) -> bool:
    """Whether a living process holds this lock file."""
    from filelock import FileLock, Timeout

    if not lock.exists():
        return False
    try:
        # another process may be asking the same, for a moment
        with FileLock(lock, timeout=0.1, poll_interval=0.02, mode=LOCK_MODE):
            return False
    except (Timeout, PermissionError):
        # what may not be opened is another account's, of whom nothing is known
        return True


@contextmanager
def locked(what: str) -> Iterator[None]:
    """Inside, no other process of this machine is inside for the same `what`; a killed holder lets go."""
    # here, because reading a plan imports this module and filelock imports much
    from filelock import FileLock

    file = cache_folder() / "locks" / hashlib.blake2b(what.encode(), digest_size=12).hexdigest()
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file):
        yield
