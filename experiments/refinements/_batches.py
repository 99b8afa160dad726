"""What the refinements of single images share: what the host drew beside the images, and changes of some of them."""

from __future__ import annotations

from collections.abc import Callable
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


def per_image(values: torch.Tensor) -> torch.Tensor:
    """One number for each image [B], in the shape that broadcasts over images [B, 1, 1, 1]."""
    return values.view(-1, 1, 1, 1)


def planar_copy(images: torch.Tensor) -> torch.Tensor:
    """A copy to be changed in place, stored channel by channel: work on single channels is twice as fast there."""
    import torch

    return images.clone(memory_format=torch.contiguous_format)


def change_some(
    images: torch.Tensor, chosen: NDArray[np.int64], change: Callable[..., torch.Tensor], *arguments: Any
) -> None:
    """Put change(images[chosen], *arguments) in the place of the chosen ones.

    chosen: indices into the batch, on the host: the device is asked nothing, and given nothing to do where none is.
    """
    if len(chosen) > 0:
        index = on_device(chosen, images.device)
        images.index_copy_(0, index, change(images.index_select(0, index), *arguments))
