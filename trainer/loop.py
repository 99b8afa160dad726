"""The one training loop. trainer.hooks draws it as pseudo-code with the points where refinements act."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from . import checkpoint
from .data import Data
from .draws import Draws
from .errors import UserError
from .evaluate import Meter, evaluate
from .hooks import Hook
from .numerics import Numerics
from .recorder import Epoch, Journal, Recorder


class Schedule(Protocol):
    """The learning rate's course."""

    def factor(self, epoch: float, epochs: int) -> float:
        """The factor of the base rate after `epoch` (fractional) of `epochs` epochs."""


@dataclass(frozen=True)
class Outcome:
    """What a finished training leaves."""

    history: list[Epoch]
    """The metrics of every epoch, first to last."""

    seconds: float
    """Training and evaluation, all epochs, interruptions left out."""


class Diverged(Exception):
    """The training loss stopped being a finite number."""

    def __init__(self, epoch: int, loss: float) -> None:
        super().__init__(f"the training loss became {loss} in epoch {epoch}")
        self.epoch = epoch


def train(
    *,
    build_model: Callable[[], nn.Module],
    build_optimizer: Callable[[Any], torch.optim.Optimizer],
    schedule: Schedule,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    data: Data,
    epochs: int,
    batch_size: int,
    seed: int,
    hooks: Sequence[Hook] = (),
    numerics: Numerics | None = None,
    recorder: Recorder | None = None,
    folder: Path | None = None,
) -> Outcome:
    """Train a network on `data.images`' device and evaluate it after every epoch.

    build_model: draws the initial weights from torch's default generator, which is seeded here.
    build_optimizer: takes the parameters; its learning rate is the base that `schedule` scales at every step.
    loss: (logits [B, K], targets: classes [B] or probabilities [B, K]) -> scalar mean.
    seed: with the same other arguments, the same seed gives the same numbers (bit for bit on the CPU).
    folder: keeps `journal.jsonl` and `last.pt`; a training that was interrupted goes on from there.

    Raises Diverged when an epoch's training loss is not finite, after recording that epoch.
    """
    numerics = numerics or Numerics()
    numerics.apply()
    device = data.images.device
    torch.manual_seed(Draws(seed).torch_seed("weights"))
    model = build_model().to(device).to(memory_format=numerics.memory_format())
    optimizer = build_optimizer(model.parameters())
    base_rates = [group["lr"] for group in optimizer.param_groups]
    for hook in hooks:
        hook.start(model)
    history = _resume(folder, model, optimizer, hooks, device)
    steps = data.steps(batch_size)

    for epoch in range(len(history) + 1, epochs + 1):
        begin = time.perf_counter()
        draws = Draws(seed, epoch)
        torch.manual_seed(draws.torch_seed("dropout"))
        model.train()
        for hook in hooks:
            hook.epoch_start(epoch)
        meter = Meter(device)
        factor = 1.0
        for step, batch in enumerate(data.train_batches(batch_size, draws, numerics)):
            for hook in hooks:
                batch = hook.augment(batch, draws)
            for hook in hooks:
                batch = hook.mix(batch, draws)
            factor = schedule.factor(epoch - 1 + step / steps, epochs)
            for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                group["lr"] = rate * factor
            with numerics.autocast(device):
                logits = model(batch.images)
            logits = logits.float()
            value = loss(logits, batch.targets)
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            for hook in hooks:
                hook.step_end(model)
            meter.update(logits.detach(), batch.targets, value.detach())
        for hook in hooks:
            hook.epoch_end(epoch)
        trained = meter.read("train_loss", "train_top1", "train_top5")
        training_seconds = time.perf_counter() - begin
        tested = evaluate(model, data, "val", numerics).read("val_loss", "top1", "top5")
        metrics = {
            **tested,
            **trained,
            "learning_rate": base_rates[0] * factor,
            "epoch_seconds": time.perf_counter() - begin,
            "images_per_second": meter.images / training_seconds,
        }
        history.append(metrics)
        if math.isfinite(trained["train_loss"]):
            _save(folder, epoch, metrics, model, optimizer, hooks)
        if recorder is not None:
            recorder.epoch(epoch, metrics)
        if not math.isfinite(trained["train_loss"]):
            raise Diverged(epoch, trained["train_loss"])

    return Outcome(history, sum(metrics["epoch_seconds"] for metrics in history))


def _resume(
    folder: Path | None,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    hooks: Sequence[Hook],
    device: torch.device,
) -> list[Epoch]:
    """Take up the last checkpoint, if any; the epochs that it stands for.

    A checkpoint whose epochs the journal does not all hold is no beginning of a history: training starts over.
    """
    if folder is None:
        return []
    file = folder / "last.pt"
    state = checkpoint.load(file, device)
    journal = Journal(folder / "journal.jsonl")
    if state is None or len(journal.read()) < state["epoch"]:
        return journal.truncate(0)
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        for hook, saved in zip(hooks, state["hooks"], strict=True):
            hook.load_state_dict(saved)
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(f"{file}: a checkpoint of another training; delete it to start over") from error
    return journal.truncate(state["epoch"])


def _save(
    folder: Path | None,
    epoch: int,
    metrics: Epoch,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    hooks: Sequence[Hook],
) -> None:
    """The journal first: a checkpoint whose epoch the journal lacks could not be resumed."""
    if folder is None:
        return
    Journal(folder / "journal.jsonl").append(metrics)
    state = {
        "epoch": epoch,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "hooks": [hook.state_dict() for hook in hooks],
    }
    checkpoint.save(state, folder / "last.pt")
