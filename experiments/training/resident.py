"""The data set that a worker holds: decoded, on the device, kept from one trial to the next."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from ..options import Dataset
from .folders import cache_folder

if TYPE_CHECKING:
    import torch

    from trainer.data import Data

_resident: dict[tuple[Dataset, int, torch.device, tuple[str, str]], Data] = {}
"""At most one data set, by the arguments of `resident_data`."""


def resident_data(dataset: Dataset, split_key: int, device: torch.device, where: tuple[str, str] = ("", "")) -> Data:
    """The data set on the device; kept for the worker's next trial, and dropped before another one is loaded.

    where: the folder that relative paths refer to, and the fingerprint of the images there; a process that outlives a
    run may see others under the same settings.
    """
    key = (dataset, split_key, device, where)
    if key not in _resident:
        _resident.clear()
        _resident[key] = _load(dataset, split_key, device)
    return _resident[key]


def _load(dataset: Dataset, split_key: int, device: torch.device) -> Data:
    import torch

    from trainer.data import load

    if device.type == "cuda":
        # torch keeps the memory of the data before for itself; `load` asks the driver what is free
        gc.collect()
        torch.cuda.empty_cache()
    return load(
        dataset.read(split_key),
        dataset.image_size,
        dataset.mean,
        dataset.std,
        cache_folder(),
        device,
        stored_size=dataset.stored_size,
        squash=dataset.fit == "squash",
    )
