"""What options of plugins return, checked where they return it: the loop would blame some other place, or none."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import wraps
from numbers import Real
from typing import TYPE_CHECKING, Any

from trainer.errors import UserError, closest
from trainer.geometry import Frame
from trainer.hooks import Batch, Hook, Moment, acts_at

from ..catalog import kind_of
from ..options import Loss, Optimizer, Option, Refinement, Schedule
from ..plugin_errors import misfit

if TYPE_CHECKING:
    import torch
    from torch import nn

    Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

Check = Callable[[Any, tuple[Any, ...]], str]
"""(what was returned, what was passed) to what was expected instead; empty where it is right."""


_FRACTIONS, _LEVELS = 4.0, 16.0
"""The greatest value of images that somebody has scaled or normalised, and the least of others, which may be dark."""

_SPAN = ("first", "last")
"""Where the loop keeps the epochs in which a hook acts: one that sets these for itself would be passed over."""


def checked_hook(option: Refinement, hook: object, *, first: int, last: int, classes: int) -> Hook:
    """The hook that a refinement has built, for these epochs.

    A plugin's raises UserError for what the loop can't take, at its point.
    """
    if not isinstance(hook, Hook):
        raise mistake(option, "build", hook, "an instance of a class derived from trainer.hooks.Hook")
    if option.code:
        own = type(hook)
        if wrong := misfit(own, Hook):
            raise UserError(f"{kind_of(type(option))}: its hook has {wrong}")
        for name in _SPAN:
            if name in vars(hook) or acts_at(own, name):
                raise _taken(option, name)
        if wrong := _idle(own):
            raise UserError(f"{kind_of(type(option))}: its hook {wrong}")
        batches = _batches_of(classes)
        checks = _POINTS | {"augment": _levels_of(batches), "mix": batches, "networks": _networks_of(option)}
        points = {
            point: _checking(getattr(own, point), option, check)
            for point, check in checks.items()
            if acts_at(own, point)
        }
        if acts_at(own, "start"):
            points["start"] = _keeping_the_network(own, option)
        # not by assignment, which a frozen dataclass refuses
        object.__setattr__(hook, "__class__", type(own.__name__, (own,), points | {"__setattr__": _guard(own, option)}))
    vars(hook).update(first=first, last=last)
    return hook


_ASKED = ("works_in", "state_dict", "load_state_dict")
_ACTING = [name for name, point in vars(Hook).items() if inspect.isfunction(point) and name not in _ASKED]
"""The points of the loop, and `networks`."""


def _idle(own: type[Hook]) -> str:
    """What is wrong with a class of hooks that the loop calls nowhere, or not where its author means; else empty."""
    meant = [name for name in dir(own) if not name.startswith("_") and callable(getattr(own, name))]
    for name in meant:
        near = closest(name, (*_ACTING, *_ASKED), alike=0.8)
        if near is not None and near != name and not acts_at(own, near):
            return f"has {name!r}, which the loop does not call; did you mean {near!r}?"
    if own is Hook or any(acts_at(own, point) for point in _ACTING):
        return ""
    return f"acts at no point, expected one of {', '.join(_ACTING)}"


def _guard(own: type[Hook], option: Refinement) -> Callable[[Hook, str, Any], None]:
    def set_attribute(self: Hook, name: str, value: Any) -> None:
        if name in _SPAN:
            raise _taken(option, name)
        own.__setattr__(self, name, value)

    return set_attribute


def _taken(option: Refinement, name: str) -> UserError:
    kind = kind_of(type(option))
    return UserError(
        f"{kind}: its hook sets {name!r}, where the loop keeps the {name} epoch in which it acts; expected another "
        "name, or `works_in` to act in some epochs only"
    )


def _keeping_the_network(own: type[Hook], option: Refinement) -> Callable[[Hook, nn.Module], None]:
    def start(self: Hook, model: nn.Module) -> None:
        before = _layers_of(model)
        own.start(self, model)
        after = _layers_of(model)
        if changed := [name for name in before | after if before.get(name) != after.get(name)]:
            # the optimizer has its parameters by now, and whoever loads the weights builds the architecture alone
            raise UserError(
                f"{kind_of(type(option))}: start changed the network at {changed[0] or 'its top'}, expected it as the "
                "architecture builds it; what makes another network is a surgery, or an option of architectures"
            )

    return start


def _layers_of(model: nn.Module) -> dict[str, object]:
    """The class of each module by name, and the shape of each tensor of the state."""
    return {name: type(module) for name, module in model.named_modules()} | {
        name: getattr(value, "shape", None) for name, value in model.state_dict().items()
    }


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
        if expected := _no_state(state, ()):
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
        if expected := _no_scalar(value, (logits,)):
            raise mistake(option, "what it builds", value, expected)
        return value

    return checked


def described(found: object) -> str:
    """A tensor's or array's type and shape; of anything else, its class."""
    shape = getattr(found, "shape", None)
    return type(found).__name__ if shape is None else f"{getattr(found, 'dtype', '')} {list(shape)}"


def _checking(point: Callable[..., Any], option: Option, check: Check) -> Callable[..., Any]:
    @wraps(point)
    def checked(self: Hook, *given: Any) -> Any:
        found = point(self, *given)
        if expected := check(found, given):
            raise mistake(option, point.__name__, found, expected)
        return found

    return checked


def _no_frame(found: object, given: tuple[Any, ...]) -> str:
    return "" if isinstance(found, Frame) else "the frame that it was given, with one more map"


def _batches_of(classes: int) -> Check:
    import torch

    def check(found: object, given: tuple[Any, ...]) -> str:
        if not isinstance(found, Batch):
            return "a batch, dataclasses.replace of the one that it was given"
        images, targets = given[0].images, found.targets
        if found.images.shape != images.shape:
            return f"images of the shape that it was given, {list(images.shape)}"
        if found.images.dtype != images.dtype:
            return f"images of the type that it was given, {images.dtype}, instead of {found.images.dtype}"
        each, both = (len(images),), (len(images), classes)
        if targets.shape == (each if targets.dtype == torch.int64 else both if targets.is_floating_point() else ()):
            return ""
        wanted = f"classes, int64 {list(each)}, or probabilities, float32 {list(both)}"
        return f"targets that are {wanted}"

    return check


def _levels_of(batches: Check) -> Check:
    """Also, of the first batch, that its pixel values are levels as before: 0..1 would train on nearly one level."""
    seen = False

    def check(found: object, given: tuple[Any, ...]) -> str:
        nonlocal seen
        if (wrong := batches(found, given)) or seen:
            return wrong
        seen = True
        assert isinstance(found, Batch)
        before, most = float(given[0].images.max()), float(found.images.abs().max())
        if not 0 < most <= _FRACTIONS < _LEVELS < before:
            return ""
        return f"pixel values of 0..255, as it was given, instead of at most {most:.3g}; they are normalised afterwards"

    return check


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

    if not isinstance(found, torch.Tensor) or found.dim():
        return "a tensor of one number, the batch's mean"
    return "one with a gradient" if given[0].requires_grad and not found.requires_grad else ""


def _no_state(found: object, given: tuple[Any, ...]) -> str:
    from trainer.checkpoint import unfit

    wanted = "a dict of tensors and plain values, which a checkpoint holds"
    wrong = unfit(found) if isinstance(found, dict) else f"it is {type(found).__name__}"
    return f"{wanted}, but {wrong}" if wrong else ""


_POINTS: dict[str, Check] = {
    "place": _no_frame,
    "rate": _no_number,
    "loss": _no_scalar,
    "state_dict": _no_state,
}


def mistake(option: Option, point: str, found: object, expected: str) -> UserError:
    """The error for what an option gave at one of its points."""
    if isinstance(found, Batch):
        got = f"images {described(found.images)} with targets {described(found.targets)}"
    elif hasattr(found, "shape"):
        got = f"{type(found).__name__} of shape {list(found.shape)}"
    else:
        got = " ".join(repr(found).split())[:80]
    return UserError(f"{kind_of(type(option))}: {point} gave {got}, expected {expected}")
