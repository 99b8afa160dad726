"""Schedules with which a trial fails: a plugin for the study of `faults.py`."""

from pathlib import Path
from typing import Literal

import torch

from experiments.options import Schedule
from trainer.hooks import Moment


class Explodes(Schedule):
    """Trains well for three epochs, then diverges."""

    kind: Literal["explodes"] = "explodes"

    def factor(self, moment: Moment) -> float:
        return 1.0 if moment.epoch < 3 else 1e30


class Hungry(Schedule):
    """Runs out of memory from its second epoch on while any other trial trains."""

    kind: Literal["hungry"] = "hungry"

    def factor(self, moment: Moment) -> float:
        if moment.epoch >= 1 and len(list(Path(".ablate/trials").glob("*/last.pt"))) > 1:
            torch.empty(64 * 2**40, dtype=torch.uint8)
        return 1.0


class Raises(Schedule):
    """Trains well for an epoch, then raises."""

    kind: Literal["raises"] = "raises"

    def factor(self, moment: Moment) -> float:
        if moment.epoch >= 1:
            raise ValueError("no training today")
        return 1.0
