"""The files that a training leaves in its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

JOURNAL = "journal.jsonl"
"""The metrics of every epoch, a line each."""

CHECKPOINT = "last.pt"
"""All that an interrupted training needs to go on."""

LOG = "log.txt"
"""What the training logged, and the traceback of its failure."""

WEIGHTS = "weights.safetensors"
"""The selected epoch's weights, of a finished training."""


DRAFT = ".part"
"""The end of the names of files that are not whole yet."""


@contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """Inside, a draft to be written; it gets the file's name at the end, or is deleted after an error."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # containers that share a folder may each have a process 1
    draft = file.with_name(f".{file.name}.{uuid4().hex[:8]}{DRAFT}")
    try:
        yield draft
        draft.replace(file)
    except OSError as error:
        if error.filename is None:
            # a failed write does not say of what
            error.filename = str(file)
        raise
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def locked_file(file: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Inside, no other process of this machine is inside for the same `file`; the lock of a killed one is free.

    wait: is called if another process has been inside for a second.
    """
    # imported here, because reading a plan imports this module and filelock imports much
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def drop_drafts(folder: Path) -> None:
    """Delete what a process that died was writing."""
    for file in folder.glob(f"*{DRAFT}"):
        file.unlink(missing_ok=True)


def tidy(folder: Path) -> None:
    """Delete what is not needed once a training is recorded: checkpoints, drafts, weights. Log and journal stay."""
    drop_drafts(folder)
    for file in (*folder.glob("*.pt"), folder / WEIGHTS):
        file.unlink(missing_ok=True)
