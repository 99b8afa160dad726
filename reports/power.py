"""How many seeds a comparison takes. Pure functions of numbers."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from .significance import EXACT, smallest_p
from .statistics import Difference


def seeds_to_decide(difference: Difference, most: int = 1000) -> int | None:
    """Further seeds until the 95 % t interval leaves out zero, if mean and spread stay as they are; 0 where it does.

    The smallest n with |mean| > t(0.975; n - 1) * sd / sqrt(n), less the seeds at hand. None where the mean is
    zero or the spread unknown (`difference.sd`), and where more than `most` seeds in all would be needed. A projection
    from few seeds, no promise: mean and spread will both move.
    """
    if difference.sd is None or difference.mean == 0:
        return None
    n = np.arange(max(2, difference.n), most + 1)
    enough = abs(difference.mean) > stdtrit(n - 1, 0.975) * difference.sd / np.sqrt(n)
    return int(n[enough.argmax()]) - difference.n if enough.any() else None


def fewest_seeds(comparisons: int, level: float = 0.05) -> int | None:
    """The seeds below which the sign-flip test, with Holm over so many comparisons, can decide none of them.

    The smallest n with comparisons * 2 / 2^n <= level; None beyond the flips that the test tries.
    """
    return next((n for n in range(1, EXACT + 1) if comparisons * smallest_p(n) <= level), None)
