"""From the host to the device, without waiting for the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


SMALL = 64 * 1024
"""CUDA copies up to so many bytes without waiting for earlier work; more than that only from pinned memory."""


def on_device(values: NDArray[Any], device: torch.device) -> torch.Tensor:
    """A tensor of the host's values; the host does not wait for the device."""
    import torch

    here = torch.from_numpy(np.ascontiguousarray(values))
    if device.type == "cuda" and here.nbytes > SMALL:
        here = here.pin_memory()
    return here.to(device, non_blocking=True)


def real(values: Any, device: torch.device) -> torch.Tensor:
    """As `on_device`, in float32: factors, matrices, a colour."""
    return on_device(np.asarray(values, dtype=np.float32), device)
