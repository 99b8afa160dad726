"""Everything that needs a GPU, in one call: the CUDA tests, then the races, then one table.

Needs torch, torchvision, timm, scipy, pydantic and pytest, and what they need; not ray, mlflow or optuna. Races:

- steady state: the trainer against a bare loop over resident tensors (steady_state.py);
- throughput: ResNet-50 at 224 px in bf16 from images of 256 px, without augmentation, with random resized crop and
  flip, with full augmentation, and with the images on the host instead of the GPU;
- what determinism costs; what torch.compile saves per step, and costs before the first step;
- packing: one, two and four trials of ResNet-18 at 32 px at once on one GPU, in images a second of all together.

    PYTHONPATH=. python benchmarks/gpu.py [--quick] [--only PART ...] [--out FILE]

PART is tests, steady, throughput or packing. All take about eight minutes, with `--quick` four: fewer steps and rounds,
so that its figures are no verdict. FILE has the page after each row; beside it, `FILE.tests.txt` says what pytest said.
`--device cpu` runs the same races on tiny inputs, to try the script itself where there is no GPU.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import steady_state
import timm
import torch
from machine import as_a_worker, describe
from synthetic import Constant, hooks_of, noise, sgd
from torch.nn import functional

from trainer import train
from trainer.allocator import forget_peak
from trainer.numerics import Numerics
from trainer.recorder import Epoch

PARTS = ("tests", "steady", "throughput", "packing")

TESTS_MOST = 300
"""Seconds that the tests may take."""

EAGER_TARGET = 5400
"""Target for ResNet-50 at 224 px with full augmentation on an H200, in images a second."""

CROPPED: dict[str, Any] = {"random_resized_crop": {}, "flip": {}}
FULL: dict[str, Any] = {
    **CROPPED,
    "rotation": {"degrees": 15},
    "color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "cutout": {"length": 56},
    "mixup": {"alpha": 0.2},
}


@dataclass(frozen=True)
class Training:
    """One throughput measurement."""

    network: str = "resnet50"
    size: int = 224
    stored: int = 256
    batch: int = 256
    steps: int = 20
    refinements: str = "none"
    resident: bool = True
    numerics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Speed:
    """The measured speed and memory of a training."""

    images_per_second: float
    first_epoch_seconds: float
    memory_gib: float


SETS: dict[str, dict[str, Any]] = {"none": {}, "crop + flip": CROPPED, "full": FULL}


def measure(training: Training, device: torch.device, epochs: int) -> Speed:
    """Train on noise; the speed is the median of the epochs after the first."""
    count = training.batch * training.steps
    data = noise(count, training.size, device, stored=training.stored, resident=training.resident)
    # memory that earlier trainings left would count as this one's
    gc.collect()
    forget_peak()
    outcome = train(
        build_model=lambda: timm.create_model(training.network, num_classes=10),
        build_optimizer=sgd,
        schedule=Constant(),
        loss=functional.cross_entropy,
        data=data,
        epochs=epochs + 1,
        batch_size=training.batch,
        seed=0,
        hooks=hooks_of(refinements(training), data, training.batch),
        numerics=Numerics.model_validate(training.numerics),
        recorder=_ForgetsFirst(),
    )
    rates = [epoch["images_per_second"] for epoch in outcome.history]
    memory = torch.cuda.max_memory_reserved() / 2**30 if device.type == "cuda" else 0.0
    return Speed(median(rates[1:]), count / rates[0], memory)


class _ForgetsFirst:
    """Memory is that of the epochs after the first, in which algorithms are tried."""

    def epoch(self, number: int, metrics: Epoch) -> None:
        if number == 1:
            forget_peak()


def refinements(training: Training) -> dict[str, Any]:
    """The training's set of refinements, with a cutout in proportion to its images."""
    found = dict(SETS[training.refinements])
    if "cutout" in found:
        found["cutout"] = {"length": training.size // 4}
    return found


def throughput(device: torch.device, base: Training, epochs: int, quick: bool) -> Iterator[str]:
    """Rows of the throughput table; all are measured in this process, one after another."""
    deterministic, compiled = {"deterministic": True}, {"compile": True}
    trainings = {
        "no augmentation": base,
        "random resized crop, flip": replace(base, refinements="crop + flip"),
        "full augmentation": replace(base, refinements="full"),
        "full augmentation, images on the host": replace(base, refinements="full", resident=False),
        "full augmentation, deterministic": replace(base, refinements="full", numerics=deterministic),
        "full augmentation, compiled": replace(base, refinements="full", numerics=compiled),
    }
    yield "| training | images/s | of no augmentation | first epoch, s | GiB |"
    yield "|---|---|---|---|---|"
    # what a process does only once, such as loading kernels, would count for the first row alone
    measure(replace(base, steps=2), device, 1)
    reference = 0.0
    reached = dict[str, float]()
    for name, training in trainings.items():
        try:
            speed = measure(training, device, epochs)
        except Exception as error:
            # such as a missing compiler; the other rows are still wanted
            yield f"| {name} | failed: {one_line(error)} | | | |"
            continue
        reached[name] = speed.images_per_second
        reference = reference or speed.images_per_second
        yield (
            f"| {name} | {speed.images_per_second:,.0f} | {speed.images_per_second / reference:.3f} "
            f"| {speed.first_epoch_seconds:.1f} | {speed.memory_gib:.1f} |"
        )
    if device.type == "cuda" and not quick and (eager := reached.get("full augmentation")):
        yield ""
        yield f"Target of {EAGER_TARGET:,} images/s on an H200: {'met' if eager >= EAGER_TARGET else 'missed'}"


def one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200].replace("|", "/")


def packing(device: torch.device, quick: bool) -> Iterator[str]:
    """Rows of the packing table. Trials run in processes of their own with a CUDA context each, like Ray's workers."""
    yield "| trials at once | images/s of each | images/s together | of one alone |"
    yield "|---|---|---|---|"
    alone = 0.0
    for count in (1, 2, 4):
        command = [sys.executable, __file__, "--packed", "--device", device.type]
        command += ["--quick"] if quick else []
        pipe = subprocess.PIPE
        running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(count)]
        begin_together(running)
        outputs = [process.communicate()[0] for process in running]
        if any(process.returncode for process in running):
            yield f"| {count} | failed; what it said stands above | | |"
            continue
        rates = [float(output.split()[-1]) for output in outputs]
        alone = alone or sum(rates)
        yield f"| {count} | {sum(rates) / count:,.0f} | {sum(rates):,.0f} | {sum(rates) / alone:.2f} |"


def begin_together(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Wait until each has said that it is warm, then let all of them begin."""
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        # that one has died is noticed by its exit code
        with suppress(BrokenPipeError):
            process.stdin.write("begin\n")
            process.stdin.flush()


def packed(device: torch.device, quick: bool) -> float:
    """Images a second of one of several trials that begin their measured epochs together."""
    # on a GPU long enough for all of them to overlap
    steps = 2 if device.type == "cpu" else 100 if quick else 200
    small = Training("resnet18", 32, 40, 128, steps, "crop + flip")
    measure(replace(small, steps=2), device, 1)
    print("warm", flush=True)
    sys.stdin.readline()
    return measure(small, device, 2 if quick else 6).images_per_second


def cuda_tests(log: Path | None) -> str:
    """The last line that pytest prints over tests/test_cuda.py; all that it prints goes to `log`."""
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", "--tb=short", "-rfE", "-p", "no:cacheprovider"]
    # the project takes warnings for errors; here they may come from other releases of what it needs
    command += ["-W", "default", "tests/test_cuda.py"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    where = Path(__file__).parent.parent
    try:
        done = subprocess.run(
            command, cwd=where, env=environment, capture_output=True, text=True, check=False, timeout=TESTS_MOST
        )
    except subprocess.TimeoutExpired as late:
        show((late.stdout or b"").decode(errors="replace")[-4000:])
        return f"not done after {TESTS_MOST} s"
    said = done.stdout + done.stderr
    if log:
        log.write_text(said, encoding="utf-8")
    lines = said.strip().splitlines()
    if done.returncode:
        show("\n".join(lines[-60:]))
    return lines[-1] if lines else "pytest printed nothing"


def show(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def report(device: torch.device, quick: bool, only: Sequence[str], out: Path | None) -> Iterator[str]:
    """The page, line by line as it is measured."""
    tiny = device.type == "cpu"
    base = Training("resnet18", 32, 40, 16, 2) if tiny else Training(steps=8 if quick else 20)
    epochs = 2 if quick or tiny else 5
    yield describe()
    if "tests" in only:
        yield from ("", "### CUDA tests", "", cuda_tests(out.with_name(f"{out.name}.tests.txt") if out else None))
    if "steady" in only and not tiny:
        yield from ("", "### Steady state", "")
        yield steady_state.table(device, list(steady_state.CASES[device.type]), 3 if quick else 7)
    if "throughput" in only:
        yield from ("", "### Throughput", "")
        yield from throughput(device, base, epochs, quick)
    gc.collect()
    # what this process holds, those that are raced lack
    forget_peak()
    if "packing" in only:
        yield from ("", "### Packing", "")
        yield from packing(device, quick or tiny)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="fewer steps and rounds")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--out", type=Path, help="write the page there as well")
    parser.add_argument("--packed", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device here; --device cpu tries the script itself")
    as_a_worker()
    device = torch.device(given.device)
    if given.packed:
        print(packed(device, given.quick))
        return
    page = ""
    for line in report(device, given.quick, given.only, given.out):
        page += f"{line}\n"
        print(line, flush=True)
        if given.out:
            # written after each row: a machine that is lent may be gone before the end
            given.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
