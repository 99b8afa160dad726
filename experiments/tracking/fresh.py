"""A record that does not exist yet appears whole or not at all: one with half its tables MLflow would never open.

MLflow makes its tables by replaying all of their migrations, which takes seconds. That is done once a machine and
version of MLflow, in the cache, and copied from there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import time
from contextlib import ExitStack, closing, suppress
from glob import escape
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from trainer.errors import UserError
from trainer.full_disk import is_full

from ..training.folders import cache_folder, in_turn, locked
from .attempts import is_begun
from .moved import ARTIFACTS
from .write_ahead import rest, write_ahead

_LOGS = ("-journal", "-wal", "-shm")
"""What SQLite calls its files beside a database, after the database's name."""

_FRESH_BYTES = 8 * 2**20
"""What a record takes while it is made, logs of its changes included."""


def begin_record(file: Path) -> None:
    """Make an empty record, unless another process has; raises UserError where there is no room or place for one."""
    if file.exists() and not file.is_file():
        # a device, such as /dev/null, which a record would take the place of
        raise UserError(f"the record at {file}: is no file, expected one, or nothing")
    # a link to a file that is not there yet stays one
    file = file.resolve()
    blank = cache_folder() / "records" / f"mlflow-{version('mlflow')}.db"
    # of its own: processes of two accounts, or of a container and its host, have no lock in common
    draft = file.with_name(f".{file.name}.{uuid4().hex[:8]}.begun")
    with locked(str(blank)):
        if not _is_whole(blank):
            _make(blank)
    try:
        with ExitStack() as until_named:
            with in_turn(file.parent):
                held = until_named.enter_context(draft.open("xb"))
                # for as long as this process lives: see _remove_abandoned
                with suppress(OSError):
                    fcntl.flock(held, fcntl.LOCK_EX)
            shutil.copyfile(blank, draft)
            _add_default(draft)
            with in_turn(file.parent):
                _name(draft, file)
    except OSError as error:
        if is_full(error):
            raise _no_room(file.parent) from error
        raise
    finally:
        draft.unlink(missing_ok=True)
    _remove_abandoned(file)


def _remove_abandoned(file: Path) -> None:
    """Remove drafts of this record that killed processes have left: nobody holds them any more."""
    for draft in file.parent.glob(f".{escape(file.name)}.*.begun"):
        # alone: between being made and being held, a draft would look abandoned
        with suppress(OSError), in_turn(file.parent), draft.open("rb") as found:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.unlink()


def _add_default(draft: Path) -> None:
    """Add the experiment that MLflow expects, which writes it as text, in SQL that a quote in the path breaks."""
    now = int(time.time() * 1000)
    place = str(Path.cwd() / ARTIFACTS / "0")
    with closing(sqlite3.connect(draft)) as connection, connection:
        # no file beside the draft, which a kill would leave
        connection.execute("PRAGMA journal_mode=MEMORY")
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time,"
            " last_update_time) VALUES (0, 'Default', ?, 'active', ?, ?)",
            (place, now, now),
        )


def _name(draft: Path, file: Path) -> None:
    """Give the draft the record's name, unless there is a record by now, which may hold results."""
    if not is_begun(file):
        # of a record that was deleted or moved away: SQLite would take what they hold into this one
        for log in _LOGS:
            Path(f"{file}{log}").unlink(missing_ok=True)
    try:
        os.link(draft, file)
    except OSError:
        # there is one; or an empty file; or the file system has no second names
        if not is_begun(file):
            draft.replace(file)


def _make(blank: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    blank.parent.mkdir(parents=True, exist_ok=True)
    draft = blank.with_suffix(".part")
    # what a killed process may have left
    _remove(draft)
    try:
        write_ahead(draft)
        # artifacts of the default experiment, which is not kept, would lie nowhere: see _add_default
        SqlAlchemyStore(f"sqlite:///{draft}", "s3://nowhere").engine.dispose()  # type: ignore[no-untyped-call]
        rest(draft)
        with closing(sqlite3.connect(draft)) as connection, connection:
            connection.execute("DELETE FROM experiments")
        draft.replace(blank)
    except Exception as error:
        _remove(draft)
        # MLflow tries again on a full disk, and then says what it made of the half-made file
        if is_full(error) or shutil.disk_usage(blank.parent).free < _FRESH_BYTES:
            raise _no_room(blank.parent) from error
        raise


def _is_whole(blank: Path) -> bool:
    if not blank.exists():
        return False
    try:
        with closing(sqlite3.connect(blank)) as connection:
            connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    except sqlite3.DatabaseError:
        return False


def _no_room(folder: Path) -> UserError:
    return UserError(f"no space left in {folder} for a new record; make room there")


def _remove(draft: Path) -> None:
    for suffix in ("", *_LOGS):
        Path(f"{draft}{suffix}").unlink(missing_ok=True)
