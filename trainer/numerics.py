"""How numbers are computed: recorded settings, and the torch switches that they stand for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from .compiler import spare_compiler
from .leftovers import reset_switches
from .settings import Settings

if TYPE_CHECKING:
    import torch
    from torch import nn


class Numerics(Settings):
    """Part of the recipe: each of these may change the last bits of a result."""

    precision: Literal["bf16", "fp32"] = "bf16"
    """bf16: autocast of the forward pass to bfloat16, weights and optimizer in float32. fp32: everything in float32."""

    channels_last: bool = True
    """Store images and convolution weights as NHWC."""

    tf32: bool = True
    """Let CUDA compute float32 matrix products and convolutions in TensorFloat-32."""

    threads: PositiveInt = 1
    """Intra-op threads of one trial on the CPU; more than one changes the order of sums."""

    deterministic: bool = False
    """Refuse CUDA kernels whose result depends on the order in which threads finish."""

    compile: bool = False
    """Train through torch.compile: the last bits differ, and a network's first step comes half a minute later."""

    def apply(self) -> None:
        """Set torch's process-wide switches; everything is set, so nothing stays from the trial before."""
        import torch

        # always, because it is read once, when CUDA starts: without it, cuBLAS refuses a later deterministic trial
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        reset_switches()
        if not self.compile:
            spare_compiler()
        torch.set_num_threads(self.threads)
        torch.backends.cuda.matmul.allow_tf32 = self.tf32
        torch.backends.cudnn.allow_tf32 = self.tf32
        torch.backends.cudnn.benchmark = not self.deterministic
        warns = torch.is_deterministic_algorithms_warn_only_enabled()
        if torch.are_deterministic_algorithms_enabled() != self.deterministic or warns:
            # only on a change: it imports torch's compiler, which takes seconds
            torch.use_deterministic_algorithms(self.deterministic)
            # filling serves to find programs that read uninitialised memory, and takes a fifth of a step
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]

    def memory_format(self) -> torch.memory_format:
        """The memory format of images and weights."""
        import torch

        return torch.channels_last if self.channels_last else torch.contiguous_format

    def laid_out(self, model: nn.Module) -> nn.Module:
        """The network with its weights in the memory format; not by `to`, which refuses weights of five dimensions."""
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.dim() == 4:
                tensor.data = tensor.data.contiguous(memory_format=self.memory_format())
        return model

    def compiled(self, model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        """What a training step calls: the network, or compiled code of it for batches of the first one's size."""
        if not self.compile:
            return model
        import torch

        # torch keeps the code of former trials, and beyond some limit silently runs new networks uncompiled
        torch.compiler.reset()
        # dropout then draws the same masks as uncompiled code
        code = torch.compile(model, dynamic=False, options={"fallback_random": True})
        whole = 0

        def step(images: torch.Tensor) -> torch.Tensor:
            nonlocal whole
            whole = whole or len(images)
            # an epoch's last, smaller batch uncompiled: torch would make slower code for any size, and use it for all
            logits: torch.Tensor = (code if len(images) == whole else model)(images)
            return logits

        return step

    @contextmanager
    def autocast(self, device: torch.device) -> Iterator[None]:
        """The context of every forward pass."""
        import torch

        from .corrected import corrected

        with (
            torch.autocast(device.type, dtype=torch.bfloat16) if self.precision == "bf16" else nullcontext(),
            corrected() if device.type == "cpu" else nullcontext(),
        ):
            yield
