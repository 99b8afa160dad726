"""What all trials share: one training loop, its data path and its hook points. Knows nothing of studies.

`train` is imported on first use, so that planning a study does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import Diverged, UserError

if TYPE_CHECKING:
    from .loop import Outcome, train

SEMANTICS = 10
"""Raised by hand when the same recipe and seed would now give another result; part of every trial's identity."""

__all__ = ["SEMANTICS", "Diverged", "Outcome", "UserError", "train"]


def __getattr__(name: str) -> Any:
    if name in ("train", "Outcome"):
        from . import loop

        return getattr(loop, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
