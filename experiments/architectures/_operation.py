"""Performs the surgery that a recipe asks for, and checks that blocks and a head still have their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trainer.errors import UserError

from ..options import Surgery
from ._placement import classifiers

if TYPE_CHECKING:
    from torch import nn


def operate(model: nn.Module, surgery: Mapping[str, Surgery], stages: Sequence[str]) -> nn.Module:
    """The network after every surgery, the least `order` first; raises UserError where one does not fit it."""
    for kind, option in sorted(surgery.items(), key=lambda item: (item[1].order, item[0])):
        try:
            changed: object = option.apply(model)
        except ValueError as error:
            raise UserError(f"architecture.surgery.{kind}: {error}") from None
        if wrong := _lacking(changed, stages):
            raise UserError(f"architecture.surgery.{kind}: apply returned {wrong}")
        model = changed  # type: ignore[assignment]
    return model


def _lacking(changed: object, stages: Sequence[str]) -> str:
    """What was returned instead of a network with these stages and a classifier; empty where it is one."""
    from torch import nn

    if not isinstance(changed, nn.Module):
        return f"{type(changed).__name__}, expected the network"
    present = {name for name, _ in changed.named_modules()}
    if gone := [stage for stage in stages if stage not in present]:
        return f"a network without {gone[0]}, expected its stages to keep their names"
    if not hasattr(changed, "get_classifier") or not classifiers(changed):
        return "a network without its classifier, expected timm's, changed in place"
    return ""
