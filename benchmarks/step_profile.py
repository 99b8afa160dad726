"""A profile of one training step that accounts for all of its time.

Two views of the same steps of `trainer.train`, on one CPU thread:

- by part of the loop: every call that a step makes is timed from outside (data, hooks, schedule, forward, criterion,
  backward, optimizer, metrics); what is left over is the loop's own Python, and is printed as such;
- by kind of kernel (torch.profiler), with the arithmetic rate of convolutions beside that of a large matrix product on
  the same thread, which is what the processor can do.

    python benchmarks/step_profile.py [--network resnet18] [--size 64] [--batch 64] [--steps 8]
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np
import timm
import torch
from data_path import JITTER
from machine import as_a_worker, describe
from steady_state import Case
from synthetic import Constant, hooks_of, noise, sgd
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

import trainer.loop
from trainer import train
from trainer.data import Data
from trainer.evaluate import Meter
from trainer.hooks import Hook
from trainer.numerics import Numerics
from trainer.recorder import Epoch

REFINEMENTS: dict[str, Any] = {"random_crop": {}, "flip": {}, "color_jitter": JITTER, "ema": {}}
POINTS = ("place", "augment", "mix", "rate", "loss", "gradients", "step_end")


class Clock:
    """Adds up the seconds of named calls; calls inside calls count for the outer one only."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.inside = False

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        if self.inside:
            yield
            return
        self.inside = True
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.inside = False
            self.seconds[name] += time.perf_counter() - begin

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            with self.timed(name):
                return function(*arguments, **named)

        return wrapped


class Watched:
    """A data set of which fetching, resampling and normalising are timed; all else is passed on to it."""

    def __init__(self, data: Data, clock: Clock) -> None:
        self.data = data
        self.clock = clock
        self.placed = clock.wrap("data: resample to float", data.placed)
        self.normalised = clock.wrap("data: normalise", data.normalised)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)

    def train_batches(self, *arguments: Any) -> Iterator[Any]:
        batches = self.data.train_batches(*arguments)
        while True:
            with self.clock.timed("data: fetch"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


def parts(case: Case, clock: Clock) -> tuple[list[float], dict[str, float]]:
    """Mean seconds of a step in each counted epoch, and the mean seconds of each part of a step."""
    data = noise(case.batch * case.steps, case.size, torch.device("cpu"))
    hooks = watched_hooks(case, data, clock)
    epochs: list[float] = []

    class Starts:
        """Collects the times of epochs, but drops those of the first."""

        def epoch(self, number: int, metrics: Epoch) -> None:
            if number == 1:
                clock.seconds.clear()
            else:
                epochs.append(case.batch * case.steps / metrics["images_per_second"] / case.steps)

    def build_optimizer(model: torch.nn.Module) -> torch.optim.Optimizer:
        descent = sgd(model)
        descent.step = clock.wrap("optimizer", descent.step)  # type: ignore[method-assign]
        return descent

    constant = Constant()
    constant.factor = clock.wrap("schedule", constant.factor)  # type: ignore[method-assign]
    backward, compiled = torch.Tensor.backward, Numerics.compiled
    # only training steps call it; evaluation calls the network itself
    Numerics.compiled = lambda self, model: clock.wrap("forward", model)  # type: ignore[method-assign]
    trainer.loop.Meter = watched_meter(clock)  # type: ignore[attr-defined]
    torch.Tensor.backward = clock.wrap("backward", backward)  # type: ignore[method-assign]
    try:
        train(
            build_model=lambda: timm.create_model(case.network, num_classes=10),
            build_optimizer=build_optimizer,
            schedule=constant,
            loss=clock.wrap("criterion", functional.cross_entropy),
            data=Watched(data, clock),  # type: ignore[arg-type]
            epochs=4,
            batch_size=case.batch,
            seed=0,
            hooks=hooks,
            numerics=Numerics(precision="fp32"),
            recorder=Starts(),
        )
    finally:
        torch.Tensor.backward = backward  # type: ignore[method-assign]
        Numerics.compiled = compiled  # type: ignore[method-assign]
        trainer.loop.Meter = Meter  # type: ignore[attr-defined]
    return epochs, {name: total / len(epochs) / case.steps for name, total in clock.seconds.items()}


def watched_meter(clock: Clock) -> type[Meter]:
    """A meter whose updates are timed."""

    class WatchedMeter(Meter):
        def update(self, *arguments: Any) -> None:
            with clock.timed("metrics"):
                super().update(*arguments)

    return WatchedMeter


def watched_hooks(case: Case, data: Data, clock: Clock) -> list[Hook]:
    """The hooks of REFINEMENTS, timed at every point that they use."""
    hooks = hooks_of(REFINEMENTS, data, case.batch)
    for kind, hook in zip(REFINEMENTS, hooks, strict=True):
        for point in POINTS:
            if getattr(type(hook), point) is not getattr(Hook, point):
                setattr(hook, point, clock.wrap(f"hook: {kind}", getattr(hook, point)))
    return hooks


def parts_table(case: Case) -> str:
    """The table of a step's parts; its last row is the whole step."""
    steps, found = parts(case, Clock())
    whole = sum(steps) / len(steps)
    found["the loop's own Python"] = whole - sum(found.values())
    rows = ["| part | ms | share |", "|---|---|---|"]
    for name, each in sorted(found.items(), key=lambda item: -item[1]):
        rows.append(f"| {name} | {1000 * each:.2f} | {each / whole:.2%} |")
    rows.append(f"| **a step** | **{1000 * whole:.2f}** | |")
    return "\n".join(rows)


def kernels_table(case: Case) -> str:
    """The table of operators' own times in a step, and how close convolutions come to the processor's limit."""
    torch.manual_seed(0)
    model = timm.create_model(case.network, num_classes=10).to(memory_format=torch.channels_last).train()
    images = torch.randn(case.batch, 3, case.size, case.size).contiguous(memory_format=torch.channels_last)
    targets = torch.from_numpy(np.random.default_rng(0).integers(0, 10, case.batch))
    descent = sgd(model)

    def step() -> None:
        descent.zero_grad(set_to_none=True)
        functional.cross_entropy(model(images), targets).backward()  # type: ignore[no-untyped-call]
        descent.step()

    step()
    with FlopCounterMode(display=False) as counter:
        functional.cross_entropy(model(images), targets).backward()  # type: ignore[no-untyped-call]
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(case.steps):
            step()
    times = {event.key: event.self_cpu_time_total / 1e6 / case.steps for event in profiled.key_averages()}
    whole = sum(times.values())
    rows = ["| kernel | ms | share |", "|---|---|---|"]
    top = sorted(times.items(), key=lambda item: -item[1])[:10]
    rows += [f"| `{name}` | {1000 * each:.1f} | {each / whole:.1%} |" for name, each in top]
    rows.append(f"| {len(times) - len(top)} others | {1000 * (whole - sum(t for _, t in top)):.1f} | |")
    convolutions = sum(each for name, each in times.items() if "convolution" in name)
    rate, limit = counter.get_total_flops() / convolutions / 1e9, peak()
    rows += [
        "",
        f"{counter.get_total_flops() / 1e9:.1f} GFLOP a step in {1000 * convolutions:.0f} ms of convolutions: "
        f"{rate:.0f} GFLOP/s, {rate / limit:.0%} of the {limit:.0f} GFLOP/s of a float32 matrix product of 2048.",
    ]
    return "\n".join(rows)


def peak() -> float:
    """GFLOP/s of a large float32 matrix product on this thread."""
    left, right = torch.randn(2048, 2048), torch.randn(2048, 2048)
    left @ right
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - begin)
    return 2 * 2048**3 / median(times) / 1e9


def main() -> None:
    as_a_worker()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18", help="timm's name")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=8, help="of an epoch; three epochs are counted")
    given = parser.parse_args()
    Numerics(precision="fp32").apply()
    case = Case(given.network, given.size, given.batch, given.steps, "fp32")
    print(describe(), end="\n\n")
    print(parts_table(case), end="\n\n")
    print(kernels_table(case))


if __name__ == "__main__":
    main()
