"""What faults cost: each is really caused to a small study at random moments, and the damage is counted.

    python benchmarks/faults.py [--repeats 3] [--faults driver-killed,ctrl-c-twice] [--seed 0]

The study is that of the tests: 4 trials of 12 epochs on digits of 16 pixels, two at once on Ray, the record an SQLite
file in the working folder. A repetition starts it in a new folder, causes the fault a fraction of a second after a
number of epochs (drawn from 2 to 30 of 48) has been reported, and then repeats the command until it ends with code 0,
as a user would. `fault_kinds.py` has the faults.

Then it counts: trials whose results differ in any digit from an uninterrupted run's; points of metrics that are missing
from the record or there twice; runs recorded as running; processes that are left after 30 s; files that are left, Ray's
included; the most epochs that one trial trained again. Target: zero everywhere, and at most one epoch trained again.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
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
    reasons,
    trained_again,
)
from fault_kinds import FAULTS, RETRIES, Fault, Place  # noqa: E402

EPOCHS = 12
STUDY = """
study: faults
question: What is lost?
plugins: [fault_options.py]
recipe:
  dataset: {kind: digits, image_size: 16}
  architecture: {kind: resnet, block: basic, layers: [1, 1, 1, 1], width: 4, tweak: A}
  optimizer: {kind: sgd, lr: 0.05, momentum: 0.9}
  numerics: {precision: fp32}
  epochs: 12
  batch_size: 256
factors:
  stem: {plain: {}, deep: {architecture.tweak: D}}
  c: {schedule: {kind: cosine}}
  l: {loss.label_smoothing: 0.1}
designs:
  - grid: {stem: all}
  - add_one: [c, l]
"""
PROGRAM = "import orchestrator.watch as watch; watch.LEAST = 15; from orchestrator.cli import command; command()"


class Repetition:
    """One study in a folder of its own, to which a fault is caused."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.folder = place.folder
        # a short path, because Ray's sockets are in it
        self.temporary = Path(tempfile.mkdtemp(prefix="f-", dir="/tmp"))
        self.process = self.begin()

    def begin(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM, "run", "study.yaml", "--concurrency", "2", "--retries", str(RETRIES)]
        return subprocess.Popen(
            self.place.inside(command),
            cwd=self.folder,
            env={**environment(), **self.place.environment, "TMPDIR": str(self.temporary)},
            start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def wait_for(self, epochs: int) -> None:
        while epochs_reported(self.place.seen) < epochs and self.process.poll() is None:
            time.sleep(0.02)

    def to_the_end(self, code: int) -> tuple[str, int]:
        """What the command has said, and how often it was given until it ended with this code."""
        said = ""
        for given in range(1, 7):
            said += self.process.communicate()[0]
            # a cell that always fails must fail again at the second command, and nothing else may be trained again
            if self.process.returncode == code and (code == 0 or given == 2):
                return said, given
            self.process = self.begin()
        raise SystemExit(f"faults: the command ends with code {self.process.returncode}:\n{said[-3000:]}")


def environment() -> dict[str, str]:
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(HERE.parent)}


def write_study(folder: Path, cell: str | None) -> None:
    study = STUDY
    if cell:
        study = study.replace("add_one: [c", "add_one: [x, c").replace(
            "designs:", f"  x: {{schedule: {{kind: {cell}}}}}\ndesigns:"
        )
    (folder / "study.yaml").write_text(study, encoding="utf-8")
    shutil.copy(HERE / "fault_options.py", folder)


def uninterrupted(fault: Fault, room: Path) -> Path:
    """The folder of the same study, run without the fault; a fifth cell that always fails is left out."""
    cell = fault.cell if not fault.attempts else None
    folder = room / f"whole-{cell}"
    if not folder.exists():
        folder.mkdir()
        write_study(folder, cell)
        command = [sys.executable, "-c", PROGRAM, "run", "study.yaml", "--executor", "inline"]
        subprocess.run(command, cwd=folder, env=environment(), check=True, stdout=subprocess.DEVNULL)
    return folder


def repetition(fault: Fault, draws: random.Random, whole: Path, room: Path) -> list[int]:
    """The counts after one fault, as the columns of the table."""
    place = fault.place(room / "study")
    try:
        write_study(place.seen, fault.cell)
        study = Repetition(place)
        if fault.do:
            study.wait_for(draws.randrange(2, 31))
            time.sleep(draws.random() / 2)
            if study.process.poll() is not None:
                raise SystemExit(f"faults: it came after the end:\n{study.process.communicate()[0][-2000:]}")
            fault.do(study, draws)
        said, given = study.to_the_end(code=1 if fault.attempts else 0)
        if fault.said not in said:
            raise SystemExit(f"faults: {fault.said!r} was not said:\n{said[-3000:]}")
        end = time.monotonic() + 30
        while (left := processes_in(study.folder)) and time.monotonic() < end:
            time.sleep(0.2)
        # copied, as SQLite would resolve the record's real path, which outside the small disk is another file
        after = shutil.copytree(place.seen, room / "after")
        told = [reason for reason in reasons(after, place.record) if fault.said in reason]
        if fault.attempts and len(told) != given * fault.attempts:
            raise SystemExit(f"faults: {len(told)} failed attempts are recorded, expected {given * fault.attempts}")
        counted = [
            differing(after, whole),
            missing_or_twice(after, EPOCHS, place.record),
            left_running(after, place.record),
            len(left),
            len(files_left(after, study.temporary)),
            trained_again(after, EPOCHS),
        ]
        shutil.rmtree(study.temporary, ignore_errors=True)
    finally:
        place.end()
    return counted


def measure(fault: Fault, repeats: int, draws: random.Random, whole: Path) -> list[int] | str:
    """The counts over all repetitions: sums, and the maximum of the last column; or why it can't be done here."""
    rows = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as name:
            try:
                rows.append(repetition(fault, draws, whole, Path(name)))
            except OSError as error:
                return str(error)
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
        os.environ.setdefault("ABLATE_CACHE", str(Path(name) / "cache"))
        for kind in arguments.faults.split(","):
            counted = measure(FAULTS[kind], arguments.repeats, draws, uninterrupted(FAULTS[kind], Path(name)))
            if isinstance(counted, str):
                print(f"{kind} is left out: {counted}", file=sys.stderr)
                continue
            print(f"| {kind} | {arguments.repeats} | {' | '.join(map(str, counted))} |", flush=True)
            worst = list(map(max, worst, counted))
    met = not any(worst[:5]) and worst[5] <= 1
    print(f"\nnothing lost, nothing left, at most one epoch again: {'met' if met else 'missed'}")


if __name__ == "__main__":
    main()
