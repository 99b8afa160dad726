"""Pretrained weights: by timm's name, from a local file, or from a run of this project."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import UserError

from ..training.fingerprint import file_digest

if TYPE_CHECKING:
    import torch
    from torch import nn

    State = Mapping[str, torch.Tensor]

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Names under which checkpoints of training scripts keep the state dict, as timm knows them."""


@dataclass(frozen=True)
class Start:
    """Where a network's first weights come from; at most one of the three."""

    name: str | None = None
    """Name of weights of timm's."""

    file: Path | None = None
    run: str | None = None
    """Trial id (12 hex digits) or MLflow run id (32) of a run of this project."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What timm builds the network with that has the weights `name`."""

    def prepare(self, say: Callable[[str], None]) -> None:
        """Put the file of a timm name in place, find that of a run; raises UserError where it can't be had."""
        if self.name is not None:
            from ._fetch import fetch_weights

            fetch_weights(self.name, say)
        if self.run is not None:
            weights_of_run(self.run)

    def local(self) -> Path | None:
        """The file of the weights; None where training starts from scratch, or it is not at hand."""
        from ._fetch import local_weights

        if self.run is not None:
            return weights_of_run(self.run)
        return local_weights(self.name) if self.name is not None else self.file

    def digest(self) -> str | None:
        """SHA-256 of the file, where there is one."""
        file = self.local()
        return file_digest(file) if file else None

    def read(self) -> tuple[dict[str, torch.Tensor], str] | None:
        """The state dict and a name for it in messages; None where training starts from scratch."""
        if self.name is not None:
            return _from_timm(self.name, self.arguments), self.name
        if self.file is not None:
            return read_state(self.file, f"weights_file {self.file}"), str(self.file)
        if self.run is not None:
            return read_state(weights_of_run(self.run), f"weights_run {self.run}"), f"of run {self.run}"
        return None


def weights_of_run(run: str) -> Path:
    """The file of the weights that a run of this project has kept; raises UserError where there is none."""
    from ..training.weights import find_weights

    return find_weights(run)


def load_state(model: nn.Module, state: State, origin: str, before: Sequence[State] = ()) -> None:
    """Load a state dict, but for a classifier of other shapes: the model's then stays as it is.

    `before` are the tensors of `model` by the names that they had before surgery, and before blocks were placed:
    weights that do not fit the whole network may fit those. Raises UserError, naming `origin`, where they fit none.
    """
    import torch

    from ._placement import classifiers, tensors

    heads = tuple(f"{name}." for name in classifiers(model))
    failures = []
    for own in (tensors(model), *reversed(before)):
        differing = _differences(own, state, heads)
        if not differing:
            loaded = _without_other_head(own, state, heads)
            with torch.no_grad():
                for key, value in loaded.items():
                    own[key].copy_(value)
            return
        failures.append((differing, own))
    differing, own = min(failures, key=lambda failure: len(failure[0]))
    first, number = differing[0], len(differing)
    more = f"; {number - 1} more differ" if number > 1 else ""
    raise UserError(
        f"weights {origin}: they are of another network; first difference at {first!r}, {_how(first, own, state)}{more}"
    )


def _how(name: str, own: State, state: State) -> str:
    if name not in own:
        return "which the network lacks"
    if name not in state:
        return "which the weights lack"
    return f"{list(state[name].shape)}, expected {list(own[name].shape)}"


def _differences(own: State, state: State, heads: tuple[str, ...]) -> list[str]:
    """Names of tensors that differ outside the classifier: those of other shapes, missing ones, then surplus ones."""
    ours = {key for key in own if not key.startswith(heads)}
    wrong = [key for key in own if key in ours and key in state and own[key].shape != state[key].shape]
    # files of old releases of torch lack the batch counts, which nothing here reads
    missing = [key for key in own if key in ours and key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own and not key.startswith(heads)]
    return wrong + missing + unexpected


def _without_other_head(own: State, state: State, heads: tuple[str, ...]) -> State:
    """The state dict without its classifier where that has other layers or another number of classes."""

    def shapes(tensors: State) -> dict[str, tuple[int, ...]]:
        return {key: tuple(value.shape) for key, value in tensors.items() if key.startswith(heads)}

    if shapes(own) == shapes(state):
        return state
    return {key: value for key, value in state.items() if not key.startswith(heads)}


def _from_timm(name: str, arguments: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The state dict that timm's network of this name has, once timm has loaded the file into it.

    arguments: what it is built with.
    """
    import timm

    from ._fetch import fetch_weights

    file = fetch_weights(name, lambda line: None)
    state = read_state(file, f"weights {name}: {file}")
    try:
        # through timm's network, because timm knows which files have other names for the same tensors
        theirs = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"state_dict": state}, **arguments)
    except Exception as error:
        if arguments:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise UserError(f"weights {name}: they don't fit a network with {dict(arguments)} ({reason})") from error
        reason = f"{file} is no file of these weights ({type(error).__name__})"
        raise UserError(f"weights {name}: {reason}; remove it, and it will be fetched") from error
    return dict(theirs.state_dict())


def read_state(file: Path, what: str) -> dict[str, torch.Tensor]:
    """The state dict in a file (.pt, .pth or .safetensors); raises UserError that begins with `what`."""
    import torch

    if not file.is_file():
        raise UserError(f"{what}: no such file")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        state: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        expected = "expected tensors alone, as torch.save(model.state_dict(), ...) or safetensors write them"
        raise UserError(
            f"{what}: not a state dict that can be read safely ({type(error).__name__}); {expected}"
        ) from error
    if not isinstance(state, dict):
        raise UserError(f"{what}: got {type(state).__name__}, expected a state dict")
    state = next((state[key] for key in WRAPPERS if isinstance(state.get(key), dict)), state)
    for key, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise UserError(f"{what}: got {type(value).__name__} at {key!r}, expected a state dict")
    # names in a network that DistributedDataParallel, or torch.compile, has wrapped
    for wrapped in ("module.", "_orig_mod."):
        if state and all(key.startswith(wrapped) for key in state):
            state = {key.removeprefix(wrapped): value for key, value in state.items()}
    return dict(state)
