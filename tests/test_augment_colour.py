"""Refinements that change colours: each operation against torchvision's function, and what color_jitter draws."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from batches import DRAWS, a_batch, a_hook, some_images
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import stats
from torchvision.transforms.v2 import functional as theirs

from experiments import catalog
from experiments.language.validation import Problem
from experiments.refinements import _colour_ops as ours
from experiments.refinements.color_jitter import color_jitter

FACTORS = [0.0, 0.1, 0.6, 1.0, 1.4, 3.0]
HUES = [-0.5, -0.21, 0.0, 0.1, 0.35, 0.5]
BLENDS: dict[str, tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor]]] = {
    "brightness": (ours.brightness, theirs.adjust_brightness),
    "contrast": (ours.contrast, theirs.adjust_contrast),
    "saturation": (ours.saturation, theirs.adjust_saturation),
    "sharpness": (ours.sharpness, theirs.adjust_sharpness),
    "hue": (ours.hue, theirs.adjust_hue),
}


def levels_of(images: torch.Tensor) -> torch.Tensor:
    return images.round().to(torch.uint8)


def odd_images() -> torch.Tensor:
    """Noise, dark noise, few levels, one level, black and white."""
    few = some_images(1, seed=2).div(100).floor() * 100
    one = torch.full((1, 3, 12, 12), 77.0)
    return torch.cat([some_images(2, seed=3), some_images(1, low=30, high=90), few, one, one * 0, one * 0 + 255])


@pytest.mark.parametrize("name", list(BLENDS))
def test_each_image_is_changed_by_its_own_factor_as_torchvision_does(name: str) -> None:
    own, their = BLENDS[name]
    factors = HUES if name == "hue" else FACTORS
    images = some_images(len(factors))
    changed = own(images, torch.tensor(factors))
    for i, factor in enumerate(factors):
        expected = their(images[i] / 255, factor) * 255
        assert torch.allclose(changed[i], expected, atol=2e-3), factor
    unchanged = factors.index(0.0 if name == "hue" else 1.0)
    assert torch.allclose(changed[unchanged], images[unchanged], atol=1e-3)


@pytest.mark.parametrize("name", list(BLENDS))
def test_grey_black_and_white_stay_numbers(name: str) -> None:
    own, their = BLENDS[name]
    images = odd_images()
    changed = own(images, torch.full((len(images),), 0.3))
    expected = torch.stack([their(image / 255, 0.3) * 255 for image in images])
    assert torch.allclose(changed, expected, atol=2e-3)
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 255


def test_hue_turns_the_hexcone() -> None:
    images = some_images(2, side=3)
    turned = ours.hue(images, torch.tensor([0.3, -0.45]))
    for i, shift in enumerate([0.3, -0.45]):
        for y in range(3):
            for x in range(3):
                h, s, v = colorsys.rgb_to_hsv(*(images[i, :, y, x] / 255).tolist())
                expected = [255 * channel for channel in colorsys.hsv_to_rgb((h + shift) % 1, s, v)]
                assert turned[i, :, y, x].tolist() == pytest.approx(expected, abs=1e-2)


class TestLevels:
    """What works on whole levels equals torchvision's and Pillow's on uint8, to the last bit."""

    @pytest.mark.parametrize("bits", range(9))
    def test_posterize(self, bits: int) -> None:
        images = odd_images()
        assert torch.equal(
            ours.posterize(images, torch.tensor([2 ** (8 - bits)] * len(images))),
            theirs.posterize(levels_of(images), bits).float(),
        )

    @pytest.mark.parametrize("threshold", [0.0, 0.5, 127.5, 128.0, 178.5, 255.0])
    def test_solarize(self, threshold: float) -> None:
        images = odd_images()
        assert torch.equal(
            ours.solarize(images, torch.tensor([threshold] * len(images))),
            theirs.solarize(levels_of(images), threshold).float(),
        )

    def test_autocontrast(self) -> None:
        images = odd_images()
        assert torch.equal(ours.autocontrast(images), theirs.autocontrast(levels_of(images)).float())

    @pytest.mark.parametrize("side", [12, 20, 64])
    def test_equalize(self, side: int) -> None:
        images = torch.cat([some_images(3, side), some_images(2, side, low=100, high=140), some_images(1, side) * 0])
        equalized = ours.equalize(images)
        assert torch.equal(equalized, theirs.equalize(levels_of(images)).float())
        for image, found in zip(levels_of(images), equalized, strict=True):
            pillows = ImageOps.equalize(Image.fromarray(image.permute(1, 2, 0).numpy()))
            assert np.array_equal(np.asarray(pillows), found.permute(1, 2, 0).numpy())

    def test_fractions_are_rounded_first(self) -> None:
        images = torch.tensor([0.4, 0.6, 127.5, 128.4, 254.6]).expand(1, 3, 1, -1)
        assert ours.posterize(images, torch.ones(1))[0, 0, 0].tolist() == [0, 1, 128, 128, 255]


SETTINGS = {"brightness": 0.4, "contrast": 0.7, "saturation": 1.5, "hue": 0.1}
RANGES = {"brightness": (0.6, 1.4), "contrast": (0.3, 1.7), "saturation": (0.0, 2.5), "hue": (-0.1, 0.1)}


class TestColorJitter:
    def test_operations_act_in_each_images_order(self) -> None:
        images = some_images(24)
        names = ["brightness", "contrast", "saturation", "hue"]
        orders = np.array([DRAWS.permutation(f"order {i}", 4) for i in range(24)])
        factors = 0.2 + DRAWS.uniform("factors", np.arange(24), 4)
        factors[:, 3] = factors[:, 3] / 2 - 0.3
        found = color_jitter(images, factors, orders)
        for i in range(24):
            expected = images[i] / 255
            for index in orders[i].tolist():
                expected = BLENDS[names[index]][1](expected, float(factors[i, index]))
            assert torch.allclose(found[i], expected * 255, atol=5e-3)
        assert len({tuple(order) for order in orders.tolist()}) > 10

    def drawn(
        self, settings: dict[str, float], count: int, monkeypatch: pytest.MonkeyPatch
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The factors and orders that a hook draws."""
        seen: list[Any] = []

        def see(images: torch.Tensor, *arguments: Any) -> torch.Tensor:
            seen.extend(arguments)
            return images

        monkeypatch.setattr("experiments.refinements.color_jitter.color_jitter", see)
        a_hook("color_jitter", settings).augment(a_batch(some_images(count, side=1)), DRAWS)
        return seen[0], seen[1]

    def test_factors_are_uniform_in_torchvisions_ranges(self, monkeypatch: pytest.MonkeyPatch) -> None:
        factors, _ = self.drawn(SETTINGS, 3000, monkeypatch)
        for column, (low, high) in zip(factors.T, RANGES.values(), strict=True):
            assert stats.kstest(column, stats.uniform(low, high - low).cdf).pvalue > 1e-3
        correlations = np.corrcoef(factors.T) - np.eye(4)
        assert abs(correlations).max() < 0.06

    def test_every_order_is_as_likely(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _, order = self.drawn(SETTINGS, 4800, monkeypatch)
        assert np.array_equal(np.sort(order, 1), np.tile(np.arange(4), (4800, 1)))
        counts = np.unique(order @ np.array([64, 16, 4, 1]), return_counts=True)[1]
        assert len(counts) == 24
        assert stats.chisquare(counts).pvalue > 1e-3

    def test_only_what_has_a_strength_is_done(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _, order = self.drawn({"hue": 0.1, "contrast": 0.2}, 1000, monkeypatch)
        assert sorted({tuple(row) for row in order.tolist()}) == [(1, 3), (3, 1)]
        assert stats.binomtest(int((order[:, 0] == 1).sum()), 1000).pvalue > 1e-3

    def test_brightness_alone_is_a_factor(self) -> None:
        batch = a_batch(some_images(50, low=1, high=100))
        changed = a_hook("color_jitter", {"brightness": 0.5}).augment(batch, DRAWS).images
        factors = (changed / batch.images).flatten(1)
        assert torch.allclose(factors, factors[:, :1].expand_as(factors))
        drawn = 0.5 + DRAWS.uniform("color jitter", np.arange(50), 8)[:, 0]
        assert factors[:, 0].tolist() == pytest.approx(drawn.tolist(), rel=1e-5)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({}, "nothing is changed; expected at least one of brightness, contrast, saturation, hue"),
            ({"hue": 0.6}, "less than or equal to 0.5"),
            ({"contrast": -0.1}, "greater than or equal to 0"),
        ],
    )
    def test_settings_that_make_no_sense_are_refused(self, settings: dict[str, float], message: str) -> None:
        with pytest.raises(Problem, match=message):
            catalog.parse_named("refinements", {"color_jitter": settings})
