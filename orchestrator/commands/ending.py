"""What `ablate run` and `ablate search` both say at their end."""

from __future__ import annotations

from rich.console import Console

from experiments.tracking.uris import shown_uri

from ..events import EngineDied
from ..task import RunSummary


def say_refused(summary: RunSummary, console: Console) -> None:
    """Say how many writes the record refused, if any."""
    if errors := summary.record_errors:
        console.print(f"the record at {shown_uri()} refused {len(errors)} writes, first: {errors[0]}", style="red")


def interrupted(summary: RunSummary, console: Console) -> int | None:
    """If the run was interrupted, say so, and by what; returns the exit code, or None if it was not."""
    if summary.interrupted is None:
        return None
    console.print(
        f"{str(summary.interrupted) or 'interrupted'}; what is finished is recorded, and the same command goes on"
    )
    return 1 if isinstance(summary.interrupted, EngineDied) else 130
