"""Blurred subsampling (Zhang, "Making convolutional networks shift-invariant again", ICML 2019, section 3.2)."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..blocks._settings import KernelSize
from ..options import Surgery
from ._replacing import replace_modules

if TYPE_CHECKING:
    from torch import nn


class BlurPool(Surgery):
    """Blurs feature maps by a binomial filter where they are halved, so that a shift changes less.

    Max pooling of stride 2 becomes max pooling of stride 1, then blurred subsampling. A convolution of stride 2 has its
    input blurred, where MosaicML's Composer does: but for the edges, that comes to the same as blurring its output, for
    less work; the paper puts the blur behind the activation. The first convolution stays, as it does by default in the
    author's code, and so do average pooling, which is a blur, and larger strides.
    """

    kind: Literal["blur_pool"] = "blur_pool"

    size: KernelSize = Field(default=3, ge=3, le=15)
    """Side of the filter in pixels: 3 is [1, 2, 1] / 4 in either direction, 5 is [1, 4, 6, 4, 1] / 16."""

    def apply(self, model: nn.Module) -> nn.Module:  # noqa: D102
        from torch import nn

        from ._modules.blur import Blur, blur_input

        convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
        halving = [module for module in convolutions[1:] if set(module.stride) <= {1, 2} and max(module.stride) == 2]
        for module in halving:
            blur_input(module, Blur(self.size, 1))
        if not replace_modules(model, self._pooled) + len(halving):
            raise ValueError("the network has nothing to blur, as it halves no maps behind its first convolution")
        return model

    def _pooled(self, module: nn.Module) -> nn.Module | None:
        from torch import nn

        from ._modules.blur import Blur

        if not isinstance(module, nn.MaxPool2d) or module.stride not in (2, (2, 2)) or module.return_indices:
            return None
        if module.ceil_mode:
            raise ValueError("the network pools with ceil_mode, and blurred subsampling would give other sizes")
        dense = copy.copy(module)
        dense.stride = (1, 1)
        return nn.Sequential(OrderedDict(pool=dense, blur=Blur(self.size, 2)))
