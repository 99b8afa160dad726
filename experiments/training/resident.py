"""The data set that a worker holds: decoded, on the device, kept from one trial to the next."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from trainer.errors import OutOfMemory, UserError

from ..options import Dataset
from .folders import cache_folder

if TYPE_CHECKING:
    import torch

    from trainer.data import Data

_resident: dict[tuple[str, int, torch.device, tuple[str, str]], Data] = {}
"""At most one data set, by the arguments of `resident_data`."""


def resident_data(dataset: Dataset, split_key: int, device: torch.device, where: tuple[str, str] = ("", "")) -> Data:
    """The data set on the device; kept for the worker's next trial, and dropped before another one is loaded.

    where: the folder that relative paths refer to, and the fingerprint of the images there, because a process that
    outlives a run may see other images under the same settings. Raises UserError where the images have changed.
    """
    # as text, as a plugin's settings may be lists; with the plugin's code, of which there may be another by now
    key = (f"{dataset.code} {dataset.model_dump_json()}", split_key, device, where)
    if key not in _resident:
        _resident.clear()
        loaded = _load(dataset, split_key, device)
        # only after reading: images that changed before or meanwhile are not those that the trial is recorded with
        if where[1] and dataset.fingerprint() != where[1]:
            raise UserError("the images have changed since this run began; the same command trains on the new ones")
        _resident[key] = loaded
    return _resident[key]


def _load(dataset: Dataset, split_key: int, device: torch.device) -> Data:
    import torch

    from trainer.data import load

    if device.type == "cuda":
        # torch keeps the memory of the data set before, and `load` asks the driver how much is free
        gc.collect()
        torch.cuda.empty_cache()
    try:
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
    except torch.OutOfMemoryError as error:
        raise OutOfMemory("CUDA out of memory while the images were brought to the GPU, which others share") from error
