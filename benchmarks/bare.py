"""Bare training loops: how long the machine would take if it did nothing but train.

    python benchmarks/bare.py FOLDER [--threads N] [--cells A B+c] [--channels-last]

FOLDER holds what contest.py exported. The process imports torch and timm once, puts all images into memory as
normalised float32, says `ready`, waits for a line on its standard input, and then trains one cell after the other:
the same network, SGD, batch size, epochs, learning rates, label smoothing and mixup as the other sides, with an
evaluation over the validation split after every epoch. Nothing is recorded, checkpointed or shuffled twice. Only the
loops are timed: not the imports, not the images, not the building of networks. It prints a line of JSON per cell.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from raced_networks import raced_resnet
from torch import nn
from torch.nn import functional

PIXELS, TRAININGS = "pixels.npz", "trainings.json"
"""Files in FOLDER: images, labels, split and colours; the trainings."""

EVAL_BATCH = 256
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Split(NamedTuple):
    """Images of a split, float32 [N, 3, S, S] in the network's memory format, and their classes, int64 [N]."""

    images: torch.Tensor
    targets: torch.Tensor


def bare_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    targets: torch.Tensor,
    batch_size: int,
    loss: Loss = functional.cross_entropy,
    *,
    precision: str = "fp32",
    mixup: float = 0.0,
    rates: Sequence[float] = (),
) -> None:
    """Train on every image once, in a new order.

    images: float32 [N, 3, S, S], normalised, on the model's device and in its memory format, which batches keep.
    targets: classes [N], or probabilities [N, K], which `mixup` (the alpha of its Beta distribution) needs.
    precision: fp32, or bf16 for autocast. rates: the learning rate of each step; empty: the optimizer's own.
    """
    model.train()
    order = torch.randperm(len(images), device=images.device)
    for step, batch in enumerate(torch.split(order, batch_size)):
        x, y = images[batch], targets[batch]
        if mixup:
            weight = float(np.random.beta(mixup, mixup))
            x, y = x.lerp(x.flip(0), weight), y.lerp(y.flip(0), weight)
        if rates:
            optimizer.param_groups[0]["lr"] = rates[step]
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = model(x)
        optimizer.zero_grad(set_to_none=True)
        loss(logits.float(), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@torch.inference_mode()
def bare_evaluation(model: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
    """Mean cross-entropy and top-1 (a fraction) over all images, in evaluation mode."""
    model.eval()
    total, hits = 0.0, 0
    for x, y in zip(torch.split(images, EVAL_BATCH), torch.split(targets, EVAL_BATCH), strict=True):
        logits = model(x)
        total += float(functional.cross_entropy(logits, y, reduction="sum"))
        hits += int((logits.argmax(1) == y).sum())
    return total / len(images), hits / len(images)


def bare_training(training: dict[str, Any], train: Split, val: Split, layout: torch.memory_format) -> dict[str, Any]:
    """Train all epochs of one cell, each with an evaluation; `training` is a contest.Training as plain data."""
    classes = int(train.targets.max()) + 1
    network = {name: training[name] for name in ("tweak", "width", "layers")}
    model = raced_resnet(num_classes=classes, **network).to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=training["lr"], momentum=training["momentum"], fused=True)
    loss = nn.CrossEntropyLoss(label_smoothing=training["smoothing"])
    targets = functional.one_hot(train.targets, classes).float() if training["mixup"] else train.targets
    epochs, batch_size, top1 = training["epochs"], training["batch_size"], 0.0
    steps = math.ceil(len(targets) / batch_size)
    rates = cosine(training["lr"], epochs * steps) if training["cosine"] else []
    begin = time.perf_counter()
    for epoch in range(epochs):
        own = rates[epoch * steps : (epoch + 1) * steps]
        bare_epoch(model, optimizer, train.images, targets, batch_size, loss, mixup=training["mixup"], rates=own)
        _, top1 = bare_evaluation(model, val.images, val.targets)
    return {"cell": training["cell"], "seconds": time.perf_counter() - begin, "top1": top1}


def cosine(rate: float, steps: int) -> list[float]:
    """Half a cosine from `rate` towards 0: a learning rate for each step."""
    return [rate * 0.5 * (1 + math.cos(math.pi * step / steps)) for step in range(steps)]


def load_splits(file: Path, layout: torch.memory_format) -> tuple[Split, Split]:
    """Training and validation images of an export, normalised and in memory."""
    stored = np.load(file)
    mean, std = (torch.tensor(stored[name], dtype=torch.float32).view(1, 3, 1, 1) * 255 for name in ("mean", "std"))
    images, labels = torch.from_numpy(stored["images"]).permute(0, 3, 1, 2), torch.from_numpy(stored["labels"])

    def split(name: str) -> Split:
        index = torch.from_numpy(stored[name])
        return Split(((images[index].float() - mean) / std).contiguous(memory_format=layout), labels[index])

    return split("train"), split("val")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train cells of an export in bare loops.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cells", nargs="+", help="cells to train (default: all)")
    parser.add_argument("--channels-last", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    np.random.seed(0)
    layout = torch.channels_last if arguments.channels_last else torch.contiguous_format
    trainings = json.loads((arguments.folder / TRAININGS).read_text(encoding="utf-8"))
    train, val = load_splits(arguments.folder / PIXELS, layout)
    print("ready", flush=True)
    sys.stdin.readline()
    for training in trainings:
        if arguments.cells is None or training["cell"] in arguments.cells:
            print(json.dumps(bare_training(training, train, val, layout)), flush=True)


if __name__ == "__main__":
    main()
