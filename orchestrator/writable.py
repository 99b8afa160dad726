"""Files and folders that can't be written, as the user's mistakes: before anything starts, or as it turns out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.errors import UserError
from trainer.files import existing
from trainer.full_disk import is_full


def check_writable(folder: Path) -> None:
    """Raise UserError where `folder` can't be made or written to; makes nothing."""
    for part in (folder, *folder.parents):
        if part.is_symlink() and not part.exists():
            raise UserError(f"{part}: leads to {os.readlink(part)}, which is not there; expected a folder")
    place = existing(folder.resolve())
    if not place.is_dir():
        raise UserError(f"{place}: is a file; expected a folder, or nothing, to write to")
    if not os.access(place, os.W_OK):
        raise UserError(f"{place}: can't be written to; expected a folder of yours to run in")


@contextmanager
def writing() -> Iterator[None]:
    """Inside, a file that can't be written is a UserError; a full disk stays an error of its own (see exits)."""
    try:
        yield
    except OSError as error:
        if is_full(error) or error.filename is None:
            raise
        # of a failed rename, the target
        raise UserError(f"{error.filename2 or error.filename}: can't be written ({error.strerror})") from error
