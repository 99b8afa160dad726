"""Checkpoints: written whole or not at all, read without pickle."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .errors import UserError
from .files import written_whole

PARTS = ("epoch", "model", "optimizer", "hooks")
"""What a checkpoint of a training consists of."""

_PLAIN = (type(None), bool, bytes, complex, float, int, str, torch.Size, torch.device, torch.dtype)
"""Exactly these: torch refuses to load those derived from them, such as numpy's float64, without pickle."""


class Unreadable(UserError):
    """A file that torch can't read: cut short, damaged, or with code in it, which is not run."""


def save(state: dict[str, Any], file: Path) -> None:
    """Write `state` (tensors and plain values) beside `file`, then rename: `file` is always a whole checkpoint."""
    with written_whole(file) as draft, draft.open("wb") as handle:
        torch.save(state, handle)
        handle.flush()
        os.fsync(handle.fileno())


def unfit(state: Any, at: str = "") -> str:
    """`seen.0 is deque` for the first part of `state` that `load` would refuse or `copied` not copy; else empty."""
    if isinstance(state, torch.Tensor) or type(state) in _PLAIN:
        return ""
    if isinstance(state, Mapping):
        inner = [*((key, key) for key in state if type(key) not in _PLAIN), *state.items()]
    elif type(state) in (list, tuple, set):
        inner = list(enumerate(state))
    else:
        return f"{at or 'it'} is {type(state).__name__}"
    return next(filter(None, (unfit(value, f"{at}.{key}".lstrip(".")) for key, value in inner)), "")


def copied(state: Any) -> Any:
    """`state` with a copy of every tensor on the host, so that training may go on while it is written.

    Short right after the host has waited for the GPU; later, every copy would wait for the steps queued there.
    """
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, Mapping):
        return {key: copied(value) for key, value in state.items()}
    if isinstance(state, list | tuple | set):
        return type(state)(copied(value) for value in state)
    return state


def load(file: Path, parts: tuple[str, ...] | None = PARTS) -> dict[str, Any] | None:
    """The checkpoint in `file`, or None where there is none. parts: all the keys that it must have; None: any.

    Its tensors are on the CPU: whatever loads them copies them, and an Adam that is not fused must read its step counts
    without waiting for the device. Raises UserError for a file that is no such checkpoint, Unreadable for no file of
    torch's.
    """
    if not file.exists():
        return None
    try:
        # torch does not look at the sums that tell whether what is read is what was written
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
        state = torch.load(file, map_location="cpu", weights_only=True) if damaged is None else None
    except Exception as error:
        raise Unreadable(f"{file}: not a checkpoint that can be read ({type(error).__name__})") from error
    if damaged is not None:
        raise Unreadable(f"{file}: not a checkpoint that can be read ({damaged} is damaged)")
    if not isinstance(state, dict) or (parts is not None and set(state) != set(parts)):
        raise UserError(f"{file}: not a checkpoint; delete it to start over")
    return state
