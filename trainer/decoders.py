"""Many images decoded by all cores, straight into a file: by threads, or by processes where there are many images."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import children
from .cores import cores
from .decoding import decode_array, decode_file, without_warnings
from .errors import UserError

if TYPE_CHECKING:
    import subprocess

Images = Sequence[Path] | NDArray[np.uint8]
"""See Source.images."""

MANY = 2000
"""Images from which on processes start, which takes each of them a third of a second.

Threads decode and resize side by side, but hold the interpreter's lock for about a third of a small image's time.
"""

CHUNK = 8
"""Images that are decoded at a time, at most: few, because whoever interrupts waits for them."""

NAMED = 3
"""Of the images that can't be decoded, so many are reported with their errors; the rest are counted."""


class Target(NamedTuple):
    """Where pixels go: image i has the size² · 3 bytes from `begin` + i · size² · 3 on; squash: see `decode_file`."""

    file: Path
    begin: int
    size: int
    squash: bool


class Chunk(NamedTuple):
    """Images of a data set, of which the first is number `first`."""

    first: int
    images: Images


Decoder = Callable[[Chunk], list[str]]
"""Decodes and writes a chunk; returns the errors of its images that can't be decoded."""


def decode_into(target: Target, images: Images, progress: Callable[[int, int], None]) -> None:
    """Write the pixels of every image, decoded by all cores that this process may use; calls progress(done, total).

    Raises UserError only at the end, about all images that can't be decoded: a user should not find one an hour; and
    OSError where the file has no room.
    """
    length = max(1, min(CHUNK, len(images) // cores()))
    chunks = [Chunk(first, _some(images, first, length)) for first in range(0, len(images), length)]
    number = max(1, min(cores(), len(chunks)))
    bad: list[str] = []
    with _decoders(target, number, apart=len(images) >= MANY) as idle, ThreadPoolExecutor(number) as pool:

        def work(chunk: Chunk) -> list[str]:
            decoder = idle.get()
            try:
                return decoder(chunk)
            finally:
                idle.put(decoder)

        try:
            for chunk, errors in zip(chunks, pool.map(work, chunks), strict=True):
                bad += errors
                progress(chunk.first + len(chunk.images), len(images))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if bad:
        them = "it" if len(bad) == 1 else "them"
        raise UserError(f"{first_errors(bad)}; copy {them} again, or take {them} away")


def first_errors(bad: Sequence[object]) -> str:
    """The errors of images that can't be decoded in one line: the first NAMED, and how many more there are."""
    more = f"; {len(bad) - NAMED} more can't be decoded either" if len(bad) > NAMED else ""
    return f"{'; '.join(map(str, bad[:NAMED]))}{more}"


def decode_what_comes() -> None:
    """The work of a process of its own."""
    given, answers = sys.stdin.buffer, sys.stdout.buffer
    with suppress(EOFError, BrokenPipeError), _decoder(pickle.load(given)) as decoder:
        while True:
            pickle.dump(decoder(pickle.load(given)), answers)
            answers.flush()


def _some(images: Images, first: int, length: int) -> Images:
    some = images[first : first + length]
    # a list, because a process may not know the kind of sequence that a plugin made
    return some if isinstance(some, np.ndarray) else list(some)


@contextmanager
def _decoders(target: Target, number: int, *, apart: bool) -> Iterator[SimpleQueue[Decoder]]:
    """Inside, so many decoders, each in a process `apart`, if one can be started, or all in this one."""
    idle: SimpleQueue[Decoder] = SimpleQueue()
    with _decoder(target) as here, ExitStack() as stack:
        for _ in range(number):
            process = _started(target) if apart else None
            if process is not None:
                stack.callback(children.end, process)
            idle.put(here if process is None else _Remote(process, here))
        yield idle


@contextmanager
def _decoder(target: Target) -> Iterator[Decoder]:
    """Inside, the decoder of this process, for any number of threads."""
    with without_warnings(), target.file.open("r+b", buffering=0) as file:
        yield lambda chunk: _decode(chunk, target, file)


def _decode(chunk: Chunk, target: Target, file: IO[bytes]) -> list[str]:
    decode: Callable[..., NDArray[np.uint8]] = decode_array if isinstance(chunk.images, np.ndarray) else decode_file
    length = target.size**2 * 3
    errors = []
    for number, image in enumerate(chunk.images, start=chunk.first):
        try:
            pixels = decode(image, target.size, target.squash)
        except UserError as error:
            errors.append(str(error))
        else:
            # by its place, as threads share the file
            _write(file, pixels, target.begin + number * length)
    return errors


def _write(file: IO[bytes], pixels: NDArray[np.uint8], place: int) -> None:
    left = pixels.tobytes()
    while left:
        # a disk that is nearly full takes a part first, and says what is wrong only then
        written = os.pwrite(file.fileno(), left, place)
        left, place = left[written:], place + written


def _started(target: Target) -> subprocess.Popen[bytes] | None:
    """A process that decodes; None where the system refuses one more, as a container may."""
    try:
        process = children.start(__name__, decode_what_comes.__name__)
    except OSError:
        return None
    children.send(process, target)
    return process


class _Remote:
    """A decoder in a process of its own; once that has died, for whatever reason, the one in this process."""

    def __init__(self, process: subprocess.Popen[bytes], here: Decoder) -> None:
        self._process: subprocess.Popen[bytes] | None = process
        self._here = here

    def __call__(self, chunk: Chunk) -> list[str]:
        if self._process is not None:
            children.send(self._process, chunk)
            try:
                if not children.answer(self._process):
                    return []
            except (EOFError, OSError, pickle.UnpicklingError):
                self._process = None
        # also what the process could not decode: a plugin may have taught Pillow a format, here
        return self._here(chunk)
