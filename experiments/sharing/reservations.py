"""Which trials each running `ablate run` has taken on, so that no other process of this machine trains them as well.

A reservation is a JSON file with a lock beside it that its process holds for as long as it lives; what a killed process
reserved is free at once. Working copies that share a record see each other's reservations. Between machines there
are leases (see leases).
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from uuid import uuid4

from trainer.errors import UserError

from ..tracking.uris import embedded_record, tracking_uri
from ..training.folders import LOCK_MODE, STATE, cache_folder, is_held
from .process import TOKEN

PAUSE = 1.0
"""Seconds between two times at which a process tells how it goes."""


@dataclass(frozen=True)
class Reservation:
    """What one process has taken on."""

    host: str
    pid: int
    since: float
    """Seconds since the epoch."""

    trials: tuple[str, ...]
    """Names of trial folders: a trial on certain data."""

    folder: str
    """Its working folder, absolute."""

    ends: float | None = None
    """When it expects to have trained them all, seconds since the epoch."""

    process: str = ""
    """Its token (see process)."""

    shares: Mapping[str, str] = field(default_factory=dict)
    """Trial id of each that is being trained to what it has of the machine, in words."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {time.strftime('%H:%M', time.localtime(self.since))}"


class Held:
    """What this process has taken on."""

    def __init__(self, file: Path, others: Iterable[Reservation], trials: Iterable[str]) -> None:
        """Reserves `trials`, but for those of the others; called while the folder is locked."""
        self.others: dict[str, Reservation] = {}
        """Every trial that another process had when this one took trials on, with that process's reservation."""

        self._file = file
        self._reservation: dict[str, Any] = {**_process(), "trials": ()}
        self._take(others, trials)
        self._told = 0.0
        self._trained: set[str] = set()

    def add(self, trials: Iterable[str]) -> None:
        """Take on these as well, but for those that another process has: they are among `others` then."""
        from filelock import FileLock

        with FileLock(reservations_folder() / "lock", mode=LOCK_MODE):
            self._take(_of_others(), trials)

    def _take(self, others: Iterable[Reservation], trials: Iterable[str]) -> None:
        taken = {trial: reservation for reservation in others for trial in reservation.trials}
        self.others |= taken
        free = tuple(trial for trial in trials if trial not in taken)
        self._reservation["trials"] = (*self._reservation["trials"], *free)
        _write(self._file, self._reservation)

    def tell(self, ends: float | None, shares: Mapping[str, str]) -> None:
        """Let other processes know how it goes: once in `PAUSE` seconds, and when other trials train.

        A full disk is no error: the next news come soon.
        """
        if shares.keys() != self._trained or time.monotonic() - self._told > PAUSE:
            self._told, self._trained = time.monotonic(), set(shares)
            with suppress(OSError):
                _write(_news_of(self._file), {"ends": ends, "shares": dict(shares)})


@contextmanager
def reserved(trials: Iterable[str]) -> Iterator[Held]:
    """Inside, these trials are this process's, but for those that another has.

    Earlier reservations of this process stay in place.
    """
    from filelock import FileLock

    folder = reservations_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: can't be made ({error.strerror}); expected a folder that can be written") from error
    file = folder / f"{uuid4().hex}.json"
    # not of this thread: the one that writes the record may end it
    lock = FileLock(_lock_of(file), mode=LOCK_MODE, thread_local=False)
    try:
        with FileLock(folder / "lock", mode=LOCK_MODE):
            # before this process takes its own lock: asking for a lock that is held takes a while
            others = _of_others(tidy=True)
            lock.acquire()
            held = Held(file, others, trials)
        yield held
    finally:
        _delete(file)
        lock.release()
        _lock_of(file).unlink(missing_ok=True)


def reservations_of_others() -> dict[str, Reservation]:
    """Trial folder's name to who has reserved it, over all living processes but this one.

    Where machines share the record, also those of other machines, as they last said.
    """
    found: dict[str, Reservation] = {}
    if embedded_record() is None:
        from .board import reservations_in_record

        found = reservations_in_record(time.time())
    return found | {trial: reservation for reservation in _of_others() for trial in reservation.trials}


def _of_others(*, tidy: bool = False) -> list[Reservation]:
    """Those of the other living processes. tidy: delete those of dead ones; only while the folder is locked."""
    found = []
    for file in sorted(reservations_folder().glob("*.json")):
        reservation = _read(file)
        # its lock is held, and asking for a lock that is held takes a while
        if reservation is not None and reservation.process == TOKEN:
            continue
        if is_held(_lock_of(file)):
            if reservation is None and file.exists():
                raise UserError(f"{file}: can't be read; expected what a running `ablate` of this release has written")
            found += [reservation] if reservation is not None else []
        elif tidy:
            _delete(file)
            _lock_of(file).unlink(missing_ok=True)
    for lock in reservations_folder().glob("*.lock") if tidy else ():
        # of a process that was killed before it could write its reservation
        if not lock.with_suffix(".json").exists() and not is_held(lock):
            _delete(lock.with_suffix(".json"))
            lock.unlink(missing_ok=True)
    return found


def _read(file: Path) -> Reservation | None:
    """A reservation with its news; None where there is none, or what a power cut or another release has left."""
    try:
        data = json.loads(file.read_text())
        news = json.loads(_news_of(file).read_text()) if _news_of(file).exists() else {}
        known = {field.name for field in fields(Reservation)}
        said = {name: value for name, value in {**data, **news}.items() if name in known}
        return Reservation(**{**said, "trials": tuple(data["trials"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(file: Path, data: Mapping[str, object]) -> None:
    draft = file.with_suffix(".part")
    draft.write_text(json.dumps(data))
    draft.replace(file)


def _delete(file: Path) -> None:
    for mark in (file, _news_of(file), file.with_suffix(".part")):
        mark.unlink(missing_ok=True)


def _news_of(file: Path) -> Path:
    return file.with_suffix(".now")


def _lock_of(file: Path) -> Path:
    return file.with_suffix(".lock")


def _process() -> dict[str, object]:
    host, folder = socket.gethostname(), str(Path.cwd())
    return {"host": host, "pid": os.getpid(), "process": TOKEN, "since": time.time(), "folder": folder}


def reservations_folder() -> Path:
    """Where all processes of this machine that write to this record say what they have.

    Of a record in a file, beside it: two accounts, or a container and its host, share the file but no cache. Of one on
    a server, in the cache.
    """
    if (file := embedded_record()) is not None:
        return file.resolve().parent / STATE / "reservations" / file.name
    server = tracking_uri().rstrip("/")
    return cache_folder() / "reservations" / hashlib.blake2b(server.encode(), digest_size=12).hexdigest()


def living_processes() -> set[str]:
    """Tokens of the processes of this machine that have reserved anything in this record, and of this one."""
    return {reservation.process for reservation in _of_others()} | {TOKEN}
