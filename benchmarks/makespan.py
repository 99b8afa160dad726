"""How long a whole ablation study takes: `ablate run` against a shell loop over timm's train.py and bare loops.

    python benchmarks/makespan.py --peer PATH/TO/pytorch-image-models [--data digits|glyphs] [--repeats 1]
                                  [--cells N] [--epochs N] [--out table.md] [--keep DIR]

The study: the cells of studies/bag_of_tricks.yaml under its profile `demo`, one seed: 18 trainings of one small
ResNet (tweaks A to D; every subset of cosine, label smoothing and mixup on A and B). `--data glyphs` trains them on
JPEG files instead. All sides train the same networks on the same images, in the same split, on the CPU, for the same
epochs in the same batches with the same optimizer, and evaluate after every epoch.

ablate run      the wall time of the whole command, from start to exit, its report included. Nothing is cached: a new
                folder, a new record, a new cache; of glyphs the files are there, decoding them is inside the time.
timm, defaults  the sum of the wall times of one train.py per cell, one after the other, given the experiment alone.
timm, best      the same with the fastest of some flags for speed and of 0, 1 and 2 workers. All are tried on the first
                cell and printed; the time to try them is not counted.
bare loops      the training loops alone: one process for all cells, all images in memory, imports not counted. The
                plain loop, and the same in channels last; the target is measured against the faster of the two.
bare, at once   the same on one thread each, as many at once as there are cores: the best that the machine could do.

Targets: at least 3 times as fast as timm's defaults, at least 2 times as fast as its best flags, at most 1.15 times
the sum of the bare loops. A target that is missed is printed and is no error.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from contest import STUDY, Contest, check_networks, export, make_contest
from machine import describe
from peer import Peer, SideFailed, tail

from experiments.language.wording import count
from trainer import allocator
from trainer.cores import cores
from trainer.errors import UserError

ROOT = STUDY.parent.parent
CORES = cores()
ABLATE = Path(sys.executable).with_name("ablate")


Outcome = tuple[float, float]
"""Seconds, and the mean over the cells of the last epoch's top-1, a fraction."""


@dataclass
class Side:
    """One way of training the cells, and its seconds in each repeat."""

    name: str
    run: Callable[[int], Outcome]
    """Trains all cells; takes the number of the repeat."""

    seconds: list[float] = field(default_factory=list)
    top1: float = 0.0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def say(line: str) -> None:
    print(line, flush=True)


def run_ours(contest: Contest, folder: Path, data: Path, environment: dict[str, str]) -> Outcome:
    """`ablate run` in a new folder with a new cache; seconds, and the mean top-1 of its results.csv."""
    cache, working, log = folder / "cache", folder / "working", folder / "ablate.log"
    for new in (cache, working):
        new.mkdir(parents=True)
    # glyphs are rendered already, but not decoded
    if (data / "glyphs").is_dir():
        os.symlink(data / "glyphs", cache / "glyphs")
    command = [str(ABLATE), "run", str(contest.study), "--profile", contest.profile, "--seeds", "1"]
    with log.open("w", encoding="utf-8") as output:
        begin = time.perf_counter()
        done = subprocess.run(
            command, cwd=working, env={**environment, "ABLATE_CACHE": str(cache)}, stdout=output, stderr=output
        )
        seconds = time.perf_counter() - begin
    if done.returncode:
        raise SideFailed(f"ablate run failed with exit code {done.returncode}:\n{tail(log)}")
    for line in log.read_text(encoding="utf-8").splitlines():
        if line.startswith("[") or "add up to" in line:
            say(f"  {line}")
    (results,) = working.glob("results/*/results.csv")
    with results.open(newline="", encoding="utf-8") as lines:
        accuracies = [float(row["top1"]) for row in csv.DictReader(lines)]
    assert len(accuracies) == len(contest.cells), results
    return seconds, statistics.mean(accuracies)


def run_bare(
    contest: Contest, folder: Path, environment: dict[str, str], flags: Sequence[str], at_once: int = 1
) -> Outcome:
    """Bare loops over all cells, shared out to `at_once` processes: seconds of the slowest, and the mean top-1."""
    names = [training.cell for training in contest.trainings]
    hands = [names[i::at_once] for i in range(min(at_once, len(names)))]
    script = [sys.executable, str(Path(__file__).with_name("bare.py")), str(folder), *flags]
    script += ["--threads", str(max(1, CORES // at_once)), "--cells"]
    processes = [
        subprocess.Popen([*script, *hand], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for hand in hands
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [process.communicate()[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    if any(process.returncode for process in processes):
        raise SideFailed("bare.py failed; what it said stands above")
    found = [[json.loads(line) for line in output.splitlines()] for output in outputs]
    seconds = [sum(row["seconds"] for row in rows) for rows in found]
    return max(seconds), statistics.mean(row["top1"] for rows in found for row in rows)


def make_sides(contest: Contest, peer: Peer | None, folder: Path, data: Path) -> dict[str, Side]:
    """Every side, by a short name."""
    environment = clean_environment()
    # with the allocator of our workers: a bare loop should show the best that the machine can do
    kept = {**environment, **allocator.SETTINGS}

    def bare(name: str, *flags: str, at_once: int = 1) -> Side:
        return Side(name, lambda repeat: run_bare(contest, folder, kept, flags, at_once))

    sides = {
        "ours": Side("ablate run", lambda repeat: run_ours(contest, folder / f"ours-{repeat}", data, environment)),
        "bare": bare(f"bare loops, {count(CORES, 'thread')}"),
        "bare nhwc": bare(f"bare loops, {count(CORES, 'thread')}, channels last", "--channels-last"),
        "limit": bare(f"bare loops, {CORES} at once, 1 thread each, channels last", "--channels-last", at_once=CORES),
    }
    if peer is not None:
        say("flags for speed of train.py, tried on the first cell:")
        fast = peer.fastest(say)
        sides["defaults"] = Side("timm, defaults", lambda repeat: peer.loop(folder / f"defaults-{repeat}", (), say))
        best = f"timm, {' '.join(fast)}"
        sides["best"] = Side(best, lambda repeat: peer.loop(folder / f"best-{repeat}", fast, say))
    return sides


def race(sides: dict[str, Side], repeats: int) -> None:
    """Let every side run, in turn and `repeats` times."""
    for repeat in range(1, repeats + 1):
        for side in sides.values():
            say(f"{side.name}{f', repeat {repeat} of {repeats}' if repeats > 1 else ''}:")
            seconds, side.top1 = side.run(repeat)
            side.seconds.append(seconds)
            say(f"  {seconds:.1f} s, mean top-1 {side.top1:.4f}")


def table(sides: dict[str, Side]) -> str:
    """A row per side, as Markdown; of several repeats the median, with the least and the greatest."""
    ours = sides["ours"].median
    lines = ["| side | wall, s | times ours | mean top-1 |", "|---|---|---|---|"]
    for side in sides.values():
        spread = f" ({min(side.seconds):.1f}–{max(side.seconds):.1f})" if len(side.seconds) > 1 else ""
        lines.append(f"| {side.name} | {side.median:.1f}{spread} | {side.median / ours:.2f} | {side.top1:.4f} |")
    return "\n".join(lines)


def verdicts(sides: dict[str, Side]) -> str:
    """The targets, met or missed, as Markdown."""
    ours = sides["ours"].median
    bare = min(sides["bare"].median, sides["bare nhwc"].median)
    judged = [
        (f"ablate run is {ours / bare:.2f} times the faster sum of bare loops", "at most 1.15", ours / bare <= 1.15)
    ]
    for name, words, least in (("defaults", "its defaults", 3.0), ("best", "its best flags", 2.0)):
        if name in sides:
            ratio = sides[name].median / ours
            judged.append((f"timm with {words} takes {ratio:.2f} times as long", f"at least {least:g}", ratio >= least))
    return "\n".join(f"- {what}; target {target}: {'met' if met else 'missed'}" for what, target, met in judged)


def conditions(contest: Contest, given: argparse.Namespace, peer: Peer | None) -> str:
    """The head of the output: what was raced, on which machine, with which versions."""
    shown = contest.trainings[0]
    epochs = count(shown.epochs, "epoch") + (" (not the profile's, on every side)" if given.epochs else "")
    cells = f"{len(contest.cells)} cells"
    if len(contest.cells) < contest.total:
        cells = f"only the first {len(contest.cells)} of {contest.total} cells, the others left out on every side"
    ours = git_version(ROOT)
    others = f"timm {version('timm')} (bare loops and ours), ray {version('ray')}"
    chance = 1 / (contest.dataset.num_classes() or 1)
    against = f"; peer: pytorch-image-models {peer.version()}" if peer else "; no peer"
    return "\n".join(
        [
            f"# Makespan of an ablation study on {given.data}",
            "",
            f"- race: {cells} x 1 seed, {contest.dataset.image_size} px, {epochs}, batch "
            f"{shown.batch_size}, SGD, float32, CPU; {count(given.repeats, 'repeat')}",
            "- every side: same networks, images, split, epochs, batch size and optimizer; evaluation after each epoch",
            f"- top-1: mean over the cells of the last epoch's, a fraction; guessing has {chance:.4f}",
            "- ablate run: the whole command with its report, from an empty cache; decoding inside, rendering outside",
            "- timm: the sum of one train.py process a cell, which it is told the experiment and the flags shown",
            "- bare loops: training and evaluation loops alone; imports, images and building networks outside",
            f"- machine: {describe()}; load before the start {os.getloadavg()[0]:.1f}",
            f"- versions: ablate {ours}, {others}{against}",
        ]
    )


def git_version(folder: Path) -> str:
    """The commit of a checkout, and whether it has changes; empty for another folder."""
    asked = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"]
    return subprocess.run(asked, capture_output=True, text=True).stdout.strip()


def clean_environment() -> dict[str, str]:
    """This process's environment without what would favour or hinder a side: no GPU, other cache, record or cluster."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ABLATE_", "MLFLOW_", "RAY_"))}
    return {**kept, "CUDA_VISIBLE_DEVICES": ""}


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", type=Path, metavar="DIR", help="checkout of pytorch-image-models (default: no peer)")
    parser.add_argument("--data", choices=["digits", "glyphs"], default="digits")
    parser.add_argument("--repeats", type=int, default=1, metavar="N", help="how often every side runs (default: 1)")
    parser.add_argument("--cells", type=int, metavar="N", help="only the first N cells, on every side")
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="epochs of a cell, on every side (default: the profile's)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the table there")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="working folder, new or empty, which is not deleted")
    arguments = parser.parse_args()
    if arguments.peer is not None and not (arguments.peer / "train.py").is_file():
        parser.exit(2, f"makespan: --peer {arguments.peer}: holds no train.py; expected pytorch-image-models\n")
    for name in ("repeats", "cells", "epochs"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            parser.exit(2, f"makespan: --{name} {getattr(arguments, name)}: expected at least 1\n")
    if arguments.keep is not None and arguments.keep.exists() and any(arguments.keep.iterdir()):
        parser.exit(2, f"makespan: --keep {arguments.keep}: is not empty; expected a new folder\n")
    if not ABLATE.is_file():
        parser.exit(2, f"makespan: {ABLATE}: missing; install this project for {sys.executable}\n")
    return arguments


def run(arguments: argparse.Namespace, folder: Path) -> None:
    """The whole benchmark in a working folder."""
    data = folder / "data"
    os.environ["ABLATE_CACHE"] = str(data)
    contest = make_contest(arguments.data, arguments.cells, folder, arguments.epochs)
    images = export(contest, folder)
    check_networks(contest)
    peer = Peer(arguments.peer.resolve(), contest, images, folder, clean_environment()) if arguments.peer else None
    head = conditions(contest, arguments, peer)
    say(f"{head}\n")
    sides = make_sides(contest, peer, folder, data)
    race(sides, arguments.repeats)
    text = f"{table(sides)}\n\n{verdicts(sides)}\n"
    say(f"\n{text}")
    if arguments.out is not None:
        arguments.out.write_text(f"{head}\n\n{text}", encoding="utf-8")


def main() -> int:
    arguments = read_arguments()
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    folder = arguments.keep.resolve() if arguments.keep else Path(tempfile.mkdtemp(prefix="makespan-"))
    try:
        run(arguments, folder)
    except (SideFailed, UserError) as error:
        print(f"makespan: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("makespan: interrupted", file=sys.stderr)
        return 130
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
