"""The one training loop. trainer.hooks shows it as pseudo-code with the points where refinements act."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import nn

from .chain import Chain
from .data import Data
from .draws import Draws
from .errors import Diverged
from .evaluate import Meter, checked_logits, evaluate
from .frozen import beginning_once
from .geometry import Frame
from .hooks import Batch, Hook, Moment
from .kept import Kept
from .leftovers import seed_everything
from .metrics import of_split
from .numerics import Numerics
from .recorder import Epoch, Recorder
from .resumable import Resumable
from .saver import Saver
from .stopping import EarlyStopping, selected_epoch


class Schedule(Protocol):
    """The learning rate's course."""

    def factor(self, moment: Moment) -> float:
        """What the base rate is multiplied by at a step."""


@dataclass(frozen=True)
class Outcome:
    """What a finished training leaves."""

    history: list[Epoch]
    """The metrics of every epoch, first to last."""

    seconds: float
    """Training and evaluation, all epochs, interruptions left out."""

    selected: int
    """The epoch (from 1) whose weights are kept."""

    final: Epoch
    """Metrics of the test split, if there is one, with these weights: `test_top1`, ... (`ema_test_top1`, ...)."""

    weights: Path | None
    """The kept weights (safetensors), where there is a folder to keep them in."""


def train(
    *,
    build_model: Callable[[], nn.Module],
    build_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    schedule: Schedule,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    data: Data,
    epochs: int,
    batch_size: int,
    seed: int,
    micro_batches: int = 1,
    hooks: Sequence[Hook] = (),
    select: str = "last",
    early_stopping: EarlyStopping | None = None,
    numerics: Numerics | None = None,
    recorder: Recorder | None = None,
    folder: Path | None = None,
) -> Outcome:
    """Train a network on `data.device` and evaluate it after every epoch.

    build_model: draws the initial weights from torch's default generator, which is seeded here.
    build_optimizer: takes the network; its learning rate is the base that `schedule` scales at every step.
    loss: (logits [B, K], targets: classes [B] or probabilities [B, K]) -> scalar mean. A weighted one has a method
    `total(targets)`, the scalar sum of weights that it divides by.
    micro_batches: into how many parts a batch is cut, whose gradients are added up; see Batch.parts.
    seed: with the same other arguments, the same seed gives the same numbers (bit for bit on the CPU).
    select: `last`, or the metric (see stopping) whose best epoch's weights are kept and tested.
    folder: keeps `journal.jsonl`, `last.pt` and the selected epoch's weights, from which an interrupted training goes
    on, and at the end `weights.safetensors`.

    Raises Diverged when an epoch's training or validation loss is not finite, after recording that epoch.
    """
    numerics = numerics or Numerics()
    numerics.apply()
    chain = Chain(hooks)
    device = data.device
    seed_everything(Draws(seed).torch_seed("weights"))
    model = numerics.laid_out(build_model().to(device))
    training_mode(model)
    begin = time.perf_counter()
    at_once = max(1, batch_size // micro_batches)
    with beginning_once(model, data, chain, numerics, at_once) as data, Saver() as saver:
        network = numerics.compiled(model)
        optimizer = build_optimizer(model)
        base_rates = [group["lr"] for group in optimizer.param_groups]
        chain.start(model)
        kept = Kept(folder, select)
        state = Resumable(folder, model, optimizer, chain, kept)
        history = state.resume()
        steps = data.steps(batch_size)
        before = time.perf_counter() - begin

        while len(history) < epochs and not (early_stopping and early_stopping.is_due(history)):
            epoch = len(history) + 1
            begin = time.perf_counter()
            draws = Draws(seed, epoch)
            seed_everything(draws.torch_seed("dropout"))
            training_mode(model)
            chain.epoch_start(epoch)
            meter = Meter(device)
            factor = 1.0
            for step, batch in enumerate(data.train_batches(batch_size, draws)):
                frame = chain.place(Frame.of(batch.images), batch.samples, draws)
                batch = chain.augment(data.placed(batch, frame), draws)
                batch = chain.mix(data.normalised(batch, numerics), draws)
                moment = Moment(epoch - 1 + step / steps, epochs, history, 1 / steps)
                factor = chain.rate(schedule.factor(moment), moment)
                for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                    group["lr"] = float(rate * factor)
                optimizer.zero_grad(set_to_none=True)
                for part in batch.parts(micro_batches):
                    with numerics.autocast(device):
                        logits = network(part.images)
                    logits = checked_logits(logits, len(part.samples), len(data.classes), "training").float()
                    value = chain.loss(_loss_of(part, batch, logits, loss), logits, part)
                    share = len(part.samples) / len(batch.samples)
                    (value if share == 1 else value * share).backward()  # type: ignore[no-untyped-call]
                    meter.update(logits.detach(), part.targets, value.detach())
                chain.gradients(model)
                optimizer.step()
                chain.step_end(model)
            chain.epoch_end(epoch)
            trained = meter.read("train_loss", "train_top1", "train_top5")
            training_seconds = time.perf_counter() - begin
            networks = {"": model, **chain.networks_in(epoch)}
            metrics = {
                **_evaluate(networks, data, "val", numerics, at_once),
                **trained,
                "learning_rate": base_rates[0] * factor,
                "epoch_seconds": before + time.perf_counter() - begin,
                "images_per_second": meter.images / training_seconds,
            }
            history.append(metrics)
            before = 0.0
            diverged = _diverged(epoch, metrics)
            if diverged is None:
                saver.submit(state.writing(history, networks))
            if recorder is not None:
                recorder.epoch(epoch, metrics)
            if diverged is not None:
                raise diverged

        saver.wait()
        selected = selected_epoch(history, select)
        networks = {"": model, **chain.networks_in(selected)}
        kept.restore(selected, networks)
        final = _evaluate(networks, data, "test", numerics, at_once) if "test" in data.splits else {}
        seconds = sum(metrics["epoch_seconds"] for metrics in history)
        return Outcome(history, seconds, selected, final, kept.export(model))


def _loss_of(
    part: Batch, batch: Batch, logits: torch.Tensor, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """The loss of a batch's part; over all parts, its mean by their numbers of images is the loss of the batch."""
    value = loss(logits, part.targets)
    total = getattr(loss, "total", None)
    if total is None or part is batch:
        return value
    by_images = len(part.samples) / len(batch.samples)
    scaled: torch.Tensor = value * (total(part.targets) / total(batch.targets) / by_images)
    return scaled


def _diverged(epoch: int, metrics: Epoch) -> Diverged | None:
    """Judged by the training loss, then by validation: only the latter shows that the last step ruined the weights."""
    if not math.isfinite(metrics["train_loss"]):
        return Diverged(epoch, metrics["train_loss"])
    broken = [value for name, value in metrics.items() if name.endswith("val_loss") and not math.isfinite(value)]
    return Diverged(epoch, broken[0], "validation") if broken else None


def training_mode(model: nn.Module) -> None:
    """Set training mode, except for modules whose own parameters are all frozen: their statistics must not move."""
    model.train()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            # not eval(), which would reach the modules inside as well
            module.training = False


def _evaluate(
    networks: Mapping[str, nn.Module],
    data: Data,
    split: Literal["val", "test"],
    numerics: Numerics,
    at_once: int,
) -> Epoch:
    """The metrics of each network over a split, under its prefix. at_once: images that are trained on at once."""
    measured = evaluate(list(networks.values()), data, split, numerics, at_once)
    return {
        prefix + of_split(name, split): value
        for prefix, values in zip(networks, measured, strict=True)
        for name, value in values.items()
    }
