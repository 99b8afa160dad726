"""How much time is saved by running the frozen beginning of a network once, instead of in every epoch.

ResNet-18 on synthetic images, its stem and first stages frozen, is trained by `trainer.train` in two ways: as usual,
from features that are computed before the first epoch, and with that switched off, so that the frozen modules run in
every step. Both have the same first weights, images, precision, batch and thread, and take turns. Their losses are
compared: they must be the same to rounding.

    python benchmarks/frozen_beginning.py [--rounds 3] [--size 64]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

import timm
import torch
from machine import describe
from synthetic import Constant, noise
from torch import nn
from torch.nn import functional

from trainer import frozen, train
from trainer.numerics import Numerics

BATCH, STEPS, EPOCHS = 64, 4, 3
STAGES = ("layer1", "layer2", "layer3", "layer4")


class Took(NamedTuple):
    """The times of a training, and its loss."""

    first: float
    """Seconds of the first epoch, including what comes before it."""

    later: float
    """Median seconds of the other epochs."""

    loss: float


def network(stages: int) -> nn.Module:
    """ResNet-18 with its stem and so many stages frozen."""
    model: nn.Module = timm.create_model("resnet18", num_classes=10)
    for name in ("conv1", "bn1", *STAGES[:stages]):
        model.get_submodule(name).requires_grad_(False)
    return model


def descent(model: nn.Module) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.SGD(trained, lr=0.01, momentum=0.9, fused=True)


@contextmanager
def in_every_epoch() -> Iterator[None]:
    """Inside, no features are kept, so that frozen modules run in every step."""
    most, frozen.MOST_BYTES = frozen.MOST_BYTES, 0
    try:
        yield
    finally:
        frozen.MOST_BYTES = most


def training(stages: int, size: int) -> Took:
    outcome = train(
        build_model=lambda: network(stages),
        build_optimizer=descent,
        schedule=Constant(),
        loss=functional.cross_entropy,
        data=noise(BATCH * STEPS, size, torch.device("cpu")),
        epochs=EPOCHS,
        batch_size=BATCH,
        seed=0,
        numerics=Numerics(precision="fp32"),
    )
    first, *later = (epoch["epoch_seconds"] for epoch in outcome.history)
    return Took(first, median(later), outcome.history[-1]["train_loss"])


def table(rounds: int, size: int) -> str:
    """A row for each depth of freezing."""
    rows = [
        "| frozen | every epoch, ms | once, ms | times as fast | its first epoch, ms | losses differ by |",
        "|---|---|---|---|---|---|",
    ]
    for stages in range(1, len(STAGES) + 1):
        once, always = [], []
        for _ in range(rounds):
            once.append(training(stages, size))
            with in_every_epoch():
                always.append(training(stages, size))
        slow, fast, first = (
            1000 * median(values)
            for values in (
                [took.later for took in always],
                [took.later for took in once],
                [took.first for took in once],
            )
        )
        difference = abs(once[0].loss - always[0].loss)
        rows.append(
            f"| stem and {stages} of {len(STAGES)} stages | {slow:.0f} | {fast:.0f} | {slow / fast:.2f} "
            f"| {first:.0f} | {difference:.1e} |"
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="trainings of each side")
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    given = parser.parse_args()
    if given.rounds < 1 or given.size < 32:
        parser.error("expected at least 1 round and 32 pixels")
    print(describe())
    print(f"ResNet-18, {BATCH * STEPS} images of {given.size} px, batch {BATCH}, float32, one thread:\n")
    print(table(given.rounds, given.size))


if __name__ == "__main__":
    main()
