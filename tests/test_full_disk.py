"""A disk that fills up while trials train: it is waited for, nothing is damaged, and what is said fits in a line."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aftermath import (
    differing,
    epochs_reported,
    files_left,
    left_running,
    missing_or_twice,
    processes_in,
    trained_again,
)
from small_disk import SmallDisk
from test_schedule import PATIENCE, Uninterrupted, WriteStudy, wait_until
from test_survival import EPOCHS, LONG

from trainer.errors import UserError

pytestmark = pytest.mark.slow
IMPATIENT = """
import experiments.tracking.delivery, trainer.full_disk
experiments.tracking.delivery.PATIENCE = trainer.full_disk.PATIENCE = 0.5
"""


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    folder.rmdir()


@pytest.fixture
def disk(tmp_path: Path, record: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallDisk]:
    # a logger of MLflow's prints what it then raises
    monkeypatch.delenv("MLFLOW_LOGGING_LEVEL")
    try:
        disk = SmallDisk(tmp_path / "disk", 48)
    except OSError as error:
        pytest.skip(str(error))
    shutil.copy(record, disk.seen)
    yield disk
    disk.end()


def begin(disk: SmallDisk, study: Path, *arguments: str, first: str = "") -> subprocess.Popen[str]:
    program = f"{first}\nfrom orchestrator.cli import command; command()"
    command = disk.inside([sys.executable, "-c", program, "run", str(study), *arguments])
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def nothing_is_lost(disk: SmallDisk, whole: Path, tmp_path: Path, temporary: Path) -> None:
    wait_until(lambda: not processes_in(disk.folder), "every process to end")
    # SQLite would look for the record's real path, which is another file out here
    after = shutil.copytree(disk.seen, tmp_path / "after")
    assert differing(after, whole) == 0
    assert missing_or_twice(after, EPOCHS) == 0
    assert left_running(after) == 0
    assert files_left(after, temporary) == []


def test_full_for_a_while_it_is_waited_for(
    study_file: WriteStudy, uninterrupted: Uninterrupted, disk: SmallDisk, tmp_path: Path, temporary: Path
) -> None:
    study = study_file(*LONG)
    process = begin(disk, study, "--concurrency", "2")
    wait_until(lambda: epochs_reported(disk.seen) >= 8 or process.poll() is not None, "epochs")
    room = threading.Event()
    threading.Timer(6, room.set).start()
    disk.fill(room)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    place = disk.folder / "mlflow.db"
    assert f"the record at {place} is away, training goes on (its disk is full; make room there)" in output
    assert f"the record at {place} is back, nothing is lost" in output
    assert "Traceback" not in output
    assert trained_again(disk.seen, EPOCHS) == 0, "nobody was sent away"
    nothing_is_lost(disk, uninterrupted(study), tmp_path, temporary)


def test_full_to_the_end_it_is_said_and_the_same_command_goes_on(
    study_file: WriteStudy, uninterrupted: Uninterrupted, disk: SmallDisk, tmp_path: Path, temporary: Path
) -> None:
    study = study_file(*LONG)
    process = begin(disk, study, "--executor", "inline", "--retries", "0", first=IMPATIENT)
    wait_until(lambda: epochs_reported(disk.seen) >= 20 or process.poll() is not None, "epochs")
    room = threading.Event()
    filling = threading.Thread(target=disk.fill, args=(room,), daemon=True)
    filling.start()
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, output
    assert "Traceback" not in output
    failed = [line for line in output.splitlines() if line.startswith("failed: ")]
    assert failed
    assert all(f"no space left on the disk of {disk.folder}/.ablate/trials/" in line for line in failed)
    begun = begin(disk, study, "--executor", "inline")
    early, _ = begun.communicate(timeout=PATIENCE)
    assert begun.returncode in (1, 2), early
    assert "Traceback" not in early
    full = [
        f"ablate: the record at {disk.folder}/mlflow.db can't be written: its disk is full; make room there",
        f"ablate: no space left for {disk.folder}; make room, and the same command goes on",
    ]
    assert early.splitlines()[-1] in full
    room.set()
    filling.join()
    again = begin(disk, study, "--executor", "inline")
    output, _ = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, output
    assert trained_again(disk.seen, EPOCHS) <= 2
    nothing_is_lost(disk, uninterrupted(study), tmp_path, temporary)


def test_where_ray_does_not_start_a_line_says_so_and_where_it_has_no_room_the_folder(
    monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    from orchestrator import schedule

    def times_out(**settings: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(schedule.engine.ray, "init", times_out)
    said = r"^Ray does not start here \(The current node timed out during startup\); `--executor inline` trains"
    with pytest.raises(UserError, match=said), schedule.start(cpus=1):
        pass
    monkeypatch.setattr(schedule.engine, "_LOG_BYTES", 2**60)
    with pytest.raises(UserError, match=f"no space left in {temporary} for Ray's files"), schedule.start(cpus=1):
        pass


@pytest.mark.parametrize(("full", "megabytes"), [("folder", 2), ("cache", 5)])
def test_no_room_for_a_new_record_is_said(
    full: str, megabytes: int, tmp_path: Path, study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        disk = SmallDisk(tmp_path / "tiny", megabytes)
    except OSError as error:
        pytest.skip(str(error))
    try:
        place = disk.folder
        if full == "cache":
            place = disk.folder / "cache" / "records"
            monkeypatch.setenv("ABLATE_CACHE", str(place.parent))
        (disk.seen / "filler").write_bytes(b"x" * 1_500_000)
        process = begin(disk, study_file(), "--executor", "inline")
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 2, output
        assert output.splitlines()[-1] == f"ablate: no space left in {place} for a new record; make room there"
        assert [file.name for file in disk.seen.iterdir() if "mlflow" in file.name] == []
    finally:
        disk.end()
