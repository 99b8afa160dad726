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
    """Inside, these trials are this process's, but for those that another has: they are yielded, with its claim."""
    from filelock import FileLock

    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{uuid4().hex}.json"
    draft, lock = file.with_suffix(".part"), FileLock(_lock_of(file))
    try:
        with FileLock(folder / "lock"):
            others = _live(tidy=True)
            taken = {trial: claim for claim in others for trial in claim.trials}
            mine = tuple(trial for trial in trials if trial not in taken)
            lock.acquire()
            draft.write_text(json.dumps(asdict(Claim(socket.gethostname(), os.getpid(), time.time(), mine))))
            draft.replace(file)
        yield taken
    finally:
        draft.unlink(missing_ok=True)
        file.unlink(missing_ok=True)
        lock.release()
        _lock_of(file).unlink(missing_ok=True)


def claims_of_others() -> dict[str, Claim]:
    """Trial folder's name to who has claimed it, over all living processes but this one."""
    return {trial: claim for claim in _live() if claim.pid != os.getpid() for trial in claim.trials}


def _live(*, tidy: bool = False) -> list[Claim]:
    """The claims of living processes; `tidy` deletes the others', which only the holder of the folder's lock may."""
    found = []
    for file in sorted(_folder().glob("*.json")):
        if is_held(_lock_of(file)):
            try:
                claim = json.loads(file.read_text())
            except FileNotFoundError:
                continue
            found.append(Claim(claim["host"], claim["pid"], claim["since"], tuple(claim["trials"])))
        elif tidy:
            file.unlink(missing_ok=True)
            _lock_of(file).unlink(missing_ok=True)
    for lock in _folder().glob("*.lock") if tidy else ():
        # of a process that was killed before it could write its claim
        if not lock.with_suffix(".json").exists() and not is_held(lock):
            lock.with_suffix(".part").unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
    return found


def _lock_of(file: Path) -> Path:
    return file.with_suffix(".lock")


def _folder() -> Path:
    return state_folder() / "claims"
