"""Where things are kept: what a machine shares, and what a working folder holds."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from trainer.errors import UserError
from trainer.files import existing, locked_file

STATE = ".ablate"
"""The folder inside a working folder that holds all that is kept there."""

TRIALS = Path(STATE, "trials")
"""The folder inside a working folder that holds one for each trial."""

LOCK_MODE = 0o664
"""Mode of lock files in a folder that a group shares: its other accounts must be able to ask for them."""


def cache_folder() -> Path:
    """One per machine and user: decoded images, rendered data sets, measured costs. May be deleted at any time.

    `ABLATE_CACHE`, else `ablate` below `XDG_CACHE_HOME` or `~/.cache`.
    """
    if own := os.environ.get("ABLATE_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ablate"


def state_folder() -> Path:
    """One per working folder: journals, checkpoints and logs of trials."""
    return Path(STATE)


def trial_folder(trial_id: str, fingerprint: str) -> Path:
    """The folder of a trial's files, which trainer.files names."""
    return TRIALS / folder_name(trial_id, fingerprint)


def folder_name(trial_id: str, fingerprint: str) -> str:
    """What the folder of a trial is called; the same trial on other data has another folder."""
    return f"{trial_id}-{fingerprint[:8]}"


def trial_of(folder_name: str) -> str:
    """The id of the trial whose folder has this name."""
    return folder_name.partition("-")[0]


def begun_trials() -> set[str]:
    """The names of the trials' folders that this working folder holds."""
    return set(os.listdir(TRIALS)) if TRIALS.is_dir() else set()


@contextmanager
def alone_in(folder: Path, seconds: float = 60) -> Iterator[None]:
    """Inside, no other process trains in this trial folder. Waits for one that a kill has just orphaned.

    Raises UserError if one still trains there after so many `seconds`.
    """
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
        # not at once, because another process may hold the lock for a moment only to ask the same
        with FileLock(lock, timeout=0.1, poll_interval=0.02, mode=LOCK_MODE):
            return False
    except (Timeout, PermissionError):
        # a lock that may not be opened is another account's, and may be held
        return True


def compiler_settings() -> dict[str, str]:
    """Environment variables by which torch's compiler keeps its files in the cache, not in a temporary folder.

    Later trials of an architecture find there what one has compiled, in whatever process.
    """
    folder = cache_folder() / "compiled"
    writable = os.access(existing(folder), os.W_OK)
    return {"TORCHINDUCTOR_CACHE_DIR": str(folder)} if writable else {}


@contextmanager
def locked(what: str, wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """As trainer.files.locked_file, by a name."""
    file = cache_folder() / "locks" / hashlib.blake2b(what.encode(), digest_size=12).hexdigest()
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked_file(file, wait):
        yield


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Inside, no other process is inside for this folder, which exists, whichever account or container it is of.

    Where the file system has no locks, there is no more to be had.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
