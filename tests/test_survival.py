"""Nothing is lost: processes killed and hung in the middle of a study; the same command then ends as if nothing was."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aftermath import differing, left_running, missing_or_twice
from gates import gated
from test_schedule import (
    METRICS,
    PATIENCE,
    Uninterrupted,
    WriteStudy,
    ablate,
    command,
    ray_processes,
    results,
    wait_until,
)

from experiments.sharing.reservations import reservations_folder

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("record")]
EPOCHS = 12
LONG = (("epochs: 2", f"epochs: {EPOCHS}"),)


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Short, because Ray's sockets are in it; nothing of anyone else's is."""
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def begin(study: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("run", str(study), *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def epochs_reported() -> int:
    return sum(len(file.read_text().splitlines()) for file in Path(".ablate/trials").glob("*/journal.jsonl"))


def wait_for_epochs(number: int, process: subprocess.Popen[str]) -> None:
    wait_until(lambda: epochs_reported() >= number or process.poll() is not None, f"{number} epochs")


def processes(name: str) -> list[int]:
    """Ids of this test's processes whose command line or title has `name`."""
    found = []
    for process in ray_processes():
        try:
            line = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if name in line:
            found.append(process)
    return found


def nothing_is_left(temporary: Path) -> None:
    wait_until(lambda: not ray_processes(), "every process to end")
    assert [path.name for path in temporary.iterdir()] == []
    assert [path.name for path in reservations_folder().iterdir()] == ["lock"]
    kept = {path.name for path in Path(".ablate/trials").glob("*/*")}
    assert kept <= {"journal.jsonl", "log.txt", "lock"}


def nothing_is_lost(whole: Path, kills: int) -> None:
    """The results equal an uninterrupted run's, and all is recorded as well."""
    assert differing(Path(), whole) == 0
    all_is_recorded_once(kills)


def all_is_recorded_once(kills: int) -> None:
    """Each metric is in the record, no run is left open, and little was trained twice."""
    assert missing_or_twice(Path(), EPOCHS) == 0
    assert left_running(Path()) == 0
    trained = sum(
        len(re.findall(r"epoch \d+: ", file.read_text())) for file in Path(".ablate/trials").glob("*/log.txt")
    )
    assert trained <= 4 * EPOCHS + 2 * kills, "at most one epoch of each running trial was trained again"


def test_a_killed_driver(study_file: WriteStudy, uninterrupted: Uninterrupted, own_temporary_folder: Path) -> None:
    study = study_file(*LONG)
    moments = random.Random(0)
    kills = 2
    for kill in range(kills):
        process = begin(study, "--concurrency", "2")
        wanted = min(epochs_reported() + 1 + moments.randrange(12), 4 * EPOCHS - 1) if kill else 0
        wait_for_epochs(wanted, process)
        time.sleep(moments.random())
        process.kill()
        process.communicate()
    ablate("run", str(study), "--concurrency", "2")
    nothing_is_left(own_temporary_folder)
    nothing_is_lost(uninterrupted(study), kills)


def test_a_worker_killed_while_it_starts(
    study_file: WriteStudy, uninterrupted: Uninterrupted, own_temporary_folder: Path
) -> None:
    """Ray starts another one after a while; for a worker of its own accord it would wait for ever, deaf to signals."""
    study = study_file(*LONG)
    process = begin(study, "--concurrency", "2")

    def workers() -> set[int]:
        # Ray's node has a worker's command among its arguments
        return {*processes("program.py")} - {*processes("raylet/raylet ")}

    wait_until(workers, "a worker's start")
    os.kill(workers().pop(), signal.SIGKILL)
    assert "report: results/" in process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0
    nothing_is_left(own_temporary_folder)
    nothing_is_lost(uninterrupted(study), 1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_killed_or_hanging_worker_is_replaced_by_the_same_command(
    number: signal.Signals, study_file: WriteStudy, uninterrupted: Uninterrupted, own_temporary_folder: Path
) -> None:
    study = study_file(*LONG)
    # a hundred times an epoch, and several times what a worker needs for its start
    limits = "import orchestrator.watch as watch; watch.LEAST, watch.START = 15, 120"
    arguments = [
        sys.executable,
        "-c",
        f"{limits}; from orchestrator.cli import command; command()",
        "run",
        str(study),
        "--concurrency",
        "2",
    ]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for_epochs(3, process)
    os.kill(processes("ray::ImplicitFunc")[0], number)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    reason = "its worker hangs: no report for" if number == signal.SIGSTOP else "the worker died"
    assert output.count(f"failed and will be tried again: {reason}") == 1, output
    assert "raylet" not in output
    nothing_is_left(own_temporary_folder)
    nothing_is_lost(uninterrupted(study), 1)


def test_workers_killed_when_their_trials_have_ended(
    study_file: WriteStudy, uninterrupted: Uninterrupted, own_temporary_folder: Path
) -> None:
    """Tune has yet to end a trial whose result the driver has already told: no failure of that trial."""
    study = study_file(*LONG)
    lines, kills = [], 0
    with begin(study, "--concurrency", "2", "--retries", "3") as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "top-1" in line and kills < 2:
                kills += 1
                for worker in processes("ray::ImplicitFunc"):
                    os.kill(worker, signal.SIGKILL)
    assert process.returncode == 0, "".join(lines)
    assert not [line for line in lines if "FAILED" in line or "failed: " in line]
    assert len([line for line in lines if re.match(r"\[ ?\d+/\d+\]", line)]) == 4
    nothing_is_left(own_temporary_folder)
    nothing_is_lost(uninterrupted(study), 4)


def test_a_killed_ray(study_file: WriteStudy, uninterrupted: Uninterrupted, own_temporary_folder: Path) -> None:
    study = gated(study_file, EPOCHS)
    process = begin(study, "--concurrency", "2")
    wait_for_epochs(3, process)
    os.kill(processes("raylet/raylet")[0], signal.SIGKILL)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, output
    assert "Ray has died, none of its nodes answers; what is finished is recorded, and the same" in output
    assert "Traceback" not in output
    Path("shut").unlink()
    ablate("run", str(study), "--executor", "inline")
    nothing_is_left(own_temporary_folder)
    nothing_is_lost(uninterrupted(study), 2)


HUNGRY = '''
"""A schedule that runs out of memory once."""
from contextlib import suppress
from pathlib import Path
from typing import Literal
from experiments.options import Schedule
from trainer.hooks import Moment


class Hungry(Schedule):
    """Runs out of memory in the second epoch of the first trial that gets there."""

    kind: Literal["hungry"] = "hungry"

    def factor(self, moment: Moment) -> float:
        if moment.epoch >= 1:
            with suppress(FileExistsError):
                Path("short").touch(exist_ok=False)
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 TB")
        return 1.0
'''


def test_short_of_memory_a_trial_goes_on_with_more_of_the_machine(
    study_file: WriteStudy, own_temporary_folder: Path
) -> None:
    Path("hungry.py").write_text(HUNGRY)
    study = study_file(*LONG, ("{kind: cosine}", "{kind: hungry}"), ("\nstudy:", "\nplugins: [hungry.py]\nstudy:"))
    done = ablate("run", str(study), "--concurrency", "2", "--retries", "0")
    told = "seed 0  failed and goes on with 2 cores instead of 1 core: the host is out of memory at batch_size 256"
    assert done.stdout.count(told) == 1, done.stdout
    nothing_is_left(own_temporary_folder)
    rows = {row["cell"]: row for row in results()}
    assert [row["status"] for row in rows.values()] == ["finished"] * 4
    assert [rows["plain+c"][name] for name in METRICS] == [rows["plain"][name] for name in METRICS], (
        "its rate is constant"
    )
    all_is_recorded_once(1)
