"""Any network of timm's, by its name.

What timm switches on silently is off here: dropout and drop path that some of its networks have by default (unless an
argument asks for one of them), and last batch norms that start at zero. Modules that make the network what it is (the
squeeze-excitation of `resnetrs101`, layer scale) stay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ..heads.linear import Linear
from ..language.validation import Problem
from . import _pretrained, _timm_facts
from ._staged import Anatomy, _Staged

if TYPE_CHECKING:
    from torch import nn

    from ..recipe import Recipe


NOT_ARGUMENTS = {
    "checkpoint_path": "expected weights_file instead",
    "features_only": "expected a classifier",
    "in_chans": "which is 3 for all data sets",
    "num_classes": "which follows from the data set",
    "out_indices": "expected a classifier",
    "pretrained": "expected the setting of this name",
    "pretrained_cfg": "expected weights instead",
    "pretrained_cfg_overlay": "expected weights instead",
}
"""Arguments of timm's that are said otherwise here, and how."""


class Timm(_Staged):
    """timm's network `name`. Blocks and `freeze` need one with stages: layer1 ..., stages or s1 ... among its modules.

    Blocks can stand after the stages of any such network, and inside stages that consist of ResNet's or ResNetV2's own
    residual blocks.
    """

    kind: Literal["timm"] = "timm"

    starts: ClassVar[tuple[str, ...]] = ("pretrained", *_Staged.starts)

    name: str
    """timm's name of the network, such as `resnet34` or `resnet50.a1_in1k`."""

    arguments: dict[str, Any] = Field(default_factory=dict)
    """What timm's constructor takes, such as `{img_size: 32, patch_size: 4}` of a vision transformer.

    Arguments about dropout or drop path (`drop_rate`, `drop_path_rate`, ...) leave on all that timm has on by default.
    """

    pretrained: bool = False
    """Whether to start from the weights of the same name; short for `weights` with the name."""

    zero_gamma: bool = False
    """Leave norms at zero that timm starts there (mostly each residual block's last one); false starts them at one."""

    def anatomy(self) -> Anatomy:  # noqa: D102
        found = self._facts()
        return Anatomy(self.name, found.stages, found.channels, found.residual)

    def start(self) -> _pretrained.Start:  # noqa: D102
        start = _pretrained.Start(self.name) if self.pretrained else super().start()
        return replace(start, arguments=self.arguments)

    def check(self, recipe: Recipe) -> None:  # noqa: D102
        super().check(recipe)
        size, fixed = recipe.dataset.image_size, self._facts().fixed_size
        if fixed is not None and size != fixed:
            instead = "" if "img_size" in self.arguments else f"; `arguments: {{img_size: {size}}}` makes one for these"
            message = f"{self.name} takes images of {fixed} px, got a dataset.image_size of {size}{instead}"
            raise Problem(("name",), message)

    def check_parts(self) -> None:  # noqa: D102
        for name, instead in NOT_ARGUMENTS.items():
            if name in self.arguments:
                raise Problem(("arguments", name), f"got timm's {name}, {instead}")
        if not isinstance(self.arguments.get("img_size", 1), int):
            raise Problem(("arguments", "img_size"), f"got {self.arguments['img_size']}, expected a whole number")
        found = self._facts()
        if found.unknown is not None:
            raise Problem(("name",), f"timm has no network {self.name!r}{found.unknown}")
        if found.refused is not None:
            raise Problem(("arguments",), f"timm's {self.name} can't be built with these ({found.refused})")
        if not found.takes_head and self.head != Linear():
            raise Problem(("head",), f"{self.name} has no single layer as its classifier, expected the default head")
        super().check_parts()

    def plain(self, num_classes: int) -> nn.Module:  # noqa: D102
        import timm

        model: nn.Module = timm.create_model(self.name, pretrained=False, num_classes=num_classes, **self.arguments)
        if not any("drop" in name for name in self.arguments):
            without_dropout(model)
        if not self.zero_gamma:
            without_zero_gamma(model)
        return model

    def _facts(self) -> _timm_facts.Network:
        return _timm_facts.network(self.name, self.arguments)


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
