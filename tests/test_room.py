"""A full disk is told from other errors, and waited for without anything being written twice."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch

from trainer import full_disk
from trainer.full_disk import NoRoom, is_full, with_room
from trainer.recorder import Journal

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_disk, "PAUSE", 0.0)
    monkeypatch.setattr(full_disk, "PATIENCE", 0.2)


class Disk:
    """Full for the first tries."""

    def __init__(self, tries: int) -> None:
        self.tries = tries

    def write(self) -> None:
        self.tries -= 1
        if self.tries >= 0:
            raise FULL


def test_room_is_waited_for_but_not_for_ever(tmp_path: Path) -> None:
    disk = Disk(3)
    with_room(tmp_path, disk.write)
    assert disk.tries == -1
    with pytest.raises(NoRoom, match=f"no space left on the disk of {tmp_path} for 0 s; make room there") as caught:
        with_room(tmp_path, Disk(10**9).write)
    assert is_full(caught.value)


def test_other_errors_are_not_waited_for(tmp_path: Path) -> None:
    calls = []

    def write() -> None:
        calls.append(1)
        raise PermissionError("no")

    with pytest.raises(PermissionError):
        with_room(tmp_path, write)
    assert len(calls) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("who", ["Python", "torch", "journal", "SQLite"])
def test_it_is_told_whoever_reports_it(who: str) -> None:
    # opened as it is: what writes a file by renaming another one, as safetensors does, would replace the device
    device = Path("/dev/full")
    reports: dict[str, Callable[[], object]] = {
        "Python": lambda: device.write_bytes(b"x"),
        "torch": lambda: saved(device),
        "journal": lambda: Journal(device).append({"top1": 1.0}),
        "SQLite": sqlite_full,
    }
    caught = None
    try:
        reports[who]()
    except Exception as error:
        caught = error
    assert is_full(caught)
    assert is_full(RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"))
    assert not is_full(OSError(errno.EACCES, "no"))


def saved(file: Path) -> None:
    with file.open("wb") as handle:
        torch.save({"a": torch.zeros(100_000)}, handle)


def sqlite_full() -> None:
    with closing(sqlite3.connect(":memory:")) as record:
        record.execute("PRAGMA max_page_count = 2")
        record.execute("CREATE TABLE t (x)")
        record.execute("INSERT INTO t VALUES (zeroblob(100000))")


def test_a_journal_never_holds_half_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append({"top1": 0.5})
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda number: Disk(1).write())
        with pytest.raises(OSError, match="No space"):
            journal.append({"top1": 0.75})
    journal.append({"top1": 1.0})
    assert journal.read() == [{"top1": 0.5}, {"top1": 1.0}]
