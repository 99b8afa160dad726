"""What is written of a training after each epoch, from which it goes on when it was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import checkpoint
from .chain import Chain
from .errors import UserError
from .files import CHECKPOINT, JOURNAL
from .full_disk import with_room
from .kept import Kept
from .recorder import Epoch, Journal


class Resumable:
    """A training's state, in memory and in its folder (None: nothing is written, and it begins at its first epoch)."""

    def __init__(
        self, folder: Path | None, model: nn.Module, optimizer: torch.optim.Optimizer, hooks: Chain, kept: Kept
    ) -> None:
        self.folder = folder
        self.model = model
        self.optimizer = optimizer
        self.hooks = hooks
        self.kept = kept

    def resume(self) -> list[Epoch]:
        """Load the last checkpoint, if any; returns the metrics of the epochs up to it.

        Where it is damaged, or the journal or the kept weights of these epochs are gone, training starts over.
        """
        if self.folder is None:
            return []
        file = self.folder / CHECKPOINT
        journal = Journal(self.folder / JOURNAL)
        state = self._whole(file, journal.read())
        if state is None:
            with_room(self.folder, lambda: journal.truncate(0))
            return []
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.hooks.load_states(state["hooks"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise UserError(f"{file}: a checkpoint of another training; delete it to start over") from error
        with_room(self.folder, lambda: journal.truncate(state["epoch"]))
        return journal.read()

    def writing(self, history: Sequence[Epoch], networks: Mapping[str, nn.Module]) -> Callable[[], None]:
        """A function that writes the last epoch of `history` to the disk, from a copy of the state as it is now.

        It writes the selected weights, then the journal, then the checkpoint, which could not be resumed without both.
        """
        so_far = list(history)
        keep = self.kept.taken(so_far, networks)
        if self.folder is None:
            return keep
        folder = self.folder
        state = checkpoint.copied(
            {
                "epoch": len(so_far),
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "hooks": self.hooks.states(),
            }
        )

        def write() -> None:
            with_room(folder, keep)
            with_room(folder, lambda: Journal(folder / JOURNAL).append(so_far[-1]))
            with_room(folder, lambda: checkpoint.save(state, folder / CHECKPOINT))
            self.kept.drop_others(so_far)

        return write

    def _whole(self, file: Path, epochs: list[Epoch]) -> dict[str, Any] | None:
        """The checkpoint in `file`, if it and all that a training needs besides are there to go on from; else None."""
        try:
            state = checkpoint.load(file)
            if state is not None and len(epochs) >= state["epoch"] and self.kept.is_there(epochs[: state["epoch"]]):
                return state
        except checkpoint.Unreadable as error:
            # into the trial's log: what was lost there can't be had back, and the numbers will be the same
            print(f"{error}; training starts over")
        return None
