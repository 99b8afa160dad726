"""The weights that a training leaves: those of the epoch that its recipe selects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from . import checkpoint
from .errors import UserError
from .files import WEIGHTS, written_whole
from .full_disk import with_room
from .stopping import History, selected_epoch


class Kept:
    """Keeps the selected epoch's weights in `folder` while training goes on; in memory where there is no folder."""

    def __init__(self, folder: Path | None, select: str) -> None:
        self.folder = folder
        self.select = select
        self.memory: dict[str, dict[str, torch.Tensor]] = {}

    def taken(self, history: History, networks: Mapping[str, nn.Module]) -> Callable[[], None]:
        """Copy the weights of the epoch that has just ended, if it is the selected one so far.

        The function that is returned writes them. Weights of earlier epochs stay until `drop_others`.
        """
        epoch = len(history)
        if self.select == "last" or selected_epoch(history, self.select) != epoch:
            return lambda: None
        state = checkpoint.copied({name: network.state_dict() for name, network in networks.items()})
        if self.folder is None:
            self.memory = state
            return lambda: None
        return lambda: checkpoint.save(state, self._file(epoch))

    def drop_others(self, history: History) -> None:
        """Delete the weights of epochs no longer selected; only once a checkpoint of the last epoch is written."""
        if self.folder is None or self.select == "last":
            return
        wanted = self._file(selected_epoch(history, self.select))
        for file in self.folder.glob("selected-*.pt"):
            if file != wanted:
                file.unlink(missing_ok=True)

    def is_there(self, history: History) -> bool:
        """Whether the weights that were selected from these epochs are; raises Unreadable where they are damaged."""
        if self.select == "last" or not history:
            return True
        return checkpoint.load(self._file(selected_epoch(history, self.select)), None) is not None

    def restore(self, epoch: int, networks: dict[str, nn.Module]) -> None:
        """Put the weights of the selected `epoch` into the networks evaluated in it; UserError where they are gone."""
        if self.select == "last":
            return
        state = self.memory or (checkpoint.load(self._file(epoch), None) if self.folder else None)
        if state is None:
            raise UserError(f"{self._file(epoch)}: the selected weights are gone; delete the folder to start over")
        for name, network in networks.items():
            network.load_state_dict(state[name])

    def export(self, model: nn.Module) -> Path | None:
        """Write `model`'s weights to a file of their own and return its path; None where there is no folder."""
        if self.folder is None:
            return None
        from safetensors.torch import save_file

        file = self.folder / WEIGHTS
        # copies, because safetensors refuses a tensor under two names, such as weights that two modules share
        state = {name: tensor.contiguous() for name, tensor in checkpoint.copied(model.state_dict()).items()}
        with written_whole(file) as draft:
            with_room(self.folder, lambda: save_file(state, draft))
        return file

    def _file(self, epoch: int) -> Path:
        assert self.folder is not None
        return self.folder / f"selected-{epoch}.pt"
