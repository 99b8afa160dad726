"""The files that a training leaves in its folder."""

from pathlib import Path

JOURNAL = "journal.jsonl"
"""The metrics of every epoch, a line each."""

CHECKPOINT = "last.pt"
"""All that an interrupted training needs to go on."""

LOG = "log.txt"
"""What the training logged, and the traceback of its failure."""

WEIGHTS = "weights.safetensors"
"""The selected epoch's weights, of a finished training."""


def existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def drop_drafts(folder: Path) -> None:
    """Delete what a process that died was writing."""
    for file in folder.glob("*.part"):
        file.unlink(missing_ok=True)


def tidy(folder: Path) -> None:
    """Delete what is not needed once a training is recorded: checkpoints, drafts, weights. Log and journal stay."""
    drop_drafts(folder)
    for file in (*folder.glob("*.pt"), folder / WEIGHTS):
        file.unlink(missing_ok=True)
