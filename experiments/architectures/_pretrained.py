"""Pretrained weights: from timm by name, or from a local file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import UserError, nearest

if TYPE_CHECKING:
    from torch import nn


def load_pretrained(model: nn.Module, name: str | None, file: Path | None) -> None:
    """Load weights into `model`; the classifier is left as drawn where its number of classes differs.

    Raises UserError where the weights are unknown, can't be had, or don't fit the network.
    """
    if name is None and file is None:
        return
    state, origin = (_from_file(file), str(file)) if file is not None else (_from_timm(str(name)), str(name))
    own = model.state_dict()
    head = {key for key in own if key.startswith("fc.") and key in state and own[key].shape != state[key].shape}
    state = {key: value for key, value in state.items() if key not in head}
    wrong = [key for key in own if key in state and own[key].shape != state[key].shape]
    # files of old releases of torch lack the batch counts, which nothing here reads
    needed = [key for key in own if not key.startswith("fc.") and not key.endswith("num_batches_tracked")]
    missing = [key for key in needed if key not in state]
    unexpected = [key for key in state if key not in own]
    if wrong or missing or unexpected:
        first = (wrong + missing + unexpected)[0]
        raise UserError(f"weights {origin}: they are of another network; first difference at {first!r}")
    model.load_state_dict(state, strict=False)


def _from_timm(name: str) -> dict[str, Any]:
    import timm

    if not timm.models.is_model_pretrained(name):
        tagged = timm.list_pretrained()
        known = sorted({*tagged, *(full.split(".")[0] for full in tagged)})
        raise UserError(f"weights: timm has no weights {name!r}{nearest(name, known)}")
    try:
        return dict(timm.create_model(name, pretrained=True).state_dict())
    except Exception as error:
        raise UserError(
            f"weights {name}: timm could not fetch them ({type(error).__name__}); where the network is away, copy the "
            f"file from another machine and set architecture.weights_file to it"
        ) from error


def _from_file(file: Path) -> dict[str, Any]:
    import torch

    if not file.is_file():
        raise UserError(f"weights_file {file}: no such file")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"weights_file {file}: not a state dict that can be read safely ({type(error).__name__})"
        ) from error
    if not isinstance(state, dict):
        raise UserError(f"weights_file {file}: got {type(state).__name__}, expected a state dict")
    return dict(state.get("model", state))
