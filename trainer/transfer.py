"""From the host to the device, without waiting for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


def on_device(values: NDArray[Any], device: torch.device) -> torch.Tensor:
    """A tensor of the host's values; the host does not wait for the device."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)


def real(values: Any, device: torch.device) -> torch.Tensor:
    """Likewise, as float32: factors, matrices, a colour."""
    return on_device(np.asarray(values, dtype=np.float32), device)
