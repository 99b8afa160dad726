"""Torch without its compiler, which takes as long to load as torch itself."""

from __future__ import annotations

from functools import wraps
from typing import Any


def spare_compiler() -> None:
    """Optimizers no longer load the compiler only to keep it out of what they do; they compute the same.

    Torch wraps their methods for who compiles a whole step. Of ours, a network's forward pass alone is ever compiled.
    A release of torch that wraps them another way keeps its wrappers.
    """
    from torch import optim
    from torch.optim import optimizer

    unwrap(optim.Optimizer)
    wraps_step = getattr(optimizer, "_use_grad_for_differentiable", None)
    if wraps_step is None:
        return
    told = wraps_step(_nothing).__code__
    for found in _below(optim.Optimizer):
        step: Any = vars(found).get("step")
        if getattr(step, "__code__", None) is told:
            # an attribute that is a method: mypy takes this for a mistake
            setattr(found, "step", _plain(step.__wrapped__))  # noqa: B010


def unwrap(owner: Any) -> None:
    """Free a class's methods of the wrapper that loads torch's compiler to keep it out."""
    try:
        from torch._compile import _disable_dynamo
    except ImportError:
        return
    wrapper = _disable_dynamo(_nothing).__code__
    for name, method in list(vars(owner).items()):
        if getattr(method, "__code__", None) is wrapper:
            setattr(owner, name, method.__wrapped__)


def _plain(step: Any) -> Any:
    """As torch wraps an optimizer's step, but for what it says to the compiler."""
    import torch

    @wraps(step)
    def plain(self: Any, *arguments: Any, **named: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *arguments, **named)

    return plain


def _below(cls: type) -> list[type]:
    children: list[type] = cls.__subclasses__()
    return children + [found for child in children for found in _below(child)]


def _nothing() -> None:
    pass
