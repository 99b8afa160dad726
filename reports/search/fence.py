"""Values too far from the others to be drawn to scale, such as a loss that exploded."""

from __future__ import annotations

import pandas as pd

from experiments.search.plan import Objective
from experiments.search.words import COSTS

_FAR = 10.0
"""Times the spread of the better three quarters: farther out, these would lie on one line."""


def fence(values: pd.Series, objective: Objective) -> float | None:
    """Where an objective's axis ends, with what lies beyond drawn at its end; None where all fit on it.

    What is better lies always on it, and what a network costs is as it was asked for.
    """
    numbers = pd.to_numeric(values).dropna()
    if objective.direction == "max" or objective.metric in COSTS or numbers.empty:
        return None
    best, most = numbers.min(), numbers.quantile(0.75, interpolation="lower")
    spread = most - best
    return float(most + spread) if 0 < _FAR * spread < numbers.max() - best else None
