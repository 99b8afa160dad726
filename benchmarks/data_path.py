"""The data path: an epoch from the decoded cache against decoding, and what augmentation costs of a training step.

Decoding: JPEG files of about 300x200 (the data set `glyphs`) to 64 px, by the decoder that fills the cache, on one core
and on all; then one epoch of batches from that cache, as the network gets them, on one core. Target: at least 20 times
faster than decoding on all cores.

Augmentation: batches of 64 images of 64 px on one core, each refinement alone and in sets, in milliseconds and as a
share of a training step of ResNet-18 on the same images. Target: a full set costs below 10 %.

    python benchmarks/data_path.py [--per-class 20] [--rounds 15]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import timm
import torch
from bare import bare_epoch
from machine import as_a_worker, describe
from synthetic import hooks_of, noise, sgd

from experiments.datasets.glyphs import Glyphs
from trainer.cores import cores
from trainer.data import Data, load
from trainer.decoders import Target, decode_into
from trainer.draws import Draws
from trainer.geometry import Frame
from trainer.hooks import Hook
from trainer.numerics import Numerics

SIZE, STORED, BATCH = 64, 72, 64
COPIES = 4
"""Times that every file is decoded, as a data set of few images would not show what many cost."""

CACHE_TARGET, SHARE_TARGET = 20.0, 0.10

JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
SETS: dict[str, dict[str, Any]] = {
    "flip": {"flip": {}},
    "random_crop": {"random_crop": {"padding": 4}},
    "random_resized_crop": {"random_resized_crop": {}},
    "rotation": {"rotation": {}},
    "affine": {"affine": {"degrees": 15, "translate": [0.1, 0.1], "scale": [0.8, 1.2]}},
    "color_jitter": {"color_jitter": JITTER},
    "cutout": {"cutout": {"length": 16}},
    "rand_augment": {"rand_augment": {}},
    "mixup": {"mixup": {}},
    "cutmix": {"cutmix": {}},
    "crop, flip": {"random_crop": {"padding": 4}, "flip": {}},
    "resized crop, flip, rotation": {"random_resized_crop": {}, "flip": {}, "rotation": {}},
    "full: resized crop, flip, rotation, jitter, cutout, mixup": {
        "random_resized_crop": {},
        "flip": {},
        "rotation": {},
        "color_jitter": JITTER,
        "cutout": {"length": 16},
        "mixup": {},
    },
    "full, with RandAugment": {
        "random_resized_crop": {},
        "flip": {},
        "rand_augment": {},
        "cutout": {"length": 16},
        "mixup": {},
    },
}


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Median time of `work`, after one call that is not counted."""
    work()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return median(times)


def decoding_table(per_class: int, rounds: int) -> str:
    """The table of decoding against an epoch from the cache."""
    source = Glyphs(per_class=per_class).read(0)
    files = [Path(file) for file in source.images]
    all_of_them = cores()
    target = Target(Path(os.environ["ABLATE_CACHE"]) / "raced", 0, SIZE, squash=False)
    target.file.touch()

    def decode(by: int) -> None:
        with patch("trainer.decoders.cores", lambda: by):
            decode_into(target, files * COPIES, lambda done, total: None)

    grey = (0.5, 0.5, 0.5)
    data = load(source, SIZE, grey, grey, Path(os.environ["ABLATE_CACHE"]), torch.device("cpu"))
    everything = Data(
        data.images, data.labels, {"train": np.arange(len(files))}, data.classes, data.mean, data.std, SIZE
    )
    one, all_cores = (seconds(partial(decode, by), 3) / COPIES for by in (1, all_of_them))
    cached = seconds(lambda: epoch(everything), rounds)
    ratio = all_cores / cached
    verdict = "met" if ratio >= CACHE_TARGET else "missed"
    return "\n".join(
        [
            f"| {len(files):,} JPEG files to {SIZE} px | seconds | images/s | of the cache |",
            "|---|---|---|---|",
            f"| decoded, 1 core | {one:.2f} | {len(files) / one:,.0f} | {one / cached:.0f}x |",
            f"| decoded, {all_of_them} cores | {all_cores:.2f} | {len(files) / all_cores:,.0f} "
            f"| {ratio:.0f}x (target {CACHE_TARGET:.0f}x: {verdict}) |",
            f"| an epoch from the cache, 1 core | {cached:.4f} | {len(files) / cached:,.0f} | |",
        ]
    )


def epoch(data: Data) -> None:
    """Go through all training images once, as the network gets them."""
    for batch in data.train_batches(BATCH, Draws(0, 1)):
        data.normalised(data.placed(batch, Frame.of(batch.images)), Numerics())


def augmentation_table(rounds: int) -> str:
    """The table of what refinements cost, as a share of a training step."""
    data = noise(BATCH, SIZE, torch.device("cpu"), stored=STORED)
    step = seconds(training_step(data.labels[:BATCH]), max(3, rounds // 3))
    plain = seconds(lambda: inputs(data, []), rounds)
    rows = [
        f"A step of ResNet-18 on {BATCH} images of {SIZE} px takes {1000 * step:.0f} ms; fetching, cutting the centre "
        f"of {STORED} px and normalising {1000 * plain:.1f} ms ({plain / step:.1%}). On top of that:",
        "",
        "| refinements | ms | of a step |",
        "|---|---|---|",
    ]
    for name, settings in SETS.items():
        hooks = hooks_of(settings, data, BATCH)
        extra = seconds(lambda hooks=hooks: inputs(data, hooks), rounds) - plain  # type: ignore[misc]
        verdict = ""
        if name.startswith("full"):
            verdict = f" (target {SHARE_TARGET:.0%}: {'met' if extra / step < SHARE_TARGET else 'missed'})"
        rows.append(f"| {name} | {1000 * extra:.1f} | {extra / step:.1%}{verdict} |")
    return "\n".join(rows)


def training_step(labels: torch.Tensor) -> Callable[[], object]:
    """One step of a bare loop, for comparison."""
    model = timm.create_model("resnet18", num_classes=10).to(memory_format=torch.channels_last).train()
    images = torch.randn(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    descent = sgd(model)
    return lambda: bare_epoch(model, descent, images, labels, BATCH, precision="fp32")


def inputs(data: Data, hooks: list[Hook]) -> None:
    """What the training loop does with a batch before the network sees it."""
    draws = Draws(0, 1)
    for batch in data.train_batches(BATCH, draws):
        frame = Frame.of(batch.images)
        for hook in hooks:
            frame = hook.place(frame, batch.samples, draws)
        batch = data.placed(batch, frame)
        for hook in hooks:
            batch = hook.augment(batch, draws)
        batch = data.normalised(batch, Numerics())
        for hook in hooks:
            batch = hook.mix(batch, draws)


def main() -> None:
    as_a_worker()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", type=int, default=20, help="glyph images of each of 62 characters")
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    Numerics(precision="fp32").apply()
    print(describe())
    with tempfile.TemporaryDirectory() as cache:
        os.environ["ABLATE_CACHE"] = cache
        print(decoding_table(given.per_class, given.rounds), end="\n\n")
    print(augmentation_table(given.rounds))


if __name__ == "__main__":
    main()
