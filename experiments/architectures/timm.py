"""Any network of timm's, by its name.

What timm switches on silently is off here: dropout and drop path that some of its networks have by default, and last
batch norms that start at zero. Modules that make the network what it is (the squeeze-excitation of `resnetrs101`, layer
scale) stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from ..heads.linear import Linear
from ..language.validation import Problem
from . import _pretrained, _timm_facts
from ._staged import Anatomy, _Staged

if TYPE_CHECKING:
    from torch import nn

    from ..recipe import Recipe


class Timm(_Staged):
    """timm's network `name`. Blocks and `freeze` need one with stages: layer1 ..., stages or s1 ... among its modules.

    Blocks can stand after the stages of any such network, and inside stages that consist of ResNet's or ResNetV2's own
    residual blocks.
    """

    kind: Literal["timm"] = "timm"

    starts: ClassVar[tuple[str, ...]] = ("pretrained", *_Staged.starts)

    name: str
    """timm's name of the network, such as `resnet34` or `resnet50.a1_in1k`."""

    pretrained: bool = False
    """Whether to start from the weights of the same name; short for `weights` with the name."""

    zero_gamma: bool = False
    """Leave norms at zero that timm starts there (mostly each residual block's last one); false starts them at one."""

    def anatomy(self) -> Anatomy:  # noqa: D102
        found = _timm_facts.network(self.name)
        return Anatomy(self.name, found.stages, found.channels, found.residual)

    def start(self) -> _pretrained.Start:  # noqa: D102
        return _pretrained.Start(self.name) if self.pretrained else super().start()

    def check(self, recipe: Recipe) -> None:  # noqa: D102
        super().check(recipe)
        size, fixed = recipe.dataset.image_size, _timm_facts.network(self.name).fixed_size
        if fixed is not None and size != fixed:
            raise Problem(("name",), f"{self.name} takes images of {fixed} px, got a dataset.image_size of {size}")

    def check_parts(self) -> None:  # noqa: D102
        found = _timm_facts.network(self.name)
        if found.unknown is not None:
            raise Problem(("name",), f"timm has no network {self.name!r}{found.unknown}")
        if not found.takes_head and self.head != Linear():
            raise Problem(("head",), f"{self.name} has no single layer as its classifier, expected the default head")
        super().check_parts()

    def plain(self, num_classes: int) -> nn.Module:  # noqa: D102
        import timm

        model: nn.Module = timm.create_model(self.name, pretrained=False, num_classes=num_classes)
        without_dropout(model)
        if not self.zero_gamma:
            without_zero_gamma(model)
        return model


def without_dropout(model: nn.Module) -> None:
    """Switch off every dropout, drop path and drop block."""
    from torch.nn.modules.dropout import _DropoutNd

    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
        # of timm's own modules, and of networks of its that call the functions
        for name in ("drop_prob", "drop_rate"):
            if isinstance(getattr(module, name, None), float | int):
                setattr(module, name, 0.0)


def without_zero_gamma(model: nn.Module) -> None:
    """Let the scale of every norm start at one that starts at zero."""
    from torch import nn

    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)
    for module in model.modules():
        scale = module.weight if isinstance(module, norms) else None
        if scale is not None and not scale.is_meta and not scale.any():
            nn.init.ones_(scale)
