"""Modules put in the place of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def replace_modules(model: nn.Module, replacement: Callable[[nn.Module], nn.Module | None]) -> int:
    """Put in the place of each module below `model` what `replacement` gives for it, if anything; returns how many.

    A module that stands in several places is replaced by one.
    """
    # found before any is replaced, because a replacement may hold the module that it stands for; not by
    # named_children, which leaves out the second name of a module
    places = [
        (parent, name, child)
        for parent in list(model.modules())
        for name, child in list(parent._modules.items())
        if child is not None
    ]
    new = {child: replacement(child) for _, _, child in places}
    for parent, name, child in places:
        if (module := new[child]) is not None:
            setattr(parent, name, module)
    return sum(module is not None for module in new.values())
