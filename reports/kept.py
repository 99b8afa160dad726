"""What was written last time, and whether its files are still as they were left."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def read_kept(file: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing where it is gone or not readable, so that all is written again."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def file_digest(file: Path) -> str | None:
    """Digest of a file's content; None where there is none."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
