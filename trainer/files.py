"""The files that a training leaves in its folder."""

from pathlib import Path

JOURNAL = "journal.jsonl"
"""A line an epoch."""

CHECKPOINT = "last.pt"
"""All that an interrupted training needs to go on."""

LOG = "log.txt"
"""What it said, and the traceback of its failure."""

WEIGHTS = "weights.safetensors"
"""The selected epoch's weights, of a finished training."""


def existing(path: Path) -> Path:
    """The path itself, or the nearest above it that is there."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def tidy(folder: Path) -> None:
    """Once all is recorded no checkpoint is needed, nor what was half written; the log and the journal stay."""
    for file in (*folder.glob("*.pt"), *folder.glob("*.part"), folder / WEIGHTS):
        file.unlink(missing_ok=True)
