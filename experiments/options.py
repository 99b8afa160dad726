"""The extension points: what an option of each folder offers. A new option is one file with one of these classes.

An option is its settings (a frozen pydantic class) and a `build` that makes the real thing. torch is imported inside
`build`, so that planning a study stays instant.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from trainer.hooks import Hook
from trainer.settings import NOT_IDENTITY, MachinePath, Settings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from trainer.data import Source


class Option(Settings):
    """One option of an extension point. Its `kind` is the name of its file."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    """Further kinds: a name and the settings that it stands for."""

    code: ClassVar[str | None] = None
    """Digest of the plugin's text, for an option that comes from one: other code may give other results."""

    def identity(self) -> dict[str, Any]:
        """See Settings; of an option from a plugin, its code as well."""
        return super().identity() | ({"code": self.code} if self.code else {})


class Architecture(Option):
    """A network: images [N, 3, H, W] to logits [N, classes]."""

    @abstractmethod
    def build(self, num_classes: int) -> nn.Module:
        """The network with freshly drawn (or pretrained) weights, on the device that is torch's default."""


class Optimizer(Option):
    """An update rule; `lr` is the base learning rate that a schedule scales."""

    lr: float = Field(gt=0)
    """Base learning rate."""

    @abstractmethod
    def build(self, params: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The torch optimizer over `params`."""


class Schedule(Option):
    """The learning rate's course, as a factor of the base rate."""

    @abstractmethod
    def factor(self, epoch: float, epochs: int) -> float:
        """The factor after `epoch` (fractional, 0 <= epoch < epochs) of `epochs` epochs."""


class Loss(Option):
    """The training criterion; validation loss is always plain cross-entropy."""

    @abstractmethod
    def build(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """(logits [N, K], targets: classes [N] or probabilities [N, K]) -> scalar mean."""


class Refinement(Option):
    """A training refinement, hooked into the loop; several may be on at once."""

    @abstractmethod
    def build(self, num_classes: int) -> Hook:
        """The hook that does it; see trainer.hooks for the points where it may act."""


class Dataset(Option):
    """Labelled images and their split."""

    image_size: PositiveInt
    """Side of the square images that the network sees, in pixels."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Per-channel mean that is subtracted, of values in 0..1 (default: ImageNet's)."""

    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Per-channel standard deviation that divides."""

    @abstractmethod
    def num_classes(self) -> int | None:
        """The number of classes; None where only the data could tell and they are not at hand."""

    @abstractmethod
    def prepare(self, say: Callable[[str], None]) -> None:
        """Put the files in place (download, render) or raise UserError saying which file belongs where."""

    @abstractmethod
    def files(self) -> list[Path]:
        """The files whose content is the data, in a stable order; empty where the data are not at hand."""

    @abstractmethod
    def read(self, seed: int) -> Source:
        """The undecoded images, labels and split; `seed` is the trial's, for splits drawn per trial."""

    def split_key(self, seed: int) -> int:
        """What `read` makes of a trial's seed: the same number, the same split."""
        return 0

    def fingerprint(self) -> str | None:
        """Digest of the files' names and content; None where the data are not at hand."""
        from .fingerprint import content_digest

        files = self.files()
        return content_digest(files) if files else None


__all__ = [
    "NOT_IDENTITY",
    "Architecture",
    "Dataset",
    "Loss",
    "MachinePath",
    "Optimizer",
    "Option",
    "Refinement",
    "Schedule",
    "Settings",
    "digest",
]


def digest(value: object, length: int = 12) -> str:
    """Short hex digest of a JSON-like value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()[:length]
