"""A worker outlives its trials: whatever one of them changed in torch, the next one finds as in a fresh process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def reset_switches() -> None:
    """Set torch's process-wide switches to their defaults; `Numerics.apply` then sets those that are settings."""
    import torch

    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_flush_denormal(False)
    torch.set_grad_enabled(True)
    torch.autograd.set_detect_anomaly(False)
    torch.autograd.set_multithreading_enabled(True)
    for device in ("cpu", "cuda"):
        torch.set_autocast_enabled(device, False)
    torch.set_autocast_cache_enabled(True)
    # Any, because these are objects in the place of modules, and mypy sees the modules
    backends: Any = torch.backends
    mkldnn, cudnn, cuda = backends.mkldnn, backends.cudnn, backends.cuda
    for backend in (backends, mkldnn, mkldnn.conv, mkldnn.rnn, mkldnn.matmul, cudnn):
        backend.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    mkldnn.enabled, mkldnn.deterministic = True, False
    cudnn.enabled, cudnn.deterministic, cudnn.benchmark_limit = True, False, 10
    cuda.matmul.allow_fp16_reduced_precision_reduction = cuda.matmul.allow_bf16_reduced_precision_reduction = True
    for enable in (cuda.enable_flash_sdp, cuda.enable_mem_efficient_sdp, cuda.enable_math_sdp, cuda.enable_cudnn_sdp):
        enable(True)


def seed_everything(seed: int) -> None:
    """Seed all generators of the process; those of Python and NumPy for plugins that draw from them. seed: 63 bits.

    Not by `torch.manual_seed`, which keeps every seed, with a traceback, for devices that may be started later, so that
    memory grows for ever.
    """
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


@contextmanager
def module_hooks_end() -> Iterator[None]:
    """At the end, remove hooks for all modules (`register_module_forward_hook`, ...) that were registered inside."""
    from torch.nn.modules import module

    # private names, because torch has no other way to find hooks whose handles were not kept
    before = {
        name: value.copy() if isinstance(value, dict) else value
        for name, value in vars(module).items()
        if name.startswith("_global_")
    }
    try:
        yield
    finally:
        for name, value in before.items():
            if isinstance(value, dict):
                hooks = vars(module)[name]
                hooks.clear()
                hooks.update(value)
            else:
                setattr(module, name, value)
