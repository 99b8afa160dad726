"""Steady state: an epoch of the trainer against a bare loop over tensors that are already on the training device.

Both sides train the same network with the same precision, memory format, threads, batch size and fused optimizer, in
one process, and take turns after each epoch. The bare loop has its images normalised beforehand; the trainer starts
from uint8, draws its order, normalises, counts hits and steps its schedule. The target is a ratio (the bare loop's time
over the trainer's) of at least 0.95.

    python benchmarks/steady_state.py [--device cpu|cuda] [--case NAME ...] [--rounds 9]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import timm
import torch
from bare import bare_epoch
from machine import as_a_worker, describe
from synthetic import Constant, noise, sgd
from torch.nn import functional

from trainer import train
from trainer.data import Data
from trainer.numerics import Numerics
from trainer.recorder import Epoch

TARGET = 0.95


@dataclass(frozen=True)
class Case:
    """A training of one of timm's networks on synthetic images."""

    network: str
    size: int
    """Side of the images in pixels."""

    batch: int
    steps: int
    """Steps per epoch: enough for the beginning and end of an epoch to hardly count."""

    precision: str


CASES = {
    "cpu": {
        "resnet14-32": Case("resnet14t", 32, 64, 12, "fp32"),
        "resnet18-64": Case("resnet18", 64, 64, 6, "fp32"),
        "resnet50-224": Case("resnet50", 224, 8, 3, "fp32"),
    },
    "cuda": {
        "resnet18-32": Case("resnet18", 32, 256, 100, "bf16"),
        "resnet50-224": Case("resnet50", 224, 256, 20, "bf16"),
    },
}


def race(case: Case, device: torch.device, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of each epoch of the bare loop, and of the trainer; the first of each is left out."""
    numerics = Numerics.model_validate({"precision": case.precision})
    numerics.apply()
    count = case.batch * case.steps
    data = noise(count, case.size, device)
    bare = bare_side(case, numerics, data)
    theirs, ours = [], []

    class Turns:
        """Runs the bare loop's epoch between the trainer's."""

        def epoch(self, number: int, metrics: Epoch) -> None:
            ours.append(count / metrics["images_per_second"])
            theirs.append(bare())

    train(
        build_model=lambda: timm.create_model(case.network, num_classes=10),
        build_optimizer=sgd,
        schedule=Constant(),
        loss=functional.cross_entropy,
        data=data,
        epochs=rounds + 1,
        batch_size=case.batch,
        seed=0,
        numerics=numerics,
        recorder=Turns(),
    )
    return theirs[1:], ours[1:]


def bare_side(case: Case, numerics: Numerics, data: Data) -> Callable[[], float]:
    """A function that trains one epoch of the bare loop and returns its seconds."""
    device, layout = data.device, numerics.memory_format()
    torch.manual_seed(0)
    model = timm.create_model(case.network, num_classes=10).to(device).to(memory_format=layout)
    count = case.batch * case.steps
    images = ((data.images[:count].float() - data.mean) / data.std).contiguous(memory_format=layout)
    targets = data.labels[:count]
    descent = sgd(model)

    def epoch() -> float:
        model.train()
        begin = time.perf_counter()
        bare_epoch(model, descent, images, targets, case.batch, precision=case.precision)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    return epoch


def table(device: torch.device, names: list[str], rounds: int) -> str:
    """The races as a Markdown table."""
    rows = [
        "| case | precision | batch | bare, ms a step | trainer, ms a step | images/s | ratio | target |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        case = CASES[device.type][name]
        bare, ours = race(case, device, rounds)
        ratio = median(a / b for a, b in zip(bare, ours, strict=True))
        step = [1000 * median(times) / case.steps for times in (bare, ours)]
        verdict = "met" if ratio >= TARGET else "missed"
        rows.append(
            f"| {name} | {case.precision} | {case.batch} | {step[0]:.1f} | {step[1]:.1f} "
            f"| {1000 * case.batch / step[1]:,.0f} | {ratio:.3f} | {TARGET}: {verdict} |"
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return "\n".join(rows)


def main() -> None:
    as_a_worker()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=CASES, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--case", nargs="+", metavar="NAME", help="default: all of the device")
    parser.add_argument("--rounds", type=int, default=9, help="epochs of each side that are counted")
    arguments = parser.parse_args()
    known = CASES[arguments.device]
    unknown = [name for name in arguments.case or () if name not in known]
    if unknown or arguments.rounds < 1:
        parser.error(f"unknown case {unknown[0]!r}, expected {', '.join(known)}" if unknown else "--rounds: at least 1")
    print(describe())
    print(table(torch.device(arguments.device), arguments.case or list(known), arguments.rounds))


if __name__ == "__main__":
    main()
