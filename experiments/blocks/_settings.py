"""Settings that several blocks have."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, PositiveInt


def _is_odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError(f"got {value}, expected an odd number: an even kernel has no centre")
    return value


KernelSize = Annotated[PositiveInt, AfterValidator(_is_odd)]
"""Side of a square kernel in pixels; odd, so that padding by half of it keeps the map's size."""
