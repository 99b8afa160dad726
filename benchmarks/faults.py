"""What faults cost: each is done to a small study for real, at random moments, and what it leaves is counted.

    python benchmarks/faults.py [--repeats 3] [--faults driver-killed,ctrl-c-twice] [--seed 0]

The study is the tests': 4 trials of 12 epochs on digits of 16 pixels, two at once on Ray, the record SQLite in the
working folder. A repetition begins it in a new folder, does the fault once so many epochs are reported (drawn from 2 to
30 of 48), a fraction of a second later, and then gives the same command until it ends with code 0, as a user would:

driver-killed   SIGKILL to `ablate run`                     sigterm         SIGTERM to it
worker-killed   SIGKILL to a worker                         ctrl-c-twice    SIGINT to all, and once more 0.3 s later
worker-hangs    SIGSTOP to a worker (silence of 25 s        record-locked   another process holds the database for 9 s
                is allowed instead of 120)                  disk-full       no room at all for 6 s, record included
raylet-killed   SIGKILL to Ray's raylet                     nan             one trial of a fifth cell diverges

Then it counts: trials whose results differ in any digit from an uninterrupted run's; points of metrics that are missing
from the record or there twice; runs recorded as running; processes that are left after 30 s; files that are left, Ray's
included; the most epochs that one trial trained again. Target: nothing anywhere, and at most one epoch.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from machine import describe

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from aftermath import (  # noqa: E402
    differing,
    epochs_reported,
    files_left,
    left_running,
    missing_or_twice,
    processes_in,
    trained_again,
)
from small_disk import SmallDisk  # noqa: E402

EPOCHS = 12
STUDY = """
study: faults
question: What is lost?
plugins: [explodes.py]
recipe:
  dataset: {{kind: digits, image_size: 16}}
  architecture: {{kind: resnet, block: basic, layers: [1, 1, 1, 1], width: 4, tweak: A}}
  optimizer: {{kind: sgd, lr: 0.05, momentum: 0.9}}
  numerics: {{precision: fp32}}
  epochs: {epochs}
  batch_size: 256
factors:
  stem: {{plain: {{}}, deep: {{architecture.tweak: D}}}}
  c: {{schedule: {{kind: cosine}}}}
  l: {{loss.label_smoothing: 0.1}}
  x: {{schedule: {{kind: explodes}}}}
designs:
  - grid: {{stem: all}}
  - add_one: [{added}]
"""
EXPLODES = '''
"""A schedule whose rate explodes."""
from typing import Literal
from experiments.options import Schedule


class Explodes(Schedule):
    """Trains well for three epochs."""

    kind: Literal["explodes"] = "explodes"

    def factor(self, moment):
        return 1.0 if moment.epoch < 3 else 1e30
'''
PROGRAM = "import orchestrator.watch as watch; watch.LEAST = 25; from orchestrator.cli import command; command()"


class Repetition:
    """One study in a folder of its own, and what is done to it."""

    def __init__(self, folder: Path, wait: float, disk: SmallDisk | None = None) -> None:
        self.folder = folder
        self.wait = wait
        self.disk = disk
        # short, because Ray's sockets are in it
        self.temporary = Path(tempfile.mkdtemp(prefix="f-", dir="/tmp"))
        self.process = self.begin()

    @property
    def files(self) -> Path:
        """The folder as it is seen from here."""
        return self.disk.seen if self.disk else self.folder

    def begin(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM, "run", "study.yaml", "--concurrency", "2"]
        return subprocess.Popen(
            self.disk.inside(command) if self.disk else command,
            cwd=self.folder, env={**environment(), "TMPDIR": str(self.temporary)}, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def wait_for(self, epochs: int) -> None:
        while epochs_reported(self.files) < epochs and self.process.poll() is None:
            time.sleep(0.02)
        time.sleep(self.wait)

    def kill(self, name: str, number: signal.Signals) -> None:
        found = processes_in(self.folder, name)
        if not found:
            raise SystemExit(f"faults: no process {name} in {self.folder}")
        os.kill(found[0], number)


def lock(of: Repetition) -> None:
    record = sqlite3.connect(of.folder / "mlflow.db", timeout=30, isolation_level=None)
    record.execute("BEGIN EXCLUSIVE")
    time.sleep(9)
    record.rollback()
    record.close()


def ctrl_c_twice(of: Repetition) -> None:
    os.killpg(of.process.pid, signal.SIGINT)
    time.sleep(0.3)
    if of.process.poll() is None:
        os.killpg(of.process.pid, signal.SIGINT)


def fill(of: Repetition) -> None:
    assert of.disk is not None
    room = threading.Event()
    threading.Timer(6, room.set).start()
    of.disk.fill(room)


FAULTS: dict[str, Callable[[Repetition], None]] = {
    "driver-killed": lambda of: of.process.kill(),
    "worker-killed": lambda of: of.kill("ray::ImplicitFunc", signal.SIGKILL),
    "worker-hangs": lambda of: of.kill("ray::ImplicitFunc", signal.SIGSTOP),
    "raylet-killed": lambda of: of.kill("raylet/raylet", signal.SIGKILL),
    "sigterm": lambda of: of.process.terminate(),
    "ctrl-c-twice": ctrl_c_twice,
    "record-locked": lock,
    "disk-full": fill,
    "nan": lambda of: None,
}


def environment() -> dict[str, str]:
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(HERE.parent)}


def write_study(folder: Path, fault: str = "") -> None:
    added = "c, l, x" if fault == "nan" else "c, l"
    (folder / "study.yaml").write_text(STUDY.format(epochs=EPOCHS, added=added), encoding="utf-8")
    (folder / "explodes.py").write_text(EXPLODES, encoding="utf-8")


def repetition(fault: str, draws: random.Random, whole: Path, room: Path) -> list[int]:
    """What is counted after one fault: the columns of the table."""
    folder, disk = room / "study", None
    if fault == "disk-full":
        disk = SmallDisk(folder, 48)
    else:
        folder.mkdir()
    try:
        write_study(disk.seen if disk else folder, fault)
        of = Repetition(folder, draws.random() / 2, disk)
        of.wait_for(draws.randrange(2, 31))
        if of.process.poll() is not None:
            raise SystemExit(f"faults: {fault} came after the end:\n{of.process.communicate()[0][-2000:]}")
        FAULTS[fault](of)
        output, code = of.process.communicate()[0], of.process.returncode
        for _ in range(1 if fault == "nan" else 5):
            if code == 0:
                break
            of.process = of.begin()
            output, code = of.process.communicate()[0], of.process.returncode
        if code != (1 if fault == "nan" else 0):
            raise SystemExit(f"faults: after {fault} the command ends with code {code}:\n{output[-2000:]}")
        end = time.monotonic() + 30
        while (left := processes_in(folder)) and time.monotonic() < end:
            time.sleep(0.2)
        # SQLite would look for the record's real path, which is another file out here
        after = shutil.copytree(of.files, room / "after")
        counted = [
            differing(after, whole), missing_or_twice(after, EPOCHS), left_running(after), len(left),
            len(files_left(after, of.temporary)), trained_again(after, EPOCHS),
        ]  # fmt: skip
        shutil.rmtree(of.temporary, ignore_errors=True)
    finally:
        if disk:
            disk.end()
    return counted


def measure(fault: str, repeats: int, draws: random.Random, whole: Path) -> list[int] | None:
    """The columns over all repetitions: sums, and of the last one the maximum; None where it can't be done here."""
    rows = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as name:
            try:
                rows.append(repetition(fault, draws, whole, Path(name)))
            except OSError as error:
                print(f"{fault} is left out: {error}", file=sys.stderr)
                return None
    *sums, again = zip(*rows, strict=True)
    return [*map(sum, sums), max(again)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if unknown := set(arguments.faults.split(",")) - set(FAULTS):
        parser.error(f"unknown fault {sorted(unknown)[0]!r}; expected some of {', '.join(FAULTS)}")
    draws = random.Random(arguments.seed)
    print(describe())
    print("\n| fault | repetitions | results that differ | metrics missing or twice | runs left RUNNING ", end="")
    print("| processes left | files left | epochs trained again |\n|---|---|---|---|---|---|---|---|", flush=True)
    worst = [0] * 6
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name)
        os.environ.setdefault("ABLATE_CACHE", str(whole / "cache"))
        write_study(whole)
        command = [sys.executable, "-c", PROGRAM, "run", "study.yaml", "--executor", "inline"]
        subprocess.run(command, cwd=whole, env=environment(), check=True, stdout=subprocess.DEVNULL)
        for fault in arguments.faults.split(","):
            counted = measure(fault, arguments.repeats, draws, whole)
            if counted is not None:
                print(f"| {fault} | {arguments.repeats} | {' | '.join(map(str, counted))} |", flush=True)
                worst = list(map(max, worst, counted))
    met = not any(worst[:5]) and worst[5] <= 1
    print(f"\nnothing lost, nothing left, at most one epoch again: {'met' if met else 'missed'}")


if __name__ == "__main__":
    main()
