"""The folders that `ablate run` writes to: free space, permissions, and a temporary folder for Ray's sockets."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from experiments.training.folders import cache_folder, state_folder
from trainer.files import existing

from ..scratch import LONGEST
from .finding import Finding, size

LITTLE = 5 * 2**30
"""Free bytes below which a finding warns: a study's checkpoints and weights fit, decoded photographs may not."""

FULL = 2**29
"""Free bytes below which the first trials may already fail."""


def working_folder(folder: Path = Path(), little: int = LITTLE, full: int = FULL) -> Iterator[Finding]:
    """The folder for the record, checkpoints and results; folders in it that another user may have left."""
    elsewhere = "run in another folder"
    yield _folder("working folder", folder, "", f"make room, or {elsewhere}", elsewhere, little, full)
    for made in (folder / state_folder(), folder / "results"):
        if made.is_dir() and (reason := refusal(made)) is not None:
            found = f"{made.absolute()}: can't be written to ({reason})"
            yield Finding("problem", "working folder", found, f"make it yours, or {elsewhere}")


def cache(folder: Path | None = None, little: int = LITTLE, full: int = FULL) -> Iterator[Finding]:
    """The folder for decoded images, downloaded weights and measured costs, and how much it holds."""
    folder = folder or cache_folder()
    held = f", {size(_held(folder))} in it" if folder.is_dir() else ""
    held += _unused(folder / "decoded")
    elsewhere = "set ABLATE_CACHE to a folder elsewhere"
    yield _folder("cache", folder, held, f"delete what is in it, or {elsewhere}", elsewhere, little, full)


def temporary_folder(
    folder: Path | None = None,
    asked: str | None = None,
    longest: int = LONGEST,
    short: Path = Path("/tmp"),
) -> Iterator[Finding]:
    """Whether the temporary folder can be written, and whether Ray's sockets fit into it or into `short`.

    Sockets go to the folder itself if its path has at most `longest` bytes, else to `short`. asked: what TMPDIR says;
    if Python can't write there, it silently takes another folder.
    """
    asked = asked or os.environ.get("TMPDIR")
    folder = (folder or Path(tempfile.gettempdir())).absolute()
    length = len(os.fsencode(folder))
    if (reason := refusal(folder)) is not None:
        remedy = "set TMPDIR to a folder that can be written, such as /tmp"
        yield Finding("problem", "temp folder", f"{folder}: can't be written to ({reason})", remedy)
    elif length > longest and (reason := refusal(short)) is not None:
        found = (
            f"{folder}: {length} characters, Ray's sockets leave room for {longest}; {short} refuses them ({reason})"
        )
        yield Finding("problem", "temp folder", found, f"set TMPDIR to a shorter path, or make {short} writable")
    elif asked and os.path.abspath(asked) != str(folder):
        found = f"{folder}, because TMPDIR, {asked}, can't be written to"
        yield Finding("warning", "temp folder", found, "make that folder, or unset TMPDIR")
    else:
        aside = f"; Ray's sockets in {short}, as their paths would be too long" if length > longest else ""
        yield Finding("ok", "temp folder", f"{folder}{aside}")


def _folder(name: str, folder: Path, held: str, make_room: str, elsewhere: str, little: int, full: int) -> Finding:
    place = existing(folder)
    if not place.is_dir():
        return Finding("problem", name, f"{place}: is a file, expected a folder", elsewhere)
    free = shutil.disk_usage(place).free
    found = f"{folder.absolute()}: {size(free)} free{held}"
    if free < full:
        return Finding("problem", name, f"{found}, expected {size(little)} or more", make_room)
    if (reason := refusal(place)) is not None:
        return Finding("problem", name, f"{place}: can't be written to ({reason})", elsewhere)
    if free < little:
        return Finding("warning", name, f"{found}, expected {size(little)} or more", make_room)
    return Finding("ok", name, found)


def refusal(folder: Path) -> str | None:
    """Why no file can be made in a folder; None if one can. Tried, as permissions alone don't tell; no file stays."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _unused(decoded: Path) -> str:
    """Says how much of the decoded images no training has used for long, by access times that trainer.cache sets."""
    # imported here: it loads NumPy, which the doctor should not need before it has checked the packages
    from trainer.cache import UNUSED

    stats = [file.stat() for file in decoded.glob("*.npy")]
    total = sum(stat.st_size for stat in stats if time.time() - stat.st_atime > UNUSED)
    return f", of which {size(total)} of decoded images unused for {UNUSED / 86400:.0f} days" if total else ""


def _held(folder: Path) -> int:
    """Bytes of all files below a folder, as far as they can be listed."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total
