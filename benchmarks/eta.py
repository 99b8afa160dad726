"""How right the time left is: every demo study is run, and what `plan` and the display said is compared with the clock.

    python benchmarks/eta.py [--studies bag_of_tricks,gcblock_resnet50v2] [--seeds 1]

plan        `ablate plan` in a new folder with an empty cache: its estimate, from measuring a few steps before anything
            has run, against the time of the whole study (from the start to the last trial, start-up included).
a tenth     the first line of `ablate run` at or after a tenth of the trials: the time left that it says, against the
            time that it took from there.
half        the same at half of the trials.

An error of +10 % means an estimate that was 10 % too long. Target: at most 20 % either way after the first tenth.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe

STUDIES = Path(__file__).resolve().parent.parent / "studies"
ABLATE = Path(sys.executable).with_name("ablate")
TARGET = 0.20


def demos() -> list[str]:
    """The studies that have a profile `demo` and cells of their own."""
    texts = {file.stem: file.read_text(encoding="utf-8") for file in sorted(STUDIES.glob("*.yaml"))}
    return [
        name for name, text in texts.items() if re.search(r"^  demo:", text, re.MULTILINE) and "\nsearch:" not in text
    ]


def errors(study: str, seeds: int | None, folder: Path) -> tuple[int, float, dict[str, float]]:
    """Trials, seconds of the run until its last trial, and the relative error of each estimate."""
    environment = {**os.environ, "ABLATE_CACHE": str(folder / "cache")}
    asked = [str(STUDIES / f"{study}.yaml"), "--profile", "demo", *(["--seeds", str(seeds)] if seeds else [])]
    planned = subprocess.run(
        [str(ABLATE), "plan", *asked, "--probe", "--json"],
        cwd=folder, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    # data that are yet to be rendered have no known size, so that there is no estimate
    seconds = json.loads(planned.stdout)["seconds"]
    told: dict[str, tuple[float, float]] = {"plan": (0.0, seconds)} if seconds else {}
    begin, last, trials = time.monotonic(), 0.0, 0
    with subprocess.Popen(
        [str(ABLATE), "run", *asked], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if not (match := re.match(r"\[ *(\d+)/(\d+)\]", line)):
                continue
            last, trials = time.monotonic() - begin, int(match[2])
            share = int(match[1]) / trials
            if left := re.search(r"(\d+):(\d\d)(?::(\d\d))? left", line):
                parts = [int(part) for part in left.groups() if part is not None]
                total = sum(part * 60**power for power, part in enumerate(reversed(parts)))
                for name, from_ in (("a tenth", 0.1), ("half", 0.5)):
                    if share >= from_:
                        told.setdefault(name, (last, total))
    if process.returncode:
        raise SystemExit(f"eta: {study} ended with exit code {process.returncode}")
    return trials, last, {name: left / (last - at) - 1 for name, (at, left) in told.items() if last > at}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", help="names, with commas between them (default: all)")
    parser.add_argument("--seeds", type=int)
    arguments = parser.parse_args()
    print(describe())
    print("| demo study | trials | seconds | plan | a tenth | half |\n|---|---|---|---|---|---|", flush=True)
    missed = []
    for study in arguments.studies.split(",") if arguments.studies else demos():
        with tempfile.TemporaryDirectory() as folder:
            trials, seconds, found = errors(study, arguments.seeds, Path(folder))
        cells = " | ".join(f"{found[name]:+.0%}" if name in found else "" for name in ("plan", "a tenth", "half"))
        print(f"| {study} | {trials} | {seconds:.0f} | {cells} |", flush=True)
        if abs(found.get("a tenth", 0.0)) > TARGET:
            missed.append(study)
    print(f"\nWithin 20 % after the first tenth: {'missed by ' + ', '.join(missed) if missed else 'met by all'}")


if __name__ == "__main__":
    main()
