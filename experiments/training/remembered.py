"""What this machine has measured before: small facts in its cache, each under all that it depends on."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainer.files import written_whole
from trainer.settings import digest

from .folders import cache_folder


def remembered(what: str, key: object, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is remembered for `key`, else what `measure` gives, which is then remembered; see `remember`."""
    known = recall(what, key)
    if known is not None:
        return known
    found = measure()
    remember(what, key, found)
    return found


def recall(what: str, key: object) -> dict[str, Any] | None:
    """What was remembered for a JSON-like key; None where there is nothing that can be read."""
    try:
        known = json.loads(_file(what, key).read_text())
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) else None


def remember(what: str, key: object, found: dict[str, Any]) -> None:
    """Keep JSON-like data in the folder `what` of the machine's cache; failing to write it only costs time."""
    with suppress(OSError), written_whole(_file(what, key)) as draft:
        draft.write_text(json.dumps(found))


def _file(what: str, key: object) -> Path:
    return cache_folder() / what / f"{digest(key, 24)}.json"
