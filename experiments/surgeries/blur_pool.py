"""Blurred subsampling (Zhang, "Making convolutional networks shift-invariant again", ICML 2019, section 3.2)."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..blocks._settings import KernelSize
from ..options import Surgery
from ._modules import replace_modules

if TYPE_CHECKING:
    from torch import nn


class BlurPool(Surgery):
    """Blurs feature maps by a binomial filter before they are subsampled, so that a shift changes less.

    Max pooling becomes max pooling of stride 1, then blurred subsampling. A convolution with a stride has its
    input blurred, as in MosaicML's Composer, which comes to the same as blurring its output, at a fraction of the work;
    the paper puts the blur behind the activation. The convolution that sees the image stays, as in the author's
    code, and so does average pooling, which is a blur.
    """

    kind: Literal["blur_pool"] = "blur_pool"

    size: KernelSize = Field(default=3, ge=3)
    """Side of the filter in pixels: 3 is [1, 2, 1] / 4 in either direction, 5 is [1, 4, 6, 4, 1] / 16."""

    def apply(self, model: nn.Module) -> nn.Module:  # noqa: D102
        if not replace_modules(model, self._blurred):
            raise ValueError(
                "the network has nothing to blur: no max pooling, no convolution of a stride behind others"
            )
        return model

    def _blurred(self, module: nn.Module) -> nn.Module | None:
        from torch import nn

        if isinstance(module, nn.Conv2d) and max(module.stride) > 1 and module.in_channels > 3:
            return nn.Sequential(OrderedDict(blur=self._blur(1), conv=module))
        if isinstance(module, nn.MaxPool2d) and module.stride in (2, (2, 2)):
            dense = copy.copy(module)
            dense.stride = 1
            return nn.Sequential(OrderedDict(pool=dense, blur=self._blur(2)))
        return None

    def _blur(self, stride: int) -> nn.Module:
        """Edge pixels are repeated beyond the border: a map of one pixel has nothing to reflect."""
        from timm.layers.blur_pool import BlurPool2d

        return BlurPool2d(filt_size=self.size, stride=stride, pad_mode="replicate")
