"""What networks of stages share: surgery, blocks placed in them, the head, freezing, pretrained weights."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from trainer.compiler import without_compiler
from trainer.errors import UserError
from trainer.settings import MachinePath

from ..heads.linear import Linear
from ..language.validation import Problem, at_path, placed
from ..options import Architecture, Block, Head, OneOf, Surgery
from ..training.fingerprint import file_digest
from . import _placement, _pretrained, _timm_facts
from ._operation import operate

if TYPE_CHECKING:
    from torch import nn

    from ..recipe import Recipe

Depth = Annotated[int, Field(ge=1, le=1000)]
"""Number of residual blocks in a stage."""

_Part = Literal["stem", "head"] | PositiveInt
"""A part of a network: a stage by its number, or what stands before or behind all of them."""


def _front_to_back(parts: tuple[_Part, ...]) -> tuple[_Part, ...]:
    """Sorted, because another order in a study makes no other training."""
    places = {"stem": 0, "head": inf}
    return tuple(sorted(parts, key=lambda part: places[part] if isinstance(part, str) else part))


def _digest_of_run(run: str) -> str:
    # imported here, because that module imports plans, and these this one
    from ..training.weights import recorded_digest

    return recorded_digest(run)


@dataclass(frozen=True)
class Anatomy:
    """The parts of a network, known without building it."""

    name: str
    """What messages call it."""

    stages: tuple[str, ...]
    """The names of its stages' modules, first to last."""

    channels: tuple[int, ...]
    """Channels of each stage's feature maps."""

    residual: str | None
    """`basic` or `bottleneck`, the residual blocks that its stages consist of; None where blocks can't stand inside."""


class _Staged(Architecture):
    """A network that timm builds and that then gets blocks, head and weights. The `_` keeps it out of the catalog."""

    starts: ClassVar[tuple[str, ...]] = ("weights", "weights_file", "weights_run")
    """The settings that say where training starts from, of which one may be given."""

    surgery: Annotated[dict[str, Surgery], OneOf("surgeries")] = Field(default_factory=dict)
    """Changes of the network that timm builds, by kind; blocks and head are put in afterwards, and stay as they are."""

    blocks: Annotated[dict[str, Block], OneOf("blocks")] = Field(default_factory=dict)
    """Modules placed inside or after stages, by kind."""

    head: Annotated[Head, OneOf("heads")] = Linear()
    """What follows the pooled features; the default is timm's own classifier."""

    freeze: Annotated[tuple[_Part, ...], AfterValidator(_front_to_back)] = ()
    """Parts whose parameters stay as they are: `stem`, stages by number from 1, `head`. Blocks and surgery are trained.

    What stands before the first stage is stem; what stands between the last stage and the head belongs to that stage.
    """

    weights: str | None = None
    """Pretrained weights: a timm model name such as `resnet50.a1_in1k`; null trains from scratch."""

    weights_file: MachinePath | None = None
    """Pretrained weights: a local state dict (.pt, .pth or .safetensors) instead; identified by its content."""

    weights_run: str | None = None
    """Pretrained weights: those that a run of this project has kept, instead; its trial id or MLflow run id.

    Identified by their content.
    """

    @model_validator(mode="after")
    def _start_is_one(self) -> Self:
        given = [name for name in self.starts if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"got both {given[0]} and {given[1]}, expected one of them")
        if self.weights_file and not self.weights_file.is_file():
            raise ValueError(f"weights_file {self.weights_file}: no such file")
        return self

    @abstractmethod
    def anatomy(self) -> Anatomy:
        """The parts of the network, without building it."""

    @abstractmethod
    def plain(self, num_classes: int) -> nn.Module:
        """The network as timm builds it, with freshly drawn weights: no blocks, its own classifier."""

    def start(self) -> _pretrained.Start:
        """Where the first weights come from."""
        return _pretrained.Start(self.weights, self.weights_file, self.weights_run)

    def identity(self) -> dict[str, Any]:
        content = {}
        if self.weights_file:
            content = {"weights_file": file_digest(self.weights_file)}
        if self.weights_run:
            # not the run's id: trained again on other data, a trial of the same id has other weights
            content = {"weights_run": _digest_of_run(self.weights_run)}
        return super().identity() | content

    def untrained(self) -> Self:
        return self.model_copy(update={name: type(self).model_fields[name].default for name in self.starts})

    def prepare(self, say: Callable[[str], None]) -> None:
        self.start().prepare(say)

    def pretrained_file(self) -> Path | None:
        return self.start().local()

    def pretrained_digest(self) -> str | None:
        return self.start().digest()

    def check(self, recipe: Recipe) -> None:
        self.check_parts()
        if self.weights_run:
            try:
                _digest_of_run(self.weights_run)
            except UserError as error:
                raise Problem(("weights_run",), str(error)) from None

    def check_parts(self) -> None:
        """Raise Problem where a block or `freeze` names a part that the network lacks, or timm has no such weights."""
        anatomy = self.anatomy()
        for kind, block in self.blocks.items():
            for setting in ("inside", "after"):
                for stage in getattr(block, setting):
                    _check_stage(anatomy, stage, ("blocks", kind, setting))
            if block.inside:
                _check_inside(anatomy, kind, block)
        _check_replaced_once(self.blocks)
        self._check_freeze(anatomy)
        name = self.start().name
        if name is not None and (unknown := _timm_facts.weights(name).unknown) is not None:
            setting = next(name for name in self.starts if getattr(self, name))
            raise Problem((setting,), f"timm has no weights {name!r}{unknown}")

    def _check_freeze(self, anatomy: Anatomy) -> None:
        for index, part in enumerate(self.freeze):
            if part in self.freeze[:index]:
                raise Problem(("freeze",), f"got {part!r} twice, expected each part once")
            if isinstance(part, int) or not anatomy.stages:
                _check_stage(anatomy, part, ("freeze",))
        everything = {"stem", "head", *range(1, len(anatomy.stages) + 1)}
        if everything == set(self.freeze) and not self.blocks and not self.surgery:
            raise Problem(("freeze",), "freezes everything, expected something left to train")

    def build(self, num_classes: int) -> nn.Module:
        with placed(at_path, "architecture"):
            self.check_parts()
        _load_timm()
        anatomy = self.anatomy()
        model = self.plain(num_classes)
        weights = self.start().read()
        parts = _placement.parameters_by_part(model, anatomy.stages)
        before = [_placement.tensors(model)]
        operate(model, self.surgery, anatomy.stages)
        before.append(_placement.tensors(model))
        _placement.place_blocks(model, anatomy.stages, anatomy.channels, self.blocks)
        if self.head != Linear():
            _placement.replace_head(model, self.head, num_classes)
        if weights is not None:
            _pretrained.load_state(model, *weights, before=before)
        _placement.freeze(model, parts, self.freeze)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise UserError("architecture.freeze: freezes everything, expected something left to train")
        return model


def _load_timm() -> None:
    """Import timm in half of its usual time."""
    if "timm" not in sys.modules:
        # another release may need more of the compiler: it is then imported, compiler included, when it is used
        with suppress(ImportError), without_compiler():
            import timm  # noqa: F401


def _check_stage(anatomy: Anatomy, stage: int | str, path: tuple[str | int, ...]) -> None:
    count = len(anatomy.stages)
    if not count:
        raise Problem(path, f"{anatomy.name} has no stages, got {stage}")
    if isinstance(stage, int) and stage > count:
        raise Problem(path, f"{anatomy.name} has the stages 1 to {count}, got {stage}")


def _check_inside(anatomy: Anatomy, kind: str, block: Block) -> None:
    path = ("blocks", kind, "inside")
    if anatomy.residual is None:
        raise Problem(
            path, f"the stages of {anatomy.name} have no residual branches that can hold {kind}, expected after"
        )
    if block.replaces_convolution and anatomy.residual != "bottleneck":
        reason = f"{kind} takes the place of a bottleneck's 3x3 convolution"
        raise Problem(path, f"got {anatomy.name} with {anatomy.residual} blocks, expected bottlenecks: {reason}")


def _check_replaced_once(blocks: dict[str, Block]) -> None:
    taken: dict[int, str] = {}
    for kind, block in blocks.items():
        for stage in block.inside if block.replaces_convolution else ():
            if stage in taken:
                message = f"the 3x3 convolutions of stage {stage} are replaced by {taken[stage]} already"
                raise Problem(("blocks", kind, "inside"), f"{message}, expected one of them there")
            taken[stage] = kind
