"""A plugin's hooks, checked at each point where the loop calls them, and what an interruption would lose of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import wraps
from numbers import Real
from typing import TYPE_CHECKING, Any

from trainer.errors import UserError, closest
from trainer.geometry import Frame
from trainer.hooks import Batch, Hook, acts_at

from ..catalog import kind_of
from ..options import Option, Refinement
from ..plugin_errors import misfit
from .plugged import mistake, no_scalar, no_state

if TYPE_CHECKING:
    from torch import nn

Check = Callable[[Any, tuple[Any, ...]], str]
"""(what was returned, what was passed) to what was expected instead; empty where it is right."""

_FRACTIONS, _LEVELS = 4.0, 16.0
"""The greatest value of images that somebody has scaled or normalised, and the least of others, which may be dark."""

_MARK = "_of_a_plugin"
"""An attribute of those that are checked."""

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
        members = _held_by(own) | points | {"__setattr__": _guard(own, option), _MARK: True}
        object.__setattr__(hook, "__class__", type(own.__name__, (own,), members))
    vars(hook).update(first=first, last=last)
    return hook


def _held_by(own: type[Hook]) -> dict[str, Any]:
    """Copies of the lists, dicts and sets that a class holds: the next trial must not meet what this one puts there."""
    held = {name: value for base in reversed(own.__mro__) for name, value in vars(base).items()}
    return {
        name: deepcopy(value)
        for name, value in held.items()
        if isinstance(value, list | dict | set) and not name.startswith("__")
    }


_ASKED = ("works_in", "state_dict", "load_state_dict")
_ACTING = [name for name, point in vars(Hook).items() if inspect.isfunction(point) and name not in _ASKED]
"""The points of the loop, and `networks`."""


def _idle(own: type[Hook]) -> str:
    """What is wrong with a class of hooks that the loop calls nowhere, or not where its author means; else empty."""
    meant = [name for name in dir(own) if not name.startswith("_") and callable(getattr(own, name))]
    for name in meant:
        near = closest(name, (*_ACTING, *_ASKED), alike=0.8)
        # `placed` and `losses` are names of helpers
        if near and not name.startswith(near) and not near.startswith(name) and not acts_at(own, near):
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


def forgotten(hooks: Sequence[Hook], build: Callable[[], Sequence[Hook]], epochs: int) -> Iterator[str]:
    """A sentence for each plugin's hook that a training of so many epochs has changed, and that keeps no state.

    hooks: after the training. build: makes the same hooks anew.
    """
    without = [i for i, hook in enumerate(hooks) if hasattr(hook, _MARK) and not hook.state_dict()]
    fresh = build() if without else ()
    for i in without:
        hook, before = hooks[i], vars(type(fresh[i])) | vars(fresh[i])
        averaged = [id(network) for network in hook.networks().values()]
        changed = [
            name
            for name, now in (vars(type(hook)) | vars(hook)).items()
            if id(now) in averaged or (name not in _SPAN and _has_changed(now, before.get(name), epochs))
        ]
        if changed:
            names = f"{', '.join(changed)} during training"
            lost = "an interruption loses what is not set anew in each epoch"
            yield f"the hook {type(hook).__name__} changes {names}, but its `state_dict` gives nothing: {lost}"


def _has_changed(now: object, before: object, epochs: int) -> bool:
    """Whether a hook's attribute holds what it has counted or gathered: more than the epoch, or what its start set."""
    import torch

    if isinstance(now, Real):
        return isinstance(before, Real) and now not in (before, epochs)
    if isinstance(now, torch.Tensor):
        return not isinstance(before, torch.Tensor) or not torch.equal(now.cpu(), before.cpu())
    values = [*now.values()] if isinstance(now, dict) else now if isinstance(now, list | tuple) else []
    return any(isinstance(value, Real | torch.Tensor) for value in values) and str(now) != str(before)


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


_POINTS: dict[str, Check] = {
    "place": _no_frame,
    "rate": _no_number,
    "loss": no_scalar,
    "state_dict": no_state,
}
