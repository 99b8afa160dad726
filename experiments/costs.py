"""Parameters and multiply-accumulates of an architecture: measured once on torch's meta device, then remembered."""

from __future__ import annotations

import inspect
import json
import os
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from trainer.errors import UserError

from .folders import cache_folder
from .options import Architecture, digest


@dataclass(frozen=True)
class Cost:
    """What a network costs at one input size and number of classes."""

    params: int
    """Trainable parameters."""

    macs: int
    """Multiply-accumulates of one image's forward pass: convolutions and matrix products, no elementwise work."""


def cost_of(architecture: Architecture, num_classes: int, image_size: int) -> Cost:
    """The cost, from the machine's memory of earlier measurements where it has one."""
    source = Path(inspect.getfile(type(architecture)))
    key = digest(
        [
            architecture.identity(),
            num_classes,
            image_size,
            version("timm"),
            source.read_text(encoding="utf-8"),
        ],
        24,
    )
    file = cache_folder() / "costs" / f"{key}.json"
    try:
        return Cost(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        pass
    cost = measure(architecture, num_classes, image_size)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(asdict(cost)))
    draft.replace(file)
    return cost


def measure(architecture: Architecture, num_classes: int, image_size: int) -> Cost:
    """Build the network without memory or time for its weights and count."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    blank = architecture.model_copy(update={"weights": None, "weights_file": None})
    counter = FlopCounterMode(display=False)
    try:
        with torch.device("meta"), torch.no_grad():
            model = blank.build(num_classes).eval()
            with counter:
                model(torch.empty(1, 3, image_size, image_size))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"architecture {json.dumps(architecture.identity())} can't be built for {num_classes} classes at "
            f"{image_size} px: {type(error).__name__}: {reason}"
        ) from error
    params = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Cost(params=params, macs=counter.get_total_flops() // 2)
