"""Names in a study file that name files."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

_LONGEST = 100


def file_name(value: str) -> str:
    """A name that files may have; raises ValueError for another."""
    if len(value) > _LONGEST:
        raise ValueError(f"got {len(value)} letters, expected at most {_LONGEST}, because it names files")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        raise ValueError(f"got {value!r}, expected letters, digits, '_', '-' and '.' only, because it names files")
    return value


FileName = Annotated[str, AfterValidator(file_name)]
