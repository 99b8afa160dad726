"""Where a training reports its epochs, and the journal that a worker keeps of them."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Protocol

from .files import written_whole

Epoch = dict[str, float]
"""The metrics of one epoch, by the names of trainer.metrics."""


class Recorder(Protocol):
    """Takes each epoch as it ends. An exception that it raises ends the training."""

    def epoch(self, number: int, metrics: Epoch) -> None:
        """Take the epoch `number` (from 1); the first call of a resumed training is for its first new epoch."""


class Journal:
    """One JSON line an epoch, on the disk before the next epoch begins."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> list[Epoch]:
        """The epochs so far, without a line that a crash cut short and what follows it."""
        epochs: list[Epoch] = []
        if self.file.exists():
            for line in self.file.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    epoch = json.loads(line)
                except ValueError:
                    break
                if not isinstance(epoch, dict):
                    break
                epochs.append(epoch)
        return epochs

    def truncate(self, epochs: int) -> None:
        """Drop all but the first `epochs`: the weights of later ones were not saved."""
        kept = self.read()[:epochs]
        with written_whole(self.file) as draft:
            draft.write_text("".join(json.dumps(epoch) + "\n" for epoch in kept), encoding="utf-8")

    def append(self, metrics: Epoch) -> None:
        """Add one epoch. An OSError leaves the file as it was."""
        line = (json.dumps(metrics) + "\n").encode()
        with self.file.open("ab", buffering=0) as handle:
            before = handle.tell()
            try:
                if handle.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.file))
                os.fsync(handle.fileno())
            except OSError:
                # half a line would make the next one unreadable
                handle.truncate(before)
                raise
