"""Performs the surgery that a recipe asks for, and checks that blocks and a head still have their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trainer.errors import UserError

from .. import catalog
from ..options import Surgery
from ._placement import classifiers

if TYPE_CHECKING:
    from torch import nn


def operate(model: nn.Module, surgery: Mapping[str, Surgery], stages: Sequence[str]) -> None:
    """Perform every surgery, the least `order` first; raises UserError where one fails or does not fit the network."""
    for kind, option in sorted(surgery.items(), key=lambda item: (item[1].order, item[0])):
        place = f"architecture.surgery.{kind}"
        try:
            changed: object = option.apply(model)
        except UserError:
            raise
        except Exception as error:
            line = catalog.plugin_line(error)
            what = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            raise UserError(f"{place}: {f'{line}: ' if line else ''}{' '.join(what.split())[:300]}") from error
        if changed is not model:
            got = "another network" if isinstance(changed, type(model)) else type(changed).__name__
            raise UserError(f"{place}: apply returned {got}, expected the one that it was given, changed in place")
        if wrong := _lacking(model, stages):
            raise UserError(f"{place}: apply left {wrong}")


def _lacking(model: nn.Module, stages: Sequence[str]) -> str:
    """What a network of timm's has not kept of its stages and its classifier; empty where it has both."""
    present = {name for name, _ in model.named_modules()}
    if gone := [stage for stage in stages if stage not in present]:
        return f"no {gone[0]}, expected stages to keep their names"
    if not classifiers(model):
        return "no classifier, expected timm's to keep its name"
    return ""
