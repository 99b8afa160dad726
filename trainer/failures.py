"""Failures that come from the batch size, explained in one line that names a value that would work."""

from __future__ import annotations

import gc
import math
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from .allocator import forget_peak
from .errors import OutOfMemory, UserError
from .hooks import Hook

if TYPE_CHECKING:
    import torch
    from torch import nn

    from .data import Data
    from .loop import Outcome

GIB = 2**30

_NO_ENGINE = "unable to find an engine to execute this computation"
"""Torch's message where cuDNN can run none of a convolution's algorithms, also for lack of memory."""


class Training(Protocol):
    """The training of one recipe, with batches of any size."""

    def __call__(self, batch_size: int, probe: Hook | None = None) -> Outcome:
        """Train. probe: acts beside the recipe's hooks; a training with one writes and records nothing."""


def explained(training: Training, batch_size: int, data: Data, parts: int = 1) -> Outcome:
    """The outcome of `training` with `batch_size`; parts: the recipe's micro-batches.

    Raises OutOfMemory, UserError where batch norm got a single value, or RuntimeError where cuDNN fails with smaller
    batches as well; a note on each holds the original traceback.
    """
    try:
        return training(batch_size)
    except (MemoryError, RuntimeError, ValueError) as error:
        reason = _explanation(error)
        if reason is None:
            raise
        told = traceback.format_exc()
    # not in the handler: the error's traceback refers to the training's tensors, and both are gone only now
    _release()
    try:
        problem = reason(training, batch_size, data, parts)
    finally:
        _release()
    problem.add_note(told)
    raise problem


def _explanation(error: Exception) -> Callable[[Training, int, Data, int], Exception] | None:
    import torch

    text = str(error)
    # the last two are cuDNN's, before its release 9 and since
    refused = ("CUDA error: out of memory", "_ALLOC_FAILED", "DEVICE_ALLOCATION_FAILED")
    if isinstance(error, torch.OutOfMemoryError) or any(words in text for words in refused):
        return _gpu_memory
    if _NO_ENGINE in text:
        return _no_engine
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in text or "HOST_ALLOCATION_FAILED" in text:
        return _host_memory
    if "Expected more than 1 value per channel" in text:
        return _batch_norm
    return None


def _gpu_memory(training: Training, batch_size: int, data: Data, parts: int) -> OutOfMemory:
    """Tries smaller batches until one fits: the failed allocation tells little of what a whole step takes."""
    import torch

    free, total = torch.cuda.mem_get_info(data.device)
    # includes what CUDA itself takes, a few hundred MiB a process
    others = total - free - torch.cuda.memory_reserved(data.device)
    place = f"CUDA out of memory at batch_size {batch_size}"
    held = f"others hold {others / GIB:.1f} of the GPU's {total / GIB:.1f} GiB"
    fits, taken = _largest_that_fits(training, batch_size // 2, data.device)
    if fits < 2:
        return OutOfMemory(
            f"{place}, and at 2 as well, while {held}; expected fewer trials at once (--concurrency) or a larger GPU"
        )
    fitting = f"at most {fits}, which fits, or micro_batches: {parts * math.ceil(batch_size / fits)}"
    less = _bytes_taken(training, fits // 2, data.device) if fits > 3 else None
    if less is None:
        return OutOfMemory(f"{place}, while {held}; expected {fitting}, or fewer trials at once (--concurrency)")
    each = max(0.0, (taken - less) / (fits - fits // 2))
    needed = taken + each * (batch_size - fits)
    share, trials = math.ceil(100 * needed / total) / 100, int(total / needed)
    otherwise = f"at most {trials} at once on such a GPU (--concurrency)" if trials else "a larger GPU"
    return OutOfMemory(
        f"{place}, which takes about {needed / GIB:.1f} GiB, a share of {share:.2f}, while {held}; "
        f"expected {fitting}, or {otherwise}",
        share,
    )


def _no_engine(training: Training, batch_size: int, data: Data, parts: int) -> Exception:
    """Tries smaller batches, which tell whether memory was short."""
    if _largest_that_fits(training, batch_size // 2, data.device)[0] < 2:
        return RuntimeError(f"cuDNN was {_NO_ENGINE}, at batch_size {batch_size}, and smaller ones did not help")
    return _gpu_memory(training, batch_size, data, parts)


def _host_memory(training: Training, batch_size: int, data: Data, parts: int) -> OutOfMemory:
    return OutOfMemory(
        f"the host is out of memory at batch_size {batch_size}; "
        "expected a smaller one, more micro_batches, or fewer trials at once (--concurrency)"
    )


def _batch_norm(training: Training, batch_size: int, data: Data, parts: int) -> UserError:
    return UserError(
        f"got a batch of one image (batch_size: {batch_size}, training images: {len(data.splits['train'])}), expected "
        "at least 2 of each: batch norm can't train on one value, which is what one image gives where its maps are of "
        "one pixel (a larger dataset.image_size has larger maps)"
    )


def is_device_lost() -> bool:
    """Whether CUDA is of no use to this process any more, as after a failed assertion on the device: it must end."""
    import torch

    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


class _TwoSteps(Hook):
    """Ends a training after its second step, the first to hold everything: activations, gradients, momenta."""

    def __init__(self) -> None:
        self.steps = 0

    def step_end(self, model: nn.Module) -> None:
        self.steps += 1
        if self.steps == 2:
            raise _Enough
        forget_peak()


class _Enough(Exception):
    pass


def _largest_that_fits(training: Training, batch_size: int, device: torch.device) -> tuple[int, int]:
    """The first of batch_size, its half, its quarter, ... 2 that fits, and its bytes; less than 2 where none fits."""
    while batch_size > 1:
        taken = _bytes_taken(training, batch_size, device)
        if taken is not None:
            return batch_size, taken
        batch_size //= 2
    return batch_size, 0


def _bytes_taken(training: Training, batch_size: int, device: torch.device) -> int | None:
    """The most bytes of the GPU that torch reserves in a second step, images included; None: they don't fit."""
    import torch

    _release()
    try:
        training(batch_size, _TwoSteps())
    except _Enough:
        pass
    except RuntimeError:
        # not only OutOfMemoryError: short of memory, cuDNN and cuBLAS raise errors of their own
        return None
    return torch.cuda.max_memory_reserved(device)


def _release() -> None:
    """Free what nothing refers to any more, on the host and on the device."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()
