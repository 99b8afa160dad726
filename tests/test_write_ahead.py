"""SQLite files with a log ahead: whole after a kill, single files at rest, never where machines share a folder."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from experiments.tracking import write_ahead
from experiments.tracking.write_ahead import is_local, rest

MOUNTS = """/dev/vda / ext4 rw 0 0
proc /proc proc rw 0 0
server:/home /home nfs4 rw 0 0
/dev/vdb /home/fast xfs rw 0 0
lustre /my\\040work lustre rw 0 0
"""
KILLED = """
import os, sqlite3
from pathlib import Path
from experiments.tracking import write_ahead
write_ahead._MOUNTS = Path("mounts")
write_ahead.write_ahead(Path("x.db"))
other = sqlite3.connect("x.db")
other.execute("CREATE TABLE rows (value)")
for value in range(50):
    with other:
        other.execute("INSERT INTO rows VALUES (?)", (value,))
other.execute("INSERT INTO rows VALUES (-1)")
os.kill(os.getpid(), 9)
"""


def mode(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "mounts"
    file.write_text(MOUNTS)
    monkeypatch.setattr(write_ahead, "_MOUNTS", file)
    return file


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize(
    ("file", "local"),
    [("/a/mlflow.db", True), ("/home/me/mlflow.db", False), ("/home/fast/x.db", True), ("/my work/a/x.db", False)],
)
def test_folders_that_machines_share_are_told(file: str, local: bool) -> None:
    assert is_local(Path(file)) == local


def test_where_it_is_not_known_the_file_stays_as_it_is(mounts: Path, tmp_path: Path) -> None:
    mounts.unlink()
    write_ahead.write_ahead(tmp_path / "x.db")
    assert not (tmp_path / "x.db").exists()


def test_a_killed_writer_leaves_what_it_had_committed(tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text("none / tmpfs rw 0 0\n")
    killed = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False)
    assert killed.returncode == -9
    file = tmp_path / "x.db"
    assert (tmp_path / "x.db-wal").stat().st_size > 0
    with closing(sqlite3.connect(f"file:{file}?mode=rw", uri=True)) as connection:
        assert connection.execute("SELECT value FROM rows").fetchall() == [(value,) for value in range(50)]
    rest(file)
    assert mode(file) == "delete"
    assert sorted(path.name for path in tmp_path.glob("x.db*")) == ["x.db"]


def test_it_rests_once_nobody_else_has_it_open(tmp_path: Path, mounts: Path) -> None:
    mounts.write_text("none / tmpfs rw 0 0\n")
    file = tmp_path / "x.db"
    write_ahead.write_ahead(file)
    assert mode(file) == "wal"
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE rows (value)")
        other.commit()
        rest(file)
        assert mode(file) == "wal"
        with other:
            other.execute("INSERT INTO rows VALUES (1)")
    rest(file)
    assert mode(file) == "delete"
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT value FROM rows").fetchall() == [(1,)]


def test_what_is_locked_or_no_database_is_left_to_who_uses_it(tmp_path: Path, mounts: Path) -> None:
    mounts.write_text("none / tmpfs rw 0 0\n")
    text, locked = tmp_path / "text.db", tmp_path / "locked.db"
    text.write_text("no database, only words that stand in the place of one, and more of them")
    before = text.read_bytes()
    with closing(sqlite3.connect(locked)) as connection:
        connection.execute("CREATE TABLE rows (value)")
        connection.execute("BEGIN EXCLUSIVE")
        for file in (text, locked):
            write_ahead.write_ahead(file)
            rest(file)
        connection.rollback()
    assert text.read_bytes() == before
    assert mode(locked) == "delete"
