"""Puts blocks and heads into a network that timm has built, and freezes parts of it.

A block stands behind a stage, or inside: in each of its residual branches, before the addition. Attributes of timm's
network keep their names. Where blocks are put, a Sequential takes the place of what timm has built, and holds it beside
the blocks: a stage as `stage`, the last convolution of a branch as `conv`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from trainer.errors import UserError

from ..options import Block, Head

if TYPE_CHECKING:
    import torch
    from torch import nn

Part = str | int
"""`stem`, a stage's number from 1, or `head`."""


def in_order(blocks: Mapping[str, Block]) -> list[tuple[str, Block]]:
    """The blocks in the order in which they stand where several stand in one place."""
    return sorted(blocks.items(), key=lambda item: (item[1].order, item[0]))


def place_blocks(model: nn.Module, stages: Sequence[str], channels: Sequence[int], blocks: Mapping[str, Block]) -> None:
    """Put every block where its settings say. stages: names of the stages; channels: those of their feature maps."""
    from torch import nn

    for number, (stage, width) in enumerate(zip(stages, channels, strict=True), 1):
        module = model.get_submodule(stage)
        inside = {kind: block for kind, block in in_order(blocks) if number in block.inside}
        residuals = residual_blocks(module)
        if inside and not residuals:
            kind = next(iter(inside))
            raise UserError(
                f"architecture.blocks.{kind}: surgery has left stage {number} no residual blocks to hold it"
            )
        for residual in residuals:
            _place_inside(residual, inside, width)
        after = {kind: _built(kind, block, width) for kind, block in in_order(blocks) if number in block.after}
        if after:
            _replace(model, stage, nn.Sequential(OrderedDict(stage=module, **after)))


def residual_blocks(stage: nn.Module) -> list[nn.Module]:
    """The residual blocks of a stage that can hold blocks, first to last."""
    return [module for module in stage.modules() if _kind(module)]


def residual_kind(stage: nn.Module) -> Literal["basic", "bottleneck"] | None:
    """The kind of a stage's residual blocks that can hold blocks; None where it has none, or of both kinds."""
    kinds = {_kind(module) for module in residual_blocks(stage)}
    return kinds.pop() if len(kinds) == 1 else None


def _kind(module: nn.Module) -> Literal["basic", "bottleneck"] | None:
    from timm.models import resnet, resnetv2

    # no derived classes: a variant may have no place for a block
    if type(module) in (resnet.BasicBlock, resnetv2.PreActBasic):
        return "basic"
    return "bottleneck" if type(module) in (resnet.Bottleneck, resnetv2.PreActBottleneck) else None


def _place_inside(residual: nn.Module, blocks: Mapping[str, Block], channels: int) -> None:
    """Put blocks into one residual branch: at its end, or in the place of its 3x3 convolution."""
    from torch import nn

    ending: dict[str, nn.Module] = {}
    for kind, block in blocks.items():
        if block.replaces_convolution:
            _replace_convolution(residual, kind, block)
        else:
            ending[kind] = _built(kind, block, channels)
    if not ending:
        return
    # timm's post-activation blocks have a slot for attention behind the last norm, its pre-activation ones none
    slot = next(name for name in ("se", "conv3", "conv2") if hasattr(residual, name))
    present = getattr(residual, slot)
    own = {"conv" if isinstance(present, nn.Conv2d) else "own": present} if present is not None else {}
    setattr(residual, slot, nn.Sequential(OrderedDict(**own, **ending)))


def _built(kind: str, block: Block, channels: int) -> nn.Module:
    try:
        return block.build(channels)
    except ValueError as error:
        raise UserError(f"architecture.blocks.{kind}: {error}") from None


def _replace_convolution(residual: nn.Module, kind: str, block: Block) -> None:
    """Put a block in the place of a bottleneck's 3x3 convolution, and of the norm and activation behind it.

    A stride becomes average pooling before the block, as in the official code of CoTNet (Li et al., TPAMI 2022). In a
    pre-activation block, norm and activation stay: they belong to the next convolution.
    """
    from timm.models.resnet import Bottleneck
    from torch import nn

    # with what surgery has put around it
    found = (module for module in residual.get_submodule("conv2").modules() if isinstance(module, nn.Conv2d))
    convolution = next(found, None)
    if convolution is None:
        raise UserError(f"architecture.blocks.{kind}: surgery has left no 3x3 convolution that it could replace")
    stride = convolution.stride[0]
    pool = {"pool": nn.AvgPool2d(3, stride=stride, padding=1)} if stride > 1 else {}
    residual.conv2 = nn.Sequential(OrderedDict(**pool, **{kind: _built(kind, block, convolution.in_channels)}))
    if isinstance(residual, Bottleneck):
        residual.bn2 = nn.Identity()
        residual.act2 = nn.Identity()


def classifiers(model: nn.Module) -> list[str]:
    """The names of the modules that give the logits; a network made for distillation may have two."""
    found: Any = model.get_classifier()  # type: ignore[operator]
    modules = found if isinstance(found, tuple) else (found,)
    return [name for name, module in model.named_modules() if any(module is one for one in modules)]


def features_into(classifier: nn.Module) -> int | None:
    """The features that a fully connected layer or convolution takes; None for any other module."""
    from torch import nn

    if isinstance(classifier, nn.Linear):
        return classifier.in_features
    return classifier.in_channels if isinstance(classifier, nn.Conv2d) else None


def replace_head(model: nn.Module, head: Head, num_classes: int) -> None:
    """Put a head in the place of timm's classifier, fully connected or a 1x1 convolution."""
    from torch import nn

    (name,) = classifiers(model)
    features = features_into(model.get_submodule(name))
    if features is None:
        raise UserError("architecture.head: surgery has left a classifier of several layers, expected the default head")
    _replace(model, name, nn.Sequential(nn.Flatten(1), head.build(features, num_classes)))


def parameters_by_part(model: nn.Module, stages: Sequence[str]) -> dict[Part, list[nn.Parameter]]:
    """The parameters of each part but the head: the stem before the first stage, others with the stage before them."""
    found: dict[Part, list[nn.Parameter]] = {"stem": [], **{number: [] for number in range(1, len(stages) + 1)}}
    heads = classifiers(model)
    part: Part = "stem"
    for name, parameter in model.named_parameters():
        if not _is_in(name, heads):
            part = next((number for number, stage in enumerate(stages, 1) if _is_in(name, [stage])), part)
            found[part].append(parameter)
    return found


def freeze(model: nn.Module, parts: Mapping[Part, Sequence[nn.Parameter]], frozen: Collection[Part]) -> None:
    """Freeze the parameters of the `frozen` parts; `head` is the classifier that `model` has now."""
    for part in frozen:
        if part == "head":
            for name in classifiers(model):
                model.get_submodule(name).requires_grad_(False)
            continue
        for parameter in parts[part]:
            parameter.requires_grad_(False)


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's own tensors, rather than copies, by their names in the state dict, to be written into."""
    return dict(model.state_dict(keep_vars=True))


def _is_in(name: str, modules: Sequence[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, module)
