"""Downloads through torchvision's own loaders, and the one line that helps where the network is away."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainer.errors import UserError

STALLED = 30.0
"""Seconds without a byte after which a download is given up; torchvision's loaders would wait for ever."""


def download(load: Callable[[], object], name: str, target: Path, advice: str) -> None:
    """Call `load`, which downloads `name` into `target`; raises UserError with the reason and `advice`."""
    made = [folder for folder in (target, *target.parents) if not folder.exists()]
    try:
        target.mkdir(parents=True, exist_ok=True)
        with _timeout(STALLED):
            load()
    # what goes wrong between a mirror, a proxy, an archive and a disk has no common class below Exception
    except Exception as error:
        for folder in made:
            with suppress(OSError):  # holds what the download left
                folder.rmdir()
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"{target}: {name} could not be downloaded ({type(error).__name__}: {reason}); {advice}"
        ) from error


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
