"""What the refinements that change colours and regions share: numbers for each image, and changes of some of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trainer.transfer import on_device

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


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
    """Put change(images[chosen], *arguments) in the place of the chosen images.

    chosen: indices into the batch, on the host: nothing waits for the device, and it gets no work where none is chosen.
    """
    if len(chosen) > 0:
        index = on_device(chosen, images.device)
        images.index_copy_(0, index, change(images.index_select(0, index), *arguments))
