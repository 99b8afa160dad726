"""A study with a trial that waits until it is told to go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

GATED = '''
"""A schedule that waits in its third epoch."""
import time
from pathlib import Path
from typing import Literal
from experiments.options import Schedule
from trainer.hooks import Moment


class Gated(Schedule):
    """Goes on while the file `shut` is not there."""

    kind: Literal["gated"] = "gated"

    def factor(self, moment: Moment) -> float:
        while moment.epoch >= 2 and Path("shut").exists():
            time.sleep(0.05)
        return 1.0
'''


def gated(study_file: Callable[..., Path], epochs: int) -> Path:
    """The tiny study, whose trial plain+l waits in its third epoch while the file `shut` is there, as it is now."""
    Path("gated.py").write_text(GATED)
    Path("shut").touch()
    return study_file(
        ("epochs: 2", f"epochs: {epochs}"),
        ("l: {loss.label_smoothing: 0.1}", "l: {schedule: {kind: gated}}"),
        ("\nstudy: tiny", "\nplugins: [gated.py]\nstudy: tiny"),
    )
