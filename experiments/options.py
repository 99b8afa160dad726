"""The extension points: what an option of each folder offers. A new option is one file with one of these classes.

An option is its settings (a frozen pydantic class) and a `build` that makes the real thing. torch is imported inside
`build`, so that planning a study stays instant.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator
from pydantic_core import core_schema

from trainer.hooks import Hook, Moment, Setup
from trainer.settings import NOT_IDENTITY, MachinePath, Settings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from trainer.data import Source

    from .recipe import Recipe

__all__ = [
    "NOT_IDENTITY",
    "Architecture",
    "Block",
    "Dataset",
    "Head",
    "Loss",
    "MachinePath",
    "OneOf",
    "Optimizer",
    "Option",
    "Order",
    "Refinement",
    "Schedule",
    "Settings",
]


class Option(Settings):
    """One option of an extension point. Its `kind` is the name of its file."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    """Further kinds: a name and the settings that it stands for."""

    trial_references: ClassVar[tuple[str, ...]] = ()
    """Settings that name a cell: the option needs the weights of that cell's trial under the study's first seed."""

    code: ClassVar[str | None] = None
    """Digest of the plugin's code, for an option that comes from one: other code may give other results."""

    def identity(self) -> dict[str, Any]:
        """See Settings; of an option from a plugin, its code as well."""
        return super().identity() | ({"code": self.code} if self.code else {})

    def check(self, recipe: Recipe) -> None:
        """Raise ValueError (or Problem with a path inside the option) where this does not fit the rest of `recipe`."""


@dataclass(frozen=True)
class OneOf:
    """Marks a setting that is itself an option of a point or, of a keyed one, a mapping from kind to settings."""

    point: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Parsed by the catalog, written as plain data."""
        return core_schema.no_info_plain_validator_function(
            self._parse,
            serialization=core_schema.plain_serializer_function_ser_schema(self._dump),
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """A reference that experiments.language.schema resolves, because options may come from plugins."""
        return {"x-options": self.point}

    def _parse(self, value: object) -> Any:
        from . import catalog

        keyed = catalog.EXTENSION_POINTS[self.point].keyed
        return (catalog.parse_named if keyed else catalog.parse)(self.point, value)

    def _dump(self, value: Any) -> Any:
        if isinstance(value, Option):
            return value.model_dump(mode="json")
        return {kind: option.model_dump(mode="json") for kind, option in value.items()}


class Architecture(Option):
    """A network: images [N, 3, H, W] to logits [N, classes]."""

    @abstractmethod
    def build(self, num_classes: int) -> nn.Module:
        """The network with freshly drawn (or pretrained) weights, on the device that is torch's default."""

    def untrained(self) -> Architecture:
        """The same network without pretrained weights, so that others can be loaded into it."""
        return self

    def prepare(self, say: Callable[[str], None]) -> None:
        """Put pretrained weights in place (download them) or raise UserError saying which file belongs where."""

    def pretrained_file(self) -> Path | None:
        """The file of the pretrained weights; None for a network trained from scratch, or where it is not at hand."""
        return None

    def pretrained_digest(self) -> str | None:
        """Digest of the pretrained weights' file; None for a network that is trained from scratch."""
        return None


def _each_once(stages: tuple[int, ...]) -> tuple[int, ...]:
    """Sorted, because another order in a study makes no other network."""
    if len(set(stages)) < len(stages):
        raise ValueError(f"got {list(stages)}, expected each stage once")
    return tuple(sorted(stages))


Stages = Annotated[tuple[PositiveInt, ...], AfterValidator(_each_once)]


class Block(Option):
    """A module that a staged network can hold: feature maps [N, C, H, W] to the same shape."""

    replaces_convolution: ClassVar[bool] = False
    """Whether `inside` puts the block in the place of a branch's 3x3 convolution, rather than at the branch's end."""

    inside: Stages = ()
    """Stages (from 1) whose residual blocks each hold one in their residual branch, before the addition."""

    after: Stages = ()
    """Stages (from 1) that are each followed by one."""

    order: int = 0
    """Of several blocks in one place, the one with the least order comes first; kind decides between equals."""

    @model_validator(mode="after")
    def _is_placed(self) -> Block:
        if not self.inside and not self.after:
            raise ValueError("got neither inside nor after, expected the stages that it is placed in or after")
        return self

    @abstractmethod
    def build(self, channels: int) -> nn.Module:
        """The module for feature maps of `channels` channels."""


class Surgery(Option):
    """A change of the network that timm builds, before blocks and a head are put into it."""

    order: int = 0
    """Of several surgeries, the one with the least order is the first; kind decides between equals."""

    @abstractmethod
    def apply(self, model: nn.Module) -> nn.Module:
        """The same network, changed in place; its stages and its classifier keep their names.

        Called on torch's meta device as well, where tensors have shapes and no values. Pretrained weights are loaded
        afterwards, into the parameters that timm has built: what is to start from them takes these over. Parameters of
        its own are trained wherever they are. Raises ValueError where there is nothing to change.
        """


class Head(Option):
    """What stands behind the global average pooling: features [N, C] to logits [N, classes]."""

    @abstractmethod
    def build(self, features: int, num_classes: int) -> nn.Module:
        """The module for `features` features."""


class Optimizer(Option):
    """An update rule; `lr` is the base learning rate that a schedule scales."""

    lr: float = Field(gt=0)
    """Base learning rate."""

    decay_bias: bool = True
    """Whether weight decay acts on biases, norms and all else that is one-dimensional (false: bag of tricks, 3.1)."""

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """The trained parameters of `model` as torch's groups; without `decay_bias`, 1-D parameters don't decay."""
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if self.decay_bias:
            return [{"params": trained}]
        decayed = [parameter for parameter in trained if parameter.dim() > 1]
        spared = [parameter for parameter in trained if parameter.dim() <= 1]
        return [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]

    @abstractmethod
    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The torch optimizer over parameter groups."""


class Schedule(Option):
    """The learning rate's course, as a factor of the base rate."""

    @abstractmethod
    def factor(self, moment: Moment) -> float:
        """The factor at a step; a schedule that depends on earlier epochs reads their metrics from `moment`."""


class Loss(Option):
    """The training criterion; validation loss is always plain cross-entropy."""

    @abstractmethod
    def build(self, setup: Setup) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """(logits [N, K], targets: classes [N] or probabilities [N, K]) -> scalar mean.

        A weighted mean has a method `total(targets)`, the sum of weights that it divides by, for batches that are cut.
        """


class Order(IntEnum):
    """When a refinement acts among others at the same point of the loop: crops early, what erases pixels late."""

    CROP = 10
    FLIP = 20
    WARP = 30
    COLOUR = 40
    POLICY = 50
    ERASE = 60
    ANY = 70


class Refinement(Option):
    """A training refinement, hooked into the loop; several may be on at once."""

    order: ClassVar[Order] = Order.ANY
    """Its place among the refinements that are on; kind decides between equals."""

    networks: ClassVar[tuple[str, ...]] = ()
    """The names of the networks that its hook's `networks` gives: letters and digits, as metrics begin with them."""

    @abstractmethod
    def build(self, setup: Setup) -> Hook:
        """The hook that does the work; see trainer.hooks for the points where it may act."""


# numbers of 0..255 would train on, without a word, images that are nearly of one level
Level = Annotated[float, Field(ge=0.0, le=1.0)]
Spread = Annotated[float, Field(gt=0.0, le=1.0)]


class Dataset(Option):
    """Labelled images and their split."""

    image_size: PositiveInt
    """Side of the square images that the network sees, in pixels."""

    stored_size: PositiveInt | None = None
    """Side of the stored square images, to cut training crops from; evaluation takes the centre. null: image_size."""

    fit: Literal["crop", "squash"] = "crop"
    """How an image becomes square. crop: its centre; squash: all of it, distorted (torchvision's Resize to a pair)."""

    mean: tuple[Level, Level, Level] = (0.485, 0.456, 0.406)
    """Per-channel mean that is subtracted, of values in 0..1 (default: ImageNet's)."""

    std: tuple[Spread, Spread, Spread] = (0.229, 0.224, 0.225)
    """Per-channel standard deviation that is divided by, of values in 0..1 (default: ImageNet's)."""

    @model_validator(mode="after")
    def _check_stored_size(self) -> Dataset:
        if self.stored_size is not None and self.stored_size < self.image_size:
            raise ValueError(f"got stored_size {self.stored_size}, expected at least the image_size, {self.image_size}")
        return self

    @property
    def decoded_size(self) -> int:
        """Side of the images as the cache holds them, in pixels."""
        return self.stored_size or self.image_size

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
    def read(self, split_key: int) -> Source:
        """The undecoded images, labels and the split of this key."""

    def notes(self) -> list[str]:
        """What a user should know of the files at hand, a sentence each: their number, and what may be a mistake."""
        return []

    def split_key(self, seed: int) -> int:
        """The key of the split that a trial of this seed trains on; 0 unless overridden, one split for all of them."""
        return 0

    def fingerprint(self) -> str | None:
        """Digest of the files' names and content; None where the data are not at hand."""
        from .training.fingerprint import content_digest

        files = self.files()
        return content_digest(files) if files else None
