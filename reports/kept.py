"""What was written last time, whether its files are still as they were left, and how a file is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from experiments.training.fingerprint import file_digest
from experiments.training.folders import in_turn
from trainer.files import DRAFT, written_whole


def read_kept(file: Path) -> dict[str, Any]:
    """The content of a JSON file; empty where it is missing or not readable, so that all is written again."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def digest_if_there(file: Path) -> str | None:
    """Digest of a file's content; None where there is no file."""
    return file_digest(file) if file.is_file() else None


def write_whole(file: Path, text: str) -> None:
    """Write a file in one step, so that no reader sees half of it; a file with the same content is left alone."""
    content = text.encode("utf-8")
    if file.is_file() and file.read_bytes() == content:
        return
    with written_whole(file) as draft:
        draft.write_bytes(content)


@contextmanager
def alone_in_folder(folder: Path) -> Iterator[None]:
    """Inside, no other process writes a report to this folder, and what killed ones were writing there is deleted.

    Of two at once, the one that has read less might write last. A folder that holds nothing at the end is not left.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with in_turn(folder):
            # only ours: people keep files of their own in the folder
            for draft in folder.rglob(f".*.{'[0-9a-f]' * 8}{DRAFT}"):
                draft.unlink(missing_ok=True)
            yield
    finally:
        for place in made:
            with suppress(OSError):
                place.rmdir()
