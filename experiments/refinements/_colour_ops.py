"""Changes of colour on images [B, 3, H, W] in 0..255, which color_jitter and _operations share.

Each equals torchvision.transforms.v2.functional's (adjust_brightness and so on) but takes a factor for each image [B]
and rounds nothing, except for the last four: they are defined on whole levels, so they round first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._batches import per_image

if TYPE_CHECKING:
    import torch

GREY = (0.2989, 0.587, 0.114)
"""The weights of red, green and blue in grey (ITU-R BT.601, to the digits that torchvision has)."""


def brightness(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Scale the levels by `factor` [B]; 0: black, 1: the image."""
    return (images * per_image(factor)).clamp_(0, 255)


def contrast(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blend by `factor` [B]; 0: the mean of the image's grey everywhere, 1: the image."""
    # in two steps, because torch may split a sum to a single number among threads: its last bits would depend on B
    return _blend(images, grey(images).mean(-1, keepdim=True).mean(-2, keepdim=True), factor)


def saturation(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blend by `factor` [B]; 0: the image in grey, 1: the image."""
    return _blend(images, grey(images), factor)


def hue(images: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Turn the hue (of the HSV hexcone) by `shift` [B] full turns."""
    import torch

    red, green, blue = images.unbind(1)
    most, least = red.maximum(green).maximum(blue), red.minimum(green).minimum(blue)
    chroma = most - least
    # grey has no hue: with its chroma of 0, any hue gives the same colour
    divisor = chroma.clamp(min=1e-6)
    sixths = torch.where(
        most == red,
        (green - blue) / divisor,
        torch.where(most == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    sixths += 6 * shift.view(-1, 1, 1)
    sixths -= 6 * (sixths / 6).floor_()
    # a channel is at its most up to a sixth of a turn from its own hue (0, 2, 4), at its least from a third on
    short = torch.stack([2 - (sixths - 3).abs_(), (sixths - 2).abs_() - 1, (sixths - 4).abs_() - 1], 1).clamp_(0, 1)
    return torch.sub(most[:, None], short.mul_(chroma[:, None]))


def sharpness(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blend by `factor` [B]; 0: smoothed by 3 x 3 ones with a 5 in the middle, 1: the image. Outermost pixels stay."""
    columns = images[..., :-2] + images[..., 1:-1] + images[..., 2:]
    sums = columns[..., :-2, :] + columns[..., 1:-1, :] + columns[..., 2:, :]
    inner = images[..., 1:-1, 1:-1]
    sharpened = images.clone()
    sharpened[..., 1:-1, 1:-1] = _blend(inner, (sums + 4 * inner) / 13, factor)
    return sharpened


def posterize(images: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Keep the multiples of `step` [B] (1, 2, 4, ... 256) below each level: its highest 8, 7, 6, ... 0 bits."""
    step = per_image(step)
    return levels(images).div_(step, rounding_mode="floor").mul_(step)


def solarize(images: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """Invert the levels from `threshold` [B] (0..255) on."""
    whole = levels(images)
    return (255 - whole).where(whole >= per_image(threshold), whole)


def autocontrast(images: torch.Tensor) -> torch.Tensor:
    """Stretch each channel so that its least level becomes 0 and its highest 255, or 254 where rounding falls short.

    As torchvision does it; a channel of a single level stays.
    """
    whole = levels(images)
    least, most = whole.amin((2, 3), keepdim=True), whole.amax((2, 3), keepdim=True)
    stretched = (whole - least).div_((most - least) * (1 / 255)).floor_()
    return stretched.where(most > least, whole)


def equalize(images: torch.Tensor) -> torch.Tensor:
    """Spread each channel's levels so that their histogram is about flat, by Pillow's integer formula."""
    import torch

    whole = levels(images).flatten(2).to(torch.int64)
    # in one dimension, where CUDA's deterministic mode has an algorithm
    first = torch.arange(0, whole.shape[0] * whole.shape[1] * 256, 256, device=whole.device)
    places = (whole + first.view(*whole.shape[:2], 1)).flatten()
    histogram = whole.new_zeros(len(first) * 256).scatter_add_(0, places, torch.ones_like(places))
    histogram = histogram.view(*whole.shape[:2], 256)
    below = histogram.cumsum(2) - histogram
    step = below.gather(2, whole.amax(2, keepdim=True)) // 255
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(max=255)
    return table.gather(2, whole).where(step > 0, whole).to(images.dtype).view_as(images)


def levels(images: torch.Tensor) -> torch.Tensor:
    """The nearest of the whole levels 0..255, as float."""
    return images.round().clamp_(0, 255)


def grey(images: torch.Tensor) -> torch.Tensor:
    """The images in grey, [B, 1, H, W]."""
    red, green, blue = images.unbind(1)
    mixed = (red * GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])
    return mixed.unsqueeze(1)


def _blend(images: torch.Tensor, other: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blend by `factor` [B]; 0: `other`, 1: `images`."""
    weight = per_image(factor)
    return (images * weight).add_(other * (1 - weight)).clamp_(0, 255)
