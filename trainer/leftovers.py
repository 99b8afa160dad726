"""A worker outlives its trials: whatever one of them changed in torch, the next one finds as in a fresh process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_MODULES = (
    "torch",
    "torch.nn.functional",
    "torch.nn.init",
    "torch.utils._device",
    "timm.layers.config",
    "timm.layers.fast_norm",
)
"""Modules whose functions and flags a plugin may replace."""


def reset_switches() -> None:
    """Set process-wide switches of torch and NumPy to their defaults; `Numerics.apply` sets those that are settings."""
    import numpy as np
    import torch

    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_flush_denormal(False)
    torch.set_grad_enabled(True)
    torch.autograd.set_detect_anomaly(False)
    torch.autograd.set_multithreading_enabled(True)
    for device, dtype in (("cpu", torch.bfloat16), ("cuda", torch.float16)):
        torch.set_autocast_enabled(device, False)
        torch.set_autocast_dtype(device, dtype)
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
    cuda.matmul.allow_fp16_accumulation = False
    cuda.allow_fp16_bf16_reduction_math_sdp(False)
    for enable in (cuda.enable_flash_sdp, cuda.enable_mem_efficient_sdp, cuda.enable_math_sdp, cuda.enable_cudnn_sdp):
        enable(True)
    backends.mha.set_fastpath_enabled(True)
    backends.nnpack.set_flags(True)
    if backends.opt_einsum.is_available():
        backends.opt_einsum.enabled, backends.opt_einsum.strategy = True, "auto"
    np.seterr(divide="warn", over="warn", under="ignore", invalid="warn")


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
def modes_end() -> Iterator[None]:
    """At the end, leave the modes of torch that were entered inside: inference, those that intercept calls or tensors.

    A default device is one of them.
    """
    import torch
    from torch.utils import _python_dispatch

    # private names, because torch has no other way to find modes whose objects were not kept
    core: Any = torch._C
    functions, dispatched = core._len_torch_function_stack(), core._len_torch_dispatch_stack()
    try:
        with torch.inference_mode(False):
            yield
    finally:
        while core._len_torch_function_stack() > functions:
            core._pop_torch_function_stack()
        while core._len_torch_dispatch_stack() > dispatched:
            _python_dispatch._pop_mode()
        while core._autograd._top_saved_tensors_default_hooks(True) is not None:
            core._autograd._pop_saved_tensors_default_hooks()


@contextmanager
def patches_end() -> Iterator[None]:
    """At the end, undo what was put in the place of functions, methods and flags of torch and timm inside."""
    from torch import Tensor, nn

    loaded = [module for module in map(sys.modules.get, _MODULES) if module is not None]
    before = [(holder, dict(vars(holder))) for holder in (*loaded, nn.Module, Tensor)]
    try:
        yield
    finally:
        for holder, held in before:
            now = vars(holder)
            for name in [name for name, value in held.items() if now.get(name) is not value]:
                setattr(holder, name, held[name])


@contextmanager
def global_hooks_end() -> Iterator[None]:
    """At the end, remove hooks of all modules and all optimizers that were registered inside.

    These are what `register_module_forward_hook`, `register_optimizer_step_pre_hook` and their siblings register.
    """
    from torch.nn.modules import module
    from torch.optim import optimizer

    # private names, because torch has no other way to find hooks whose handles were not kept
    before = [
        (holder, name, value.copy() if isinstance(value, dict) else value)
        for holder in (vars(module), vars(optimizer))
        for name, value in holder.items()
        if name.startswith("_global_")
    ]
    try:
        yield
    finally:
        for holder, name, value in before:
            if isinstance(value, dict):
                holder[name].clear()
                holder[name].update(value)
            else:
                holder[name] = value
