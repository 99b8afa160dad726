"""Times as a terminal shows them."""

from __future__ import annotations

import time

from experiments.language.wording import count, duration

_LATEST = 3e10
"""The most seconds from now for which a date is computed, as calendars end."""


def took(seconds: float) -> str:
    """How long a trial or an epoch took: `0.04 s`, `7.3 s`, `8 min 20 s`."""
    if seconds < 0.095:
        return f"{seconds:.2f} s"
    return f"{seconds:.1f} s" if seconds < 59.95 else duration(seconds)


def clock(seconds: float) -> str:
    """Seconds as a clock shows them: `0:07`, `12:30`, `3:05:00`; from a day on `1 day 5 h`, `12 days 0 h`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{count(hours // 24, 'day')} {hours % 24} h"
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def until(seconds: float) -> str:
    """When so many seconds will be over: `Mon 08:30`, or `2026-12-24` where the day of the week would be ambiguous."""
    ends = time.localtime(time.time() + min(seconds, _LATEST))
    return time.strftime("%a %H:%M" if seconds < 6 * 86400 else "%Y-%m-%d", ends)
