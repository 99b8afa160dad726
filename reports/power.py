"""How many seeds a comparison needs. Pure functions of numbers."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from .significance import EXACT, smallest_p
from .statistics import Difference


def seeds_to_decide(difference: Difference, most: int = 1000) -> int | None:
    """Further seeds until the 95 % t interval leaves out zero, if mean and spread stay as they are; 0 if it does now.

    The smallest n with |mean| > t(0.975; n - 1) * sd / sqrt(n), minus the seeds at hand. None where the mean is
    zero, the spread unknown (`difference.sd`), or more than `most` seeds in all would be needed. A projection
    from few seeds, not a promise: mean and spread will both move.
    """
    if difference.sd is None or difference.mean == 0:
        return None
    n = np.arange(max(2, difference.n), most + 1)
    enough = abs(difference.mean) > stdtrit(n - 1, 0.975) * difference.sd / np.sqrt(n)
    return int(n[enough.argmax()]) - difference.n if enough.any() else None


def fewest_seeds(comparisons: int, level: float = 0.05) -> int | None:
    """The fewest seeds with which the sign-flip test, Holm-corrected over so many comparisons, can decide any of them.

    The smallest n with comparisons * 2 / 2^n <= level; None where that is more than the test tries all flips of.
    """
    return next((n for n in range(1, EXACT + 1) if comparisons * smallest_p(n) <= level), None)
