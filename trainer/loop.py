"""The one training loop. trainer.hooks shows it as pseudo-code with the points where refinements act."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import nn

from . import checkpoint
from .data import Data
from .draws import Draws
from .errors import Diverged, UserError
from .evaluate import Meter, checked_logits, evaluate
from .files import CHECKPOINT, JOURNAL
from .frozen import beginning_once
from .full_disk import with_room
from .geometry import Frame
from .hooks import Hook, Moment
from .kept import Kept
from .leftovers import seed_everything
from .metrics import of_split
from .numerics import Numerics
from .recorder import Epoch, Journal, Recorder
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
    loss: (logits [B, K], targets: classes [B] or probabilities [B, K]) -> scalar mean.
    micro_batches: into how many parts a batch is cut, whose gradients are added up; see Batch.parts.
    seed: with the same other arguments, the same seed gives the same numbers (bit for bit on the CPU).
    select: `last`, or the metric (see stopping) whose best epoch's weights are kept and tested.
    folder: keeps `journal.jsonl`, `last.pt` and the selected epoch's weights, from which an interrupted training goes
    on, and at the end `weights.safetensors`.

    Raises Diverged when an epoch's training or validation loss is not finite, after recording that epoch.
    """
    numerics = numerics or Numerics()
    numerics.apply()
    device = data.device
    seed_everything(Draws(seed).torch_seed("weights"))
    model = build_model().to(device).to(memory_format=numerics.memory_format())
    training_mode(model)
    begin = time.perf_counter()
    at_once = max(1, batch_size // micro_batches)
    with beginning_once(model, data, hooks, numerics, at_once) as data, Saver() as saver:
        network = numerics.compiled(model)
        optimizer = build_optimizer(model)
        base_rates = [group["lr"] for group in optimizer.param_groups]
        for hook in hooks:
            hook.start(model)
        kept = Kept(folder, select)
        history = _resume(folder, model, optimizer, hooks, kept)
        steps = data.steps(batch_size)
        before = time.perf_counter() - begin

        while len(history) < epochs and not (early_stopping and early_stopping.is_due(history)):
            epoch = len(history) + 1
            begin = time.perf_counter()
            draws = Draws(seed, epoch)
            seed_everything(draws.torch_seed("dropout"))
            training_mode(model)
            working = [hook for hook in hooks if hook.works_in(epoch)]
            for hook in working:
                hook.epoch_start(epoch)
            meter = Meter(device)
            factor = 1.0
            for step, batch in enumerate(data.train_batches(batch_size, draws)):
                frame = Frame.of(batch.images)
                for hook in working:
                    frame = hook.place(frame, batch.samples, draws)
                batch = data.placed(batch, frame)
                for hook in working:
                    batch = hook.augment(batch, draws)
                batch = data.normalised(batch, numerics)
                for hook in working:
                    batch = hook.mix(batch, draws)
                moment = Moment(epoch - 1 + step / steps, epochs, history, 1 / steps)
                factor = schedule.factor(moment)
                for hook in working:
                    factor = hook.rate(factor, moment)
                for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                    group["lr"] = float(rate * factor)
                optimizer.zero_grad(set_to_none=True)
                for part in batch.parts(micro_batches):
                    with numerics.autocast(device):
                        logits = network(part.images)
                    logits = checked_logits(logits, len(part.samples), len(data.classes), "training").float()
                    value = loss(logits, part.targets)
                    for hook in working:
                        value = hook.loss(value, logits, part)
                    share = len(part.samples) / len(batch.samples)
                    (value if share == 1 else value * share).backward()  # type: ignore[no-untyped-call]
                    meter.update(logits.detach(), part.targets, value.detach())
                for hook in working:
                    hook.gradients(model)
                optimizer.step()
                for hook in working:
                    hook.step_end(model)
            for hook in working:
                hook.epoch_end(epoch)
            trained = meter.read("train_loss", "train_top1", "train_top5")
            training_seconds = time.perf_counter() - begin
            networks = _networks(model, working)
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
                saver.submit(_writing(folder, history, model, optimizer, hooks, kept, networks))
            if recorder is not None:
                recorder.epoch(epoch, metrics)
            if diverged is not None:
                raise diverged

        saver.wait()
        selected = selected_epoch(history, select)
        networks = _networks(model, [hook for hook in hooks if hook.works_in(selected)])
        kept.restore(selected, networks)
        final = {}
        if "test" in data.splits:
            final = _evaluate(networks, data, "test", numerics, at_once)
        seconds = sum(metrics["epoch_seconds"] for metrics in history)
        return Outcome(history, seconds, selected, final, kept.export(model))


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


def _networks(model: nn.Module, hooks: Sequence[Hook]) -> dict[str, nn.Module]:
    """The networks to evaluate, by the prefix of their metrics."""
    found = {"": model}
    for hook in hooks:
        for name, network in hook.networks().items():
            if f"{name}_" in found:
                raise UserError(
                    f"two refinements give a network {name!r}, whose metrics would be one; expected two names"
                )
            found[f"{name}_"] = network
    return found


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


def _resume(
    folder: Path | None,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    hooks: Sequence[Hook],
    kept: Kept,
) -> list[Epoch]:
    """Load the last checkpoint, if any; returns the metrics of the epochs up to it.

    Where it is damaged, or the journal or the kept weights of these epochs are gone, training starts over.
    """
    if folder is None:
        return []
    file = folder / CHECKPOINT
    journal = Journal(folder / JOURNAL)
    state = _whole(file, journal.read(), kept)
    if state is None:
        with_room(folder, lambda: journal.truncate(0))
        return []
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        for hook, saved in zip(hooks, state["hooks"], strict=True):
            hook.load_state_dict(saved)
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(f"{file}: a checkpoint of another training; delete it to start over") from error
    with_room(folder, lambda: journal.truncate(state["epoch"]))
    return journal.read()


def _whole(file: Path, epochs: list[Epoch], kept: Kept) -> dict[str, Any] | None:
    """The checkpoint in `file`, if it and all that a training needs besides are there to go on from; else None."""
    try:
        state = checkpoint.load(file)
        if state is not None and len(epochs) >= state["epoch"] and kept.is_there(epochs[: state["epoch"]]):
            return state
    except checkpoint.Unreadable as error:
        # into the trial's log: what was lost there can't be had back, and the numbers will be the same
        print(f"{error}; training starts over")
    return None


def _writing(
    folder: Path | None,
    history: Sequence[Epoch],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    hooks: Sequence[Hook],
    kept: Kept,
    networks: Mapping[str, nn.Module],
) -> Callable[[], None]:
    """A function that writes the last epoch of `history` to the disk, from a copy of the state as it is now.

    It writes the selected weights, then the journal, then the checkpoint, which could not be resumed without both.
    """
    so_far = list(history)
    keep = kept.taken(so_far, networks)
    if folder is None:
        return keep
    state = checkpoint.copied(
        {
            "epoch": len(so_far),
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "hooks": [hook.state_dict() for hook in hooks],
        }
    )

    def write() -> None:
        with_room(folder, keep)
        with_room(folder, lambda: Journal(folder / JOURNAL).append(so_far[-1]))
        with_room(folder, lambda: checkpoint.save(state, folder / CHECKPOINT))
        kept.drop_others(so_far)

    return write
