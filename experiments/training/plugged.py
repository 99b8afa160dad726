"""What options of plugins return, checked where they return it: the loop would blame some other place, or none."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any

from trainer.errors import UserError
from trainer.hooks import Batch, Moment

from ..catalog import kind_of
from ..options import Loss, Optimizer, Option, Schedule

if TYPE_CHECKING:
    import torch
    from torch import nn

    Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class CheckedSchedule:
    """A plugin's schedule that raises UserError for a factor that is no finite number from 0 on."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def factor(self, moment: Moment) -> float:
        """See Schedule."""
        found: object = self.schedule.factor(moment)
        if not isinstance(found, Real) or not math.isfinite(found) or found < 0:
            raise mistake(self.schedule, "factor", found, "a finite number from 0 on")
        return float(found)


def checked_schedule(schedule: Schedule) -> Schedule | CheckedSchedule:
    """The schedule, a plugin's with its factors checked."""
    return CheckedSchedule(schedule) if schedule.code else schedule


def checked_optimizer(option: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that an option builds for a network; a plugin's raises UserError for what the loop can't take."""
    import torch

    groups = option.groups(model)
    given = {id(parameter) for group in groups for parameter in group["params"]}
    optimizer: object = option.build(groups)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise mistake(option, "build", optimizer, "a torch.optim.Optimizer")
    if not option.code:
        return optimizer
    kind = kind_of(type(option))
    if not all("lr" in group for group in optimizer.param_groups):
        raise UserError(f"{kind}: build gave groups without 'lr', expected the rate that schedules scale in each")
    try:
        inspect.signature(optimizer.step).bind()
    except TypeError as error:
        raise UserError(
            f"{kind}: step is {error}, expected step(); what takes a further pass is a refinement, at `loss`"
        ) from None
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if lacking := len(given - held):
        raise UserError(
            f"{kind}: build left out {lacking} of {len(given)} parameters, expected all of the groups' in it"
        )
    rates = dict.fromkeys(float(group["lr"]) for group in optimizer.param_groups)
    if option.lr not in rates:
        got = ", ".join(f"{rate:g}" for rate in rates)
        raise UserError(f"{kind}: build gave groups of the rate {got}, expected the recipe's `lr`, {option.lr:g}")

    def kept(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        if expected := no_state(state, ()):
            raise mistake(option, "state_dict", state, expected)

    optimizer.register_state_dict_post_hook(kept)
    return optimizer


def checked_loss(option: Loss, criterion: Criterion) -> Criterion:
    """The criterion that a loss has built, a plugin's with its values checked."""
    if not callable(criterion):
        raise mistake(option, "build", criterion, "a function of logits and targets")
    if not option.code:
        return criterion
    called = getattr(criterion, "forward", criterion)
    try:
        inspect.signature(called).bind(None, None)
    except TypeError as error:
        raise UserError(f"{kind_of(type(option))}: what it builds is {error}, expected (logits, targets)") from None

    def checked(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        value = criterion(logits, targets)
        if expected := no_scalar(value, (logits,)):
            raise mistake(option, "what it builds", value, expected)
        return value

    if (total := getattr(criterion, "total", None)) is not None:
        # setattr, because mypy refuses to assign to a function
        setattr(checked, "total", total)  # noqa: B010
    return checked


def described(found: object) -> str:
    """A tensor's or array's type and shape; of anything else, its class."""
    shape = getattr(found, "shape", None)
    return type(found).__name__ if shape is None else f"{getattr(found, 'dtype', '')} {list(shape)}"


def no_scalar(found: Any, given: tuple[Any, ...]) -> str:
    """What is expected instead of what is no loss of the logits, the first that was `given`; empty where it is one."""
    import torch

    if not isinstance(found, torch.Tensor) or found.dim():
        return "a tensor of one number, the batch's mean"
    return "one with a gradient" if given[0].requires_grad and not found.requires_grad else ""


def no_state(found: object, given: tuple[Any, ...]) -> str:
    """What is expected instead of what a checkpoint can't hold; empty where it can."""
    from trainer.checkpoint import unfit

    wanted = "a dict of tensors and plain values, which a checkpoint holds"
    wrong = unfit(found) if isinstance(found, dict) else f"it is {type(found).__name__}"
    return f"{wanted}, but {wrong}" if wrong else ""


def mistake(option: Option, point: str, found: object, expected: str) -> UserError:
    """The error for what an option gave at one of its points."""
    if isinstance(found, Batch):
        got = f"images {described(found.images)} with targets {described(found.targets)}"
    elif hasattr(found, "shape"):
        got = f"{type(found).__name__} of shape {list(found.shape)}"
    else:
        got = " ".join(repr(found).split())[:80]
    return UserError(f"{kind_of(type(option))}: {point} gave {got}, expected {expected}")
