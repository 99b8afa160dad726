"""The decoded images of a data set in one file per machine: built once by all cores, then mapped by every worker."""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .decoders import Images, Target, decode_into
from .decoding import DECODER
from .errors import UserError
from .files import existing, locked_file

if TYPE_CHECKING:
    from .data import Source

Progress = Callable[[int, int], None]
"""Called with (done, total) images while a cache is built; with (0, total), once, while another process builds it."""

UNUSED = 30 * 24 * 3600.0
"""Seconds without use after which a file that another decoder made of the same images is deleted."""


def decoded(
    source: Source, size: int, cache: Path, progress: Progress | None = None, *, squash: bool = False
) -> NDArray[np.uint8]:
    """All images as uint8 [N, S, S, 3]: an array of that size is returned as it is, others come from a file in `cache`.

    A missing file is built, by one process while others wait, and gets its name once it is complete. It is mapped
    read-only: it may be larger than memory, and processes share its pages. squash: see `decode_file`. Raises UserError
    naming images that can't be decoded, a folder whose images change meanwhile, or a folder without room or permission.
    """
    images = source.images
    if isinstance(images, np.ndarray) and images.shape[1:] == (size, size, 3):
        # torch takes no negative strides, such as those of images[..., ::-1], from BGR
        return np.ascontiguousarray(images) if min(images.strides) < 0 else images
    report = progress or (lambda done, total: None)
    shape = (len(images), size, size, 3)
    file = cache_file(images, size, cache, squash=squash)
    with _explained(file.parent, _length(shape)):
        pixels = _mapped(file, shape)
        if pixels is None:
            file.parent.mkdir(parents=True, exist_ok=True)
            with locked_file(file.parent / "lock", lambda: report(0, len(images))):
                pixels = _mapped(file, shape)
                if pixels is None:
                    pixels = _build(images, size, squash, file, report)
    _mark_as_used(file)
    return pixels


def cache_file(images: Images, size: int, cache: Path, *, squash: bool) -> Path:
    """The file of these images' pixels: `<which>-<decoder>-<state>.npy`, uint8 [N, S, S, 3], below folder `cache`.

    Each part is a digest: `which` of the images (their paths; of an array, its bytes), the side and `squash`; `decoder`
    of DECODER and Pillow's version; `state` of the files' inodes, sizes and times. Raises UserError naming a file that
    is gone.
    """
    import PIL

    which = hashlib.blake2b(f"{size} {squash}\0".encode(), digest_size=12)
    decoder = hashlib.blake2b(f"{DECODER} {PIL.__version__}".encode(), digest_size=4)
    state = hashlib.blake2b(digest_size=12)
    if isinstance(images, np.ndarray):
        which.update(f"{images.shape}\0".encode())
        which.update(np.ascontiguousarray(images).data)
    else:
        # only folders are resolved, which are few: a million files would take half a minute
        resolved = functools.cache(os.path.realpath)
        for file in images:
            folder, name = os.path.split(file)
            try:
                stat = os.stat(file)
            except OSError as error:
                raise UserError(f"{file}: can't be read ({error.strerror})") from error
            which.update(os.fsencode(os.path.join(resolved(folder), name)) + b"\0")
            # the inode, because a link may be turned to a file of the same size and time; and ctime can't be set back
            state.update(f"{stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}\0".encode())
    return cache / "decoded" / f"{which.hexdigest()}-{decoder.hexdigest()}-{state.hexdigest()}.npy"


def _header(shape: tuple[int, ...]) -> bytes:
    """The first bytes of a .npy file of uint8 in C order."""
    start = io.BytesIO()
    np.lib.format.write_array_header_1_0(start, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return start.getvalue()


def _seal(file: Path, seconds: int) -> bytes:
    """The last bytes of a cache. They are made from its name and time of change, which no other or later file has."""
    return hashlib.blake2b(f"{file.stem} {seconds}".encode(), digest_size=16).digest()


def _length(shape: tuple[int, ...]) -> int:
    """Size of a cache of this shape, in bytes."""
    return len(_header(shape)) + math.prod(shape) + len(_seal(Path(), 0))


def _mapped(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The file's pixels, mapped read-only; None where it is missing, incomplete or changed since `_build` wrote it.

    Raises OSError where a good file can't be mapped: it must not be taken for a missing one, and made again.
    """
    header = _header(shape)
    try:
        with file.open("rb") as handle:
            stat = os.fstat(handle.fileno())
            if stat.st_size != _length(shape) or handle.read(len(header)) != header:
                return None
            seal = _seal(file, stat.st_mtime_ns // 10**9)
            handle.seek(-len(seal), os.SEEK_END)
            if handle.read() != seal:
                return None
            # read-only, because the system may refuse private writable pages of a file that is larger than memory
            return np.memmap(handle, np.uint8, "r", len(header), shape)
    except FileNotFoundError:
        return None


def _mark_as_used(file: Path) -> None:
    """Set the file's time of access, which most systems don't keep up to date themselves."""
    with suppress(OSError):
        os.utime(file, ns=(time.time_ns(), file.stat().st_mtime_ns))


def _delete_others(file: Path) -> None:
    """Delete drafts, files of the same images in former states, and files of other decoders that are UNUSED."""
    which, decoder, _ = file.name.split("-")
    others = set(file.parent.glob(f"{which}-*.npy"))
    former = set(file.parent.glob(f"{which}-{decoder}-*"))
    unused = {other for other in others - former if time.time() - other.stat().st_atime > UNUSED}
    for old in former | unused | set(file.parent.glob("*.part")):
        # a process that has mapped the file keeps its pages
        old.unlink(missing_ok=True)


def _build(images: Images, size: int, squash: bool, file: Path, progress: Progress) -> NDArray[np.uint8]:
    """Decode the images into `file` and return its pixels; the lock of its folder must be held."""
    # before building, because the new file may need their room
    _delete_others(file)
    shape = (len(images), size, size, 3)
    draft = file.with_suffix(".part")
    try:
        with draft.open("wb") as handle:
            handle.write(_header(shape))
            if hasattr(os, "posix_fallocate"):
                # so that a disk that is too small is reported before an hour of decoding, not after it
                os.posix_fallocate(handle.fileno(), 0, _length(shape))
            handle.flush()
            decode_into(Target(draft, handle.tell(), size, squash), images, progress)
            handle.seek(math.prod(shape), os.SEEK_CUR)
            # even, because some file systems keep no odd seconds; in the past, so that no later change has the same
            seconds = int(time.time()) // 2 * 2 - 2
            handle.write(_seal(file, seconds))
            handle.flush()
            # else zeros may stand under the right name if the machine crashes after the renaming
            os.fsync(handle.fileno())
        os.utime(draft, (seconds, seconds))
        if cache_file(images, size, file.parent.parent, squash=squash) != file:
            folder = os.path.commonpath([os.path.dirname(os.path.abspath(image)) for image in images])
            raise UserError(f"{folder}: images changed while they were decoded; run again when they no longer change")
        pixels = _mapped(draft, shape)
        assert pixels is not None, "it was written a moment ago"
        draft.replace(file)
        return pixels
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _explained(folder: Path, needed: int) -> Iterator[None]:
    """Inside, an OSError becomes a UserError about the cache `folder`, which is to hold `needed` bytes more."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            # there may have been no room for the folder itself
            there = existing(folder)
            free = shutil.disk_usage(there).free
            raise UserError(
                f"{folder}: no room for the decoded images ({reason}): {needed / 1e6:,.1f} MB needed, "
                f"{free / 1e6:,.1f} MB free; make room, or set ABLATE_CACHE to a folder elsewhere"
            ) from error
        if error.errno == errno.ENOMEM:
            raise UserError(
                f"{folder}: the {needed / 1e6:,.1f} MB of decoded images can't be mapped ({reason}); expected as much "
                "address space besides what torch takes (`ulimit -v`)"
            ) from error
        raise UserError(
            f"{folder}: can't hold the decoded images ({reason}); expected a folder that can be written, "
            "set ABLATE_CACHE to one"
        ) from error
