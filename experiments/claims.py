"""Which trials each running `ablate run` of a working folder has taken on, so that no other trains them as well.

A claim is a JSON file with a lock beside it that its process holds for as long as it lives; what a killed process
claimed is free at once.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from .folders import is_held, state_folder


@dataclass(frozen=True)
class Claim:
    """What one process has taken on."""

    host: str
    pid: int
    since: float
    """Seconds since the epoch."""

    trials: tuple[str, ...]
    """Names of trial folders: a trial on certain data."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {time.strftime('%H:%M', time.localtime(self.since))}"


@contextmanager
def claimed(trials: Iterable[str]) -> Iterator[dict[str, Claim]]:
    """Inside, these trials are this process's, but for those that another has: they are yielded, with its claim.

    What this process has claimed before stays so, and is not yielded.
    """
    from filelock import FileLock

    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{uuid4().hex}.json"
    lock = FileLock(_lock_of(file))
    with FileLock(folder / "lock"):
        others = _of_others(tidy=True)
        taken = {trial: claim for claim in others for trial in claim.trials}
        mine = tuple(trial for trial in trials if trial not in taken)
        lock.acquire()
        draft = file.with_suffix(".part")
        draft.write_text(json.dumps(asdict(Claim(socket.gethostname(), os.getpid(), time.time(), mine))))
        draft.replace(file)
    try:
        yield taken
    finally:
        file.unlink(missing_ok=True)
        lock.release()
        _lock_of(file).unlink(missing_ok=True)


def claims_of_others() -> dict[str, Claim]:
    """Trial folder's name to who has claimed it, over all living processes but this one."""
    return {trial: claim for claim in _of_others() for trial in claim.trials}


def _of_others(*, tidy: bool = False) -> list[Claim]:
    """The claims of living processes but this one; `tidy` deletes the dead's, as only the folder's locker may."""
    found = []
    for file in sorted(_folder().glob("*.json")):
        try:
            data = json.loads(file.read_text())
        except FileNotFoundError:
            continue
        claim = Claim(data["host"], data["pid"], data["since"], tuple(data["trials"]))
        # to ask for a lock that is held takes a while
        if (claim.host, claim.pid) == (socket.gethostname(), os.getpid()):
            continue
        if is_held(_lock_of(file)):
            found.append(claim)
        elif tidy:
            file.unlink(missing_ok=True)
            _lock_of(file).unlink(missing_ok=True)
    return found


def _lock_of(file: Path) -> Path:
    return file.with_suffix(".lock")


def _folder() -> Path:
    return state_folder() / "claims"
