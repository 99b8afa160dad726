"""Parameters and multiply-accumulates of an architecture: measured once, then remembered."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.compiler import unwrap
from trainer.errors import UserError
from trainer.settings import digest

from .. import catalog
from ..options import Architecture, Option
from ..recipe import options_in
from .remembered import recall, remembered

if TYPE_CHECKING:
    from torch import Tensor, nn

_SMALL = 2**32
"""A network of at most so many multiply-accumulates is run on the CPU to count them, in a fifth of a second."""


@dataclass(frozen=True)
class Cost:
    """What a network costs at one input size and number of classes."""

    params: int
    """All parameters, frozen ones as well."""

    macs: int
    """Multiply-accumulates of one image's forward pass: convolutions and matrix products, no elementwise work."""


def cost_of(architecture: Architecture, num_classes: int, image_size: int) -> Cost:
    """The cost, measured unless this machine remembers it from before."""
    key = _key(architecture, num_classes, image_size)
    return Cost(**remembered("costs", key, lambda: asdict(measure(architecture, num_classes, image_size))))


def known_cost(architecture: Architecture, num_classes: int, image_size: int) -> Cost | None:
    """The cost, where this machine has measured it before; loads no torch."""
    known = recall("costs", _key(architecture, num_classes, image_size))
    return Cost(**known) if known is not None else None


def _key(architecture: Architecture, num_classes: int, image_size: int) -> list[Any]:
    blank = architecture.untrained()
    sources = frozenset[str]().union(*(_sources(type(option)) for _, option in options_in(blank)))
    return [blank.identity(), num_classes, image_size, _timm(), sorted(sources)]


def measure(architecture: Architecture, num_classes: int, image_size: int) -> Cost:
    """Build the network and count what one image's forward pass does: on the meta device, or, if it is small, the CPU.

    On the meta device torch loads its compiler, which takes as long as loading torch: a small network is run sooner.
    """
    import torch

    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            with torch.device("meta"):
                params = sum(p.numel() for p in architecture.untrained().build(num_classes).parameters())
            # a bound: no parameter of a convolution or matrix product is used more often than once per pixel
            with torch.device("cpu" if params * image_size**2 < _SMALL else "meta"):
                # without gradients, for whose history torch's counter asks: tokens that are parameters have none
                model = architecture.untrained().build(num_classes).eval().requires_grad_(False)
                logits, macs = _run(model, torch.zeros(1, 3, image_size, image_size))
    except UserError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        what = f"can't be built for {num_classes} classes at {image_size} px"
        raise UserError(f"{_named(architecture)} {what}: {reason}{_of_plugins(architecture, error)}") from error
    shape = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if shape != [1, num_classes]:
        raise UserError(f"{_named(architecture)} gives {shape} for one image, expected logits [1, {num_classes}]")
    return Cost(params=params, macs=macs)


def _named(architecture: Architecture) -> str:
    return f"architecture {json.dumps(_without_code(architecture.identity()))}"


def _without_code(settings: Any) -> Any:
    """Settings of options without the digests of plugins' texts, which tell a reader nothing."""
    if not isinstance(settings, dict):
        return settings
    return {key: _without_code(value) for key, value in settings.items() if key != "code"}


def _of_plugins(architecture: Architecture, error: Exception) -> str:
    """The last line of a plugin that an error went through, else which options a plugin has added; empty if none."""
    if line := catalog.plugin_line(error):
        return f" ({line})"
    kinds = [catalog.kind_of(type(option)) for _, option in options_in(architecture) if option.code]
    return f"; of a plugin: {', '.join(kinds)}" if kinds else ""


def _run(model: nn.Module, images: Tensor) -> tuple[object, int]:
    """What the network gives, and the multiply-accumulates that it takes."""
    from torch.utils import flop_counter

    unwrap(flop_counter._FlopCounterMode)
    with flop_counter.FlopCounterMode(display=False) as counter:
        found = model(images)
    return found, int(counter.get_total_flops()) // 2


@cache
def _sources(kind: type[Option]) -> frozenset[str]:
    """Digests of the source files of an option: its own, its base classes', those that it may share. Read once."""
    files: set[Path] = set()
    for cls in kind.__mro__:
        if issubclass(cls, Option) and cls.__module__ != Option.__module__:
            file = Path(inspect.getfile(cls))
            files.add(file)
            if cls.__module__.startswith("experiments."):
                files |= {*file.parent.glob("_[a-z]*.py"), *file.parent.glob("_[a-z]*/*.py")}
    return frozenset(digest(file.read_text(encoding="utf-8")) for file in files)


@cache
def _timm() -> str:
    return version("timm")
