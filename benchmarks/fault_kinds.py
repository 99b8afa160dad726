"""The faults that `faults.py` causes to a study.

driver-killed   SIGKILL to `ablate run`                     sigterm         SIGTERM to it
worker-killed   SIGKILL to a worker                         ctrl-c-twice    SIGINT to all, and once more 0.3 s later
worker-hangs    SIGSTOP to a worker (silence of 15 s        record-locked   another process holds the database for 9 s
                is allowed instead of 120)                  disk-full       no room at all for 6 s, record included
raylet-killed   SIGKILL to Ray's raylet                     server-killed   SIGKILL to MLflow's server on PostgreSQL,
out-of-memory   a trial of a fifth cell asks for 64 TB                      started again up to 6 s later
                while any other trains                      database-down   the same with PostgreSQL below it
nan             a trial of a fifth cell diverges            always-fails    one raises, whenever it is tried (3 times)
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Protocol

from aftermath import processes_in
from servers import MlflowServer, Postgres
from small_disk import SmallDisk


class Study(Protocol):
    """A study that is running."""

    folder: Path
    process: Popen[str]
    place: Place


class Place:
    """Where a study runs while it suffers a fault: in a working folder, with an SQLite file in it as the record."""

    record: str | None = None
    """SQLAlchemy's URI of the record's database; None: it is in the working folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = self.seen = folder
        self.environment: dict[str, str] = {}
        self.open()

    def open(self) -> None:
        self.folder.mkdir()

    def inside(self, command: list[str]) -> list[str]:
        return command

    def end(self) -> None:
        """End everything that was started; only the folder stays."""


class OnSmallDisk(Place):
    """The working folder is on a disk of 48 MB."""

    def open(self) -> None:
        self.disk = SmallDisk(self.folder, 48)
        self.seen = self.disk.seen

    def inside(self, command: list[str]) -> list[str]:
        return self.disk.inside(command)

    def end(self) -> None:
        self.disk.end()


class OnServer(Place):
    """The record is an MLflow server on PostgreSQL."""

    def open(self) -> None:
        super().open()
        self.postgres = Postgres()
        self.record = self.postgres.uri
        self.files = tempfile.TemporaryDirectory()
        self.server = MlflowServer(self.postgres.uri, Path(self.files.name))
        # MLflow's own retries would hide ours
        self.environment = {"MLFLOW_TRACKING_URI": self.server.uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}

    def end(self) -> None:
        self.server.kill()
        self.postgres.end()
        self.files.cleanup()


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong."""

    do: Callable[[Study, random.Random], None] | None = None
    """Called once, in the middle of the training; None: a fifth cell causes the fault."""

    cell: str | None = None
    """The kind of schedule of that fifth cell, from `fault_options.py`."""

    place: type[Place] = Place
    said: str = ""
    """What the command must say; if the fifth cell always fails, the record as well."""

    attempts: int = 0
    """How often each command tries a fifth cell that always fails."""


def killed(name: str, number: signal.Signals) -> Fault:
    def do(study: Study, draws: random.Random) -> None:
        found = processes_in(study.folder, name)
        if not found:
            raise SystemExit(f"faults: no process {name} in {study.folder}")
        os.kill(draws.choice(found), number)

    return Fault(do)


def ctrl_c_twice(study: Study, draws: random.Random) -> None:
    os.killpg(study.process.pid, signal.SIGINT)
    time.sleep(0.3)
    if study.process.poll() is None:
        os.killpg(study.process.pid, signal.SIGINT)


def lock(study: Study, draws: random.Random) -> None:
    record = sqlite3.connect(study.folder / "mlflow.db", timeout=30, isolation_level=None)
    record.execute("BEGIN EXCLUSIVE")
    time.sleep(9)
    record.rollback()
    record.close()


def fill(study: Study, draws: random.Random) -> None:
    assert isinstance(study.place, OnSmallDisk)
    room = threading.Event()
    threading.Timer(6, room.set).start()
    study.place.disk.fill(room)


def server_killed(study: Study, draws: random.Random) -> None:
    assert isinstance(study.place, OnServer)
    study.place.server.kill()
    time.sleep(6 * draws.random())
    study.place.server.start()


def database_down(study: Study, draws: random.Random) -> None:
    assert isinstance(study.place, OnServer)
    study.place.postgres.kill()
    time.sleep(6 * draws.random())
    study.place.postgres.start()


RETRIES = 2
AWAY = "is away, training goes on"
FAULTS: dict[str, Fault] = {
    "driver-killed": Fault(lambda study, draws: study.process.kill()),
    "worker-killed": killed("ray::ImplicitFunc", signal.SIGKILL),
    "worker-hangs": killed("ray::ImplicitFunc", signal.SIGSTOP),
    "raylet-killed": killed("raylet/raylet", signal.SIGKILL),
    "sigterm": Fault(lambda study, draws: study.process.terminate()),
    "ctrl-c-twice": Fault(ctrl_c_twice),
    "server-killed": Fault(server_killed, place=OnServer, said=AWAY),
    "database-down": Fault(database_down, place=OnServer, said=AWAY),
    "record-locked": Fault(lock),
    "disk-full": Fault(fill, place=OnSmallDisk),
    "out-of-memory": Fault(cell="hungry", said="goes on with 2 cores instead of 1 core"),
    "nan": Fault(cell="explodes", said="Diverged: the training loss became", attempts=1),
    "always-fails": Fault(cell="raises", said="ValueError: no training today", attempts=1 + RETRIES),
}
