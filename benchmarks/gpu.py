"""Everything that needs a GPU, in one call: the CUDA tests, then the races, then one table.

Needs torch, torchvision, timm, scipy, pydantic and pytest, and what they need; not ray, mlflow or optuna. Races:

- steady state: the trainer against a bare loop over resident tensors (steady_state.py);
- throughput: ResNet-50 at 224 px in bf16 from images of 256 px, without augmentation, with random resized crop and
  flip, with full augmentation, and with the images on the host instead of the GPU;
- what determinism costs; what torch.compile saves per step, and costs before the first step;
- packing: one, two and four trials of ResNet-18 at 32 px at once on one GPU, in images a second of all together.

    PYTHONPATH=. python benchmarks/gpu.py [--quick] [--skip-tests] [--out FILE]

`--device cpu` runs the same races on tiny inputs, to try the script itself where there is no GPU.
"""

from __future__ import annotations

import argparse
import gc
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


def throughput(device: torch.device, base: Training, epochs: int) -> list[str]:
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
    rows = ["| training | images/s | of no augmentation | first epoch, s | GiB |", "|---|---|---|---|---|"]
    reference, verdicts = 0.0, list[str]()
    for name, training in trainings.items():
        try:
            speed = measure(training, device, epochs)
        except Exception as error:
            # such as a missing compiler; the other rows are still wanted
            rows.append(f"| {name} | failed: {one_line(error)} | | | |")
            show(rows[-1])
            continue
        reference = reference or speed.images_per_second
        rows.append(
            f"| {name} | {speed.images_per_second:,.0f} | {speed.images_per_second / reference:.3f} "
            f"| {speed.first_epoch_seconds:.1f} | {speed.memory_gib:.1f} |"
        )
        show(rows[-1])
        if name == "full augmentation" and device.type == "cuda":
            verdict = "met" if speed.images_per_second >= EAGER_TARGET else "missed"
            verdicts += ["", f"Target of {EAGER_TARGET:,} images/s on an H200: {verdict}"]
            show(verdicts[-1])
    return rows + verdicts


def one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200].replace("|", "/")


def packing(device: torch.device, quick: bool) -> list[str]:
    """Rows of the packing table. Trials run in processes of their own with a CUDA context each, like Ray's workers."""
    rows = ["| trials at once | images/s of each | images/s together | of one alone |", "|---|---|---|---|"]
    alone = 0.0
    for count in (1, 2, 4):
        command = [sys.executable, __file__, "--packed", "--device", device.type]
        command += ["--quick"] if quick else []
        pipe = subprocess.PIPE
        running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(count)]
        begin_together(running)
        outputs = [process.communicate()[0] for process in running]
        if any(process.returncode for process in running):
            rows.append(f"| {count} | failed; what it said stands above | | |")
            show(rows[-1])
            continue
        rates = [float(output.split()[-1]) for output in outputs]
        alone = alone or sum(rates)
        rows.append(f"| {count} | {sum(rates) / count:,.0f} | {sum(rates):,.0f} | {sum(rates) / alone:.2f} |")
        show(rows[-1])
    return rows


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
    small = Training("resnet18", 32, 40, 128, 20 if quick else 200, "crop + flip")
    measure(replace(small, steps=2), device, 1)
    print("warm", flush=True)
    sys.stdin.readline()
    return measure(small, device, 2 if quick else 6).images_per_second


def cuda_tests() -> str:
    """The last line that pytest prints over tests/test_cuda.py."""
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", "tests/test_cuda.py"]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines()
    if done.returncode:
        show("\n".join(lines[-60:]))
    return lines[-1] if lines else "pytest printed nothing"


def show(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def report(device: torch.device, quick: bool, tests: bool) -> Iterator[str]:
    """The page, part by part as it is measured."""
    tiny = device.type == "cpu"
    base = Training("resnet18", 32, 40, 16, 2) if tiny else Training(steps=8 if quick else 20)
    epochs = 2 if quick or tiny else 5
    yield describe()
    if tests:
        yield "### CUDA tests"
        yield cuda_tests()
    if not tiny:
        yield "### Steady state"
        yield steady_state.table(device, list(steady_state.CASES[device.type]), 3 if quick else 7)
    yield "### Throughput"
    yield "\n".join(throughput(device, base, epochs))
    gc.collect()
    if device.type == "cuda":
        # what this process holds, those that are raced lack
        torch.cuda.empty_cache()
    yield "### Packing"
    yield "\n".join(packing(device, quick or tiny))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="fewer steps and rounds")
    parser.add_argument("--skip-tests", action="store_true")
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
    for part in report(device, given.quick, not given.skip_tests):
        page += f"{part}\n\n"
        print(part, end="\n\n", flush=True)
        if given.out:
            # written after each part: a machine that is lent may be gone before the end
            given.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
