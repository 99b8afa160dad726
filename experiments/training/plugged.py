"""What options of plugins return, checked where they return it: the loop would blame some other place, or none."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import wraps
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import UserError
from trainer.geometry import Frame
from trainer.hooks import Batch, Hook, Moment

from ..catalog import kind_of
from ..options import Dataset, Loss, Option, Refinement, Schedule
from ..plugin_errors import misfit

if TYPE_CHECKING:
    import torch

    from trainer.data import Source

    Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

Check = Callable[[Any, tuple[Any, ...]], str]
"""(what was returned, what was passed) to what was expected instead; empty where it is right."""


def checked_hook(option: Refinement, hook: object) -> Hook:
    """The hook that a refinement has built; a plugin's raises UserError for what the loop can't take, at its point."""
    if not isinstance(hook, Hook):
        raise _mistake(option, "build", hook, "an instance of a class derived from trainer.hooks.Hook")
    if option.code:
        own = type(hook)
        if wrong := misfit(own, Hook):
            raise UserError(f"{kind_of(type(option))}: its hook has {wrong}")
        points = {
            point: _checking(getattr(own, point), option, check)
            for point, check in (_POINTS | {"networks": _networks_of(option)}).items()
            if getattr(own, point) is not getattr(Hook, point)
        }
        hook.__class__ = type(own.__name__, (own,), points)
    return hook


class CheckedSchedule:
    """A plugin's schedule that raises UserError for a factor that is no finite number from 0 on."""

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


def checked_source(dataset: Dataset, source: object) -> Source:
    """What a data set has read. Raises UserError for a plugin's that the trainer can't take or whose splits overlap."""
    from trainer.data import Source

    if not isinstance(source, Source):
        raise _mistake(dataset, "read", source, "a trainer.data.Source")
    for wrong in _wrongs(dataset, source) if dataset.code else ():
        raise UserError(f"{kind_of(type(dataset))}: read gave {wrong}")
    return source


def _wrongs(dataset: Dataset, source: Source) -> Iterator[str]:
    """What is wrong with a source, in words."""
    import numpy as np

    images, labels, classes = source.images, source.labels, source.classes
    number, known = len(images), dataset.num_classes()
    if isinstance(images, np.ndarray):
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            yield f"images {images.dtype} {list(images.shape)}, expected uint8 [N, H, W, 3]"
    elif wrong := next((image for image in images if not isinstance(image, Path)), None):
        yield f"the image {wrong!r:.60}, expected a path, or all as an array"
    if len(set(classes)) != len(classes):
        yield f"the classes {', '.join(map(str, classes))}, expected each name once"
    if known is not None and known != len(classes):
        yield f"{len(classes)} classes, expected {known}, as num_classes() says"
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.shape != (number,):
        yield f"labels {_described(labels)}, expected whole numbers [{number}], one an image"
    elif number and not 0 <= labels.min() <= labels.max() < len(classes):
        yield f"labels from {labels.min()} to {labels.max()}, expected 0 to {len(classes) - 1}"
    if missing := [split for split in ("train", "val") if split not in source.splits]:
        yield f"the splits {', '.join(source.splits) or 'none'}, expected {' and '.join(missing)} as well"
    owner: dict[int, str] = {}
    for name, rows in source.splits.items():
        if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "iu" or rows.ndim != 1 or not len(rows):
            yield f"the split {name} as {_described(rows)}, expected numbers of images, one at least"
        elif not 0 <= rows.min() <= rows.max() < number:
            yield f"the split {name} with images {rows.min()} to {rows.max()}, expected 0 to {number - 1}"
        elif both := [row for row in rows.tolist() if owner.setdefault(row, name) != name]:
            yield f"image {both[0]} in the splits {owner[both[0]]} and {name}, expected each in one"


def _described(found: object) -> str:
    shape = getattr(found, "shape", None)
    return type(found).__name__ if shape is None else f"{getattr(found, 'dtype', '')} {list(shape)}"


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


def _networks_of(option: Refinement) -> Check:
    from torch import nn

    def check(found: object, given: tuple[Any, ...]) -> str:
        if not isinstance(found, dict) or not all(isinstance(network, nn.Module) for network in found.values()):
            return "a dict from a name to a network"
        if set(found) <= set(option.networks):
            return ""
        own = ", ".join(map(repr, option.networks)) or "none"
        return f"the names that the class states as `networks: ClassVar[tuple[str, ...]]`, which are {own}"

    return check


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
        got = " ".join(repr(found).split())[:80]
    return UserError(f"{kind_of(type(option))}: {point} gave {got}, expected {expected}")
