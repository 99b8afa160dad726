"""Whether MLflow could open the record and write to it, checked without importing MLflow."""

from __future__ import annotations

import shlex
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from experiments.language.wording import count
from experiments.tracking.databases import DATABASES
from experiments.tracking.uris import KINDS, NO_FOLDER, embedded_record, is_folder, is_unknown, scheme, shown_uri
from trainer.errors import UserError
from trainer.files import existing

from .finding import Finding, size
from .folders import refusal
from .schema import QUERY, check_schema, problem
from .servers import database, server

PATIENCE = 2.0
"""Seconds to wait for a lock; a write of `ablate run` takes milliseconds."""

READING = 5.0
"""Seconds after which checking the integrity of a large file is given up."""


def record() -> Iterator[Finding]:
    """A finding on the record that MLFLOW_TRACKING_URI names, else on the working folder's SQLite file."""
    file = embedded_record()
    if file is not None:
        yield embedded(file)
    elif scheme() in ("http", "https"):
        yield server()
    elif scheme() in DATABASES:
        yield database()
    elif is_folder():
        yield problem(f"{shown_uri()}: a folder, which MLflow no longer writes to", NO_FOLDER)
    elif is_unknown():
        yield problem(f"{shown_uri()}: a kind of record that MLflow doesn't know", KINDS)
    else:
        remedy = f"{KINDS}; `ablate run` will tell"
        yield Finding("warning", "record", f"{shown_uri()}: a kind of record that isn't checked", remedy)


def embedded(file: Path, patience: float = PATIENCE, reading: float = READING) -> Finding:
    """A finding on an SQLite file: its folder, locks, integrity and schema; waits `patience` seconds for a lock."""
    if file.is_dir():
        return problem(f"{file}: is a folder, expected a file", "move it away")
    if file.exists() and not file.is_file():
        return problem(f"{file}: is no file, expected one, or nothing", "set MLFLOW_TRACKING_URI elsewhere")
    if lost := _lost(file):
        return problem(f"{file}: {lost}", "bring the folder back, or remove the link")
    folder = existing(file.resolve().parent)
    if (reason := refusal(folder)) is not None:
        remedy = "make the folder writable: SQLite keeps its journal beside the file"
        return problem(f"{file}: nothing can be written to {folder} ({reason})", remedy)
    if not file.exists():
        return Finding("ok", "record", f"{file}: SQLite, not there yet; `ablate run` makes it")
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(file.absolute()))}?mode=rw", uri=True, timeout=patience, isolation_level=None
        )
        try:
            return _opened(file, connection, reading)
        finally:
            connection.close()
    except sqlite3.Error as error:
        return _refused(file, error)


def check_fit() -> None:
    """Raise UserError for an SQLite file that is not a record of the installed MLflow; other faults show later."""
    file = embedded_record()
    if file is not None and (lost := _lost(file)):
        raise UserError(f"the record at {file}: {lost}")
    if file is None or not file.exists():
        return
    if file.is_dir():
        raise UserError(f"the record at {file}: is a folder, expected a file")
    if not file.is_file():
        raise UserError(f"the record at {file}: is no file, expected one, or nothing")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode=ro", uri=True, timeout=0)) as connection:
            found = _contents(file, connection)
    except sqlite3.Error as error:
        if (getattr(error, "sqlite_errorcode", 0) & 0xFF) not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return
        found = _damaged(file, str(error))
    if isinstance(found, Finding):
        raise UserError(f"the record at {found.found}; {found.remedy}")


def _lost(file: Path) -> str:
    """Says of a link that it leads into a folder that is not there; empty where it does not."""
    gone = file.is_symlink() and not file.exists() and not file.resolve().parent.is_dir()
    return f"leads to {file.readlink()}, whose folder is not there" if gone else ""


def _opened(file: Path, connection: sqlite3.Connection, reading: float) -> Finding:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ROLLBACK")
    damage = _damage(connection, reading)
    if damage:
        return _damaged(file, damage)
    runs = _contents(file, connection)
    if isinstance(runs, Finding):
        return runs
    if runs is None:
        return Finding("ok", "record", f"{file}: SQLite, empty; `ablate run` makes its tables")
    found = f"{file}: SQLite, {size(file.stat().st_size)}, {count(runs, 'run')}"
    unread = "" if damage is not None else "; too large to be read through here"
    return Finding("ok", "record", f"{found}{unread}")


def _contents(file: Path, connection: sqlite3.Connection) -> int | Finding | None:
    """The number of runs in the file, or what is wrong with its tables; None if it has no tables yet."""
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return None
    try:
        (schema,) = connection.execute(QUERY).fetchone() or ("",)
        (runs,) = connection.execute("SELECT count(*) FROM runs").fetchone()
    except sqlite3.OperationalError as error:
        if not str(error).startswith("no such "):
            raise
        return problem(
            f"{file}: SQLite, but no record of MLflow's", "move it away, or set MLFLOW_TRACKING_URI elsewhere"
        )
    return check_schema(schema) or int(runs)


def _damage(connection: sqlite3.Connection, reading: float) -> str | None:
    """What SQLite finds damaged, or "" if nothing is; None if reading takes too long."""
    end = time.monotonic() + reading
    connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
    try:
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None
        raise
    finally:
        connection.set_progress_handler(None, 0)
    return "" if said == "ok" else " ".join(str(said).split())


def _refused(file: Path, error: sqlite3.Error) -> Finding:
    # the low byte is the error, the others say where it arose
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        remedy = f"wait for it or end it; `{shlex.join(['fuser', str(file)])}` names it"
        return problem(f"{file}: another process holds its lock", remedy)
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return _damaged(file, str(error))
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return problem(
            f"{file}: can't be written to ({error})", f"make it yours: {shlex.join(['chmod', 'u+rw', str(file)])}"
        )
    return problem(f"{file}: can't be opened ({error})", "see whether its disk is full or broken")


def _damaged(file: Path, reason: str) -> Finding:
    recover = shlex.join(["sqlite3", str(file), ".recover"])
    remedy = (
        f"move it away, {file.name}-wal and -shm with it, and put a backup in its place, or what `{recover}` still "
        "reads; without either, trials are trained again"
    )
    return problem(f"{file}: damaged ({reason[:160]})", remedy)
