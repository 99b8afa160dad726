"""The peer: train.py of a checkout of pytorch-image-models, one process per cell, one after the other.

train.py runs from the checkout with the checkout's own timm (Python puts the script's folder first), so that both are
from one commit. It gets only the options that describe the experiment, and the flags in FAST. Its trainings differ
from ours in these points only, which are in its favour or don't matter: it drops the last, incomplete batch of each
epoch; its mixup draws one weight per batch and pairs the batch with itself reversed, where ours draws one per pair; it
evaluates 64 images at a time, ours 256; its random numbers are its own. `--opt momentum` is SGD without Nesterov. A
constant rate is `--sched step` that decays after the last epoch, because `--sched none` fails in train.py.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from contest import Contest, Training

NETWORKS = Path(__file__).with_name("raced_networks.py")

FAST = (("--amp", "--amp-dtype", "bfloat16", "--channels-last"), ("--channels-last",))
"""Sets of flags for speed that are tried; bfloat16 is not faster on every processor."""

WORKERS = (0, 1, 2)
"""Numbers of data loading processes that are tried with each set; train.py's default is 4."""

AS_STORED = ("--no-aug",)
SHORTER_SIDE = (
    *("--train-crop-mode", "rkrc", "--scale", "1", "1", "--ratio", "1", "1"),
    *("--hflip", "0", "--color-jitter", "0", "--train-interpolation", "bilinear"),
)
"""Resizes the shorter side and cuts out the centre, as ours does; `--no-aug` would squash images that aren't square."""


class SideFailed(Exception):
    """A side ended with an error, or did not train what it was told."""


@dataclass(frozen=True)
class Peer:
    """A checkout, the images for it, and the folder for its output."""

    checkout: Path
    contest: Contest
    images: Path
    folder: Path
    environment: dict[str, str]

    @property
    def log(self) -> Path:
        return self.folder / "peer.log"

    def version(self) -> str:
        """Release and commit of the checkout."""
        text = (self.checkout / "timm" / "version.py").read_text(encoding="utf-8")
        release = re.search(r"'([^']+)'", text)
        asked = ["git", "-C", str(self.checkout), "rev-parse", "--short", "HEAD"]
        commit = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
        return f"{release[1] if release else 'unknown'}{f' ({commit})' if commit else ''}"

    def command(self, training: Training, output: Path, flags: Sequence[str] = ()) -> list[str]:
        """The command that trains one cell. output: the folder in which train.py makes one of the cell's name."""
        dataset, size = self.contest.dataset, str(self.contest.dataset.image_size)
        # the cosine changes at every step, as ours does
        schedule = ["cosine", "--sched-on-updates"] if training.cosine else ["step", "--decay-epochs", "1000"]
        return [
            *(sys.executable, "train.py", "--data-dir", str(self.images), "--device", "cpu"),
            *("--device-modules", "raced_networks", "--model", "raced_resnet", "--model-kwargs"),
            *(f"tweak={training.tweak}", f"width={training.width}", f"layers={training.layers}".replace(" ", "")),
            *("--num-classes", str(dataset.num_classes()), "--input-size", "3", size, size),
            *("--mean", *map(str, dataset.mean), "--std", *map(str, dataset.std)),
            *("--interpolation", "bilinear", "--crop-pct", "1.0"),
            *(SHORTER_SIDE if dataset.model_dump()["kind"] == "glyphs" else AS_STORED),
            *("--epochs", str(training.epochs), "--warmup-epochs", "0", "--cooldown-epochs", "0"),
            *("--batch-size", str(training.batch_size), "--opt", "momentum", "--lr", str(training.lr)),
            *("--momentum", str(training.momentum), "--weight-decay", "0", "--sched", *schedule),
            *("--smoothing", str(training.smoothing), "--mixup", str(training.mixup)),
            *("--output", str(output), "--experiment", training.cell, *flags),
        ]

    def run(self, training: Training, output: Path, flags: Sequence[str] = ()) -> tuple[float, float]:
        """Train one cell; seconds from start to exit, and the last top-1 as a fraction."""
        command = self.command(training, output, flags)
        environment = self._environment()
        with self.log.open("a", encoding="utf-8") as log:
            print(f"\n$ {' '.join(command)}", file=log, flush=True)
            begin = time.perf_counter()
            code = subprocess.run(
                command, cwd=self.checkout, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            ).returncode
            seconds = time.perf_counter() - begin
        if code:
            raise SideFailed(f"train.py failed with exit code {code} on {training.cell}:\n{tail(self.log)}")
        return seconds, self._top1(training, output)

    def loop(self, output: Path, flags: Sequence[str], say: Callable[[str], None]) -> tuple[float, float]:
        """The shell loop over all cells: the sum of their seconds, the mean of their last top-1."""
        seconds, accuracies = 0.0, []
        for training in self.contest.trainings:
            spent, top1 = self.run(training, output, flags)
            say(f"  {training.cell}: {spent:.1f} s, top-1 {top1:.4f}")
            seconds += spent
            accuracies.append(top1)
        return seconds, sum(accuracies) / len(accuracies)

    def fastest(self, say: Callable[[str], None]) -> tuple[str, ...]:
        """The fastest of all combinations of FAST and WORKERS on the first cell; says the seconds of each."""
        tried: dict[tuple[str, ...], float] = {}
        for fast, workers in product(FAST, WORKERS):
            flags = (*fast, "--workers", str(workers))
            output = self.folder / f"tried{''.join(flags)}"
            try:
                tried[flags], _ = self.run(self.contest.trainings[0], output, flags)
                say(f"  {' '.join(flags)}: {tried[flags]:.1f} s")
            except SideFailed:
                say(f"  {' '.join(flags)}: fails ({tail(self.log, 1).strip()})")
        if not tried:
            raise SideFailed(f"train.py failed with all of its flags:\n{tail(self.log)}")
        return min(tried, key=lambda flags: tried[flags])

    def _environment(self) -> dict[str, str]:
        """An environment in which raced_networks.py can be imported, but nothing else of this folder."""
        plugin = self.folder / "plugin"
        plugin.mkdir(exist_ok=True)
        shutil.copy(NETWORKS, plugin)
        return {**self.environment, "PYTHONPATH": str(plugin)}

    def _top1(self, training: Training, output: Path) -> float:
        file = output / training.cell / "summary.csv"
        with file.open(newline="", encoding="utf-8") as lines:
            epochs = list(csv.DictReader(lines))
        if len(epochs) != training.epochs:
            raise SideFailed(f"{file}: holds {len(epochs)} epochs, expected {training.epochs}")
        return float(epochs[-1]["eval_top1"]) / 100


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log."""
    return os.linesep.join(log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()[-lines:])
