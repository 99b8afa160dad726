"""What options of plugins give back, checked where they give it: the loop would blame some other place, or none."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from numbers import Real
from typing import TYPE_CHECKING, Any

from trainer.errors import UserError
from trainer.geometry import Frame
from trainer.hooks import Batch, Hook, Moment

from ..catalog import kind_of
from ..options import Loss, Option, Refinement, Schedule

if TYPE_CHECKING:
    import torch

    Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

Check = Callable[[Any, tuple[Any, ...]], str]
"""(what came back, what was given) to what was expected instead; empty where it is right."""


def checked_hook(option: Refinement, hook: object) -> Hook:
    """The hook that a refinement has built; a plugin's says which of its points gives what the loop can't take."""
    if not isinstance(hook, Hook):
        raise _mistake(option, "build", hook, "an instance of a class derived from trainer.hooks.Hook")
    if option.code:
        own = type(hook)
        points = {
            point: _checking(getattr(own, point), option, check)
            for point, check in _POINTS.items()
            if getattr(own, point) is not getattr(Hook, point)
        }
        hook.__class__ = type(own.__name__, (own,), points)
    return hook


class CheckedSchedule:
    """A plugin's schedule, whose factors are numbers."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def factor(self, moment: Moment) -> float:
        """See Schedule."""
        found: object = self.schedule.factor(moment)
        if not isinstance(found, Real) or not math.isfinite(found) or found < 0:
            raise _mistake(self.schedule, "factor", found, "a finite number from 0 on")
        return float(found)


def checked_schedule(schedule: Schedule) -> Schedule | CheckedSchedule:
    """The schedule, a plugin's with its factors checked."""
    return CheckedSchedule(schedule) if schedule.code else schedule


def checked_loss(option: Loss, criterion: Criterion) -> Criterion:
    """The criterion that a loss has built, a plugin's with its values checked."""
    if not callable(criterion):
        raise _mistake(option, "build", criterion, "a function of logits and targets")
    if not option.code:
        return criterion

    def checked(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        value = criterion(logits, targets)
        if expected := _no_scalar(value, ()):
            raise _mistake(option, "what it builds", value, expected)
        return value

    return checked


def _checking(point: Callable[..., Any], option: Option, check: Check) -> Callable[..., Any]:
    @wraps(point)
    def checked(self: Hook, *given: Any) -> Any:
        found = point(self, *given)
        if expected := check(found, given):
            raise _mistake(option, point.__name__, found, expected)
        return found

    return checked


def _no_frame(found: object, given: tuple[Any, ...]) -> str:
    return "" if isinstance(found, Frame) else "the frame that it was given, with one more map"


def _no_batch(found: object, given: tuple[Any, ...]) -> str:
    if not isinstance(found, Batch):
        return "a batch, dataclasses.replace of the one that it was given"
    shape = given[0].images.shape
    return "" if found.images.shape == shape else f"images of the shape that it was given, {list(shape)}"


def _no_number(found: object, given: tuple[Any, ...]) -> str:
    return "" if isinstance(found, Real) and math.isfinite(found) else "a finite number"


def _no_scalar(found: Any, given: tuple[Any, ...]) -> str:
    import torch

    return "" if isinstance(found, torch.Tensor) and found.dim() == 0 else "a tensor of one number, the batch's mean"


_POINTS: dict[str, Check] = {
    "place": _no_frame,
    "augment": _no_batch,
    "mix": _no_batch,
    "rate": _no_number,
    "loss": _no_scalar,
}


def _mistake(option: Option, point: str, found: object, expected: str) -> UserError:
    if isinstance(found, Batch):
        got = f"images of shape {list(found.images.shape)}"
    elif hasattr(found, "shape"):
        got = f"{type(found).__name__} of shape {list(found.shape)}"
    else:
        got = repr(found)[:80]
    return UserError(f"{kind_of(type(option))}: {point} gave {got}, expected {expected}")
