"""A worker outlives its trials: whatever one of them changed in torch, the next one finds as in a fresh process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def reset_switches() -> None:
    """Give torch's process-wide switches their defaults; those that are settings are set afterwards."""
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
    # objects in the place of modules: mypy sees the modules
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
    """All generators of the process, those of Python and NumPy for plugins that draw from them; seed: 63 bits.

    `torch.manual_seed` keeps every seed with a traceback for devices that may come, and grows for ever.
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
    """Hooks for all modules (`register_module_forward_hook`, ...) that are registered inside go with it."""
    from torch.nn.modules import module

    # torch has no other way to find what the handles were not kept of
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
