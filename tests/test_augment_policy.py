"""Cutout, random erasing, RandAugment, TrivialAugment and random choice of refinements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batches import (
    DRAWS,
    FILL,
    a_batch,
    a_hook,
    a_recipe,
    a_setup,
    placed,
    smooth_images,
    some_images,
)
from scipy import stats
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import RandAugment as TheirRandAugment
from torchvision.transforms.v2 import TrivialAugmentWide
from torchvision.transforms.v2 import functional as theirs

from experiments import catalog
from experiments.language.validation import Problem
from experiments.options import Order, Refinement
from experiments.recipe import parse_recipe
from experiments.refinements._maps import rotations
from experiments.refinements._operations import BINS, OPERATIONS, Strengths, operated
from experiments.refinements.cutout import cutout
from experiments.refinements.rand_augment import STRENGTHS
from experiments.refinements.random_choice import RandomChoice
from experiments.refinements.random_erasing import erase
from experiments.refinements.trivial_augment import WIDE
from trainer.draws import Draws
from trainer.errors import UserError
from trainer.geometry import Frame
from trainer.hooks import Batch, Hook, Setup
from trainer.resample import resample


def parsed(kind: str, settings: dict[str, Any]) -> Refinement:
    option: Refinement = catalog.parse_named("refinements", {kind: settings})[kind]
    return option


class TestCutout:
    @pytest.mark.parametrize("length", [1, 3, 4])
    def test_squares_are_filled_and_clipped(self, length: int) -> None:
        images = some_images(3, side=8)
        top, left = torch.tensor([[0, 5], [-2, 7], [3, 3]]), torch.tensor([[2, 6], [-1, 7], [3, 4]])
        covered = cutout(images, top, left, length, FILL)
        for i in range(3):
            for y in range(8):
                for x in range(8):
                    hit = any(
                        t <= y < t + length and s <= x < s + length
                        for t, s in zip(top[i].tolist(), left[i].tolist(), strict=True)
                    )
                    assert torch.equal(covered[i, :, y, x], FILL if hit else images[i, :, y, x])

    def holes(self, count: int, length: int, **settings: int) -> torch.Tensor:
        """What is covered of each image [B, H, W]."""
        images = torch.zeros(count, 3, 12, 12)
        hook = a_hook("cutout", {"length": length, **settings})
        covered = hook.augment(a_batch(images), DRAWS).images == FILL.view(-1, 1, 1)
        assert torch.equal(covered.any(1), covered.all(1))
        return covered.all(1)

    @pytest.mark.parametrize("length", [1, 2, 5, 6, 12])
    def test_a_square_has_the_exact_side_unless_the_border_clips_it(self, length: int) -> None:
        covered = self.holes(300, length)
        rows, columns = covered.any(2).sum(1), covered.any(1).sum(1)
        assert torch.equal(covered.sum((1, 2)), rows * columns), "one rectangle"
        assert int(rows.max()) == length == int(columns.max())
        assert int(rows.min()) >= length // 2
        if length == 2:
            assert {int(n) for n in rows} == {1, 2}, "clipped by the border, as in the authors' code"

    def test_every_pixel_is_as_likely_to_be_the_centre(self) -> None:
        centres = self.holes(5000, 1).sum(0)
        assert stats.chisquare(centres.flatten().numpy()).pvalue > 1e-3

    def test_several_holes_are_at_places_of_their_own(self) -> None:
        pixels = self.holes(400, 1, holes=3).sum((1, 2))
        assert int(pixels.max()) == 3
        assert float((pixels == 3).float().mean()) > 0.95

    def test_a_square_larger_than_the_image_is_refused(self) -> None:
        for refinements, path in (
            ({"cutout": {"length": 40}}, ("cutout",)),
            ({"random_choice": {"of": {"flip": {}, "cutout": {"length": 40}}}}, ("random_choice", "of", "cutout")),
        ):
            with pytest.raises(Problem) as caught:
                parse_recipe(a_recipe(refinements, image_size=32))
            assert caught.value.message == "got length 40, expected at most the image_size, 32"
            assert caught.value.path == ("refinements", *path)
        parse_recipe(a_recipe({"cutout": {"length": 32}}, image_size=32))


class TestRandomErasing:
    def test_a_box_is_filled_and_the_rest_stays(self) -> None:
        images, colours = some_images(3, side=8), torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
        found = erase(images, torch.tensor([[1, 2, 4, 8], [0, 0, 0, 0], [7, 7, 8, 8]]), colours)
        expected = images.clone()
        expected[0, :, 1:4, 2:8] = colours[0, :, None, None]
        expected[2, :, 7:8, 7:8] = colours[2, :, None, None]
        assert torch.equal(found, expected)

    def boxes(self, side: int = 100, **settings: Any) -> np.ndarray:
        """Top, left, height, width of the box of each of 3,000 images; zeros where there is none."""
        batch = Batch(torch.full((3000, 3, side, side), 300.0), torch.zeros(3000), np.arange(3000))
        erased = a_hook("random_erasing", settings).augment(batch, DRAWS).images[:, 0] != 300
        found = []
        for mask in erased.numpy():
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            assert mask.sum() == len(rows) * len(columns), "a rectangle"
            found.append((rows[0], columns[0], len(rows), len(columns)) if len(rows) else (0, 0, 0, 0))
        return np.array(found)

    def test_area_and_ratio_are_as_documented(self) -> None:
        boxes = self.boxes(p=1.0, scale=[0.05, 0.2], ratio=[0.5, 2.0])
        area, ratio = boxes[:, 2] * boxes[:, 3] / 100**2, boxes[:, 3] / boxes[:, 2]
        assert stats.kstest(area, stats.uniform(0.05, 0.15).cdf).pvalue > 1e-3
        assert stats.kstest(np.log(ratio), stats.uniform(-np.log(2), 2 * np.log(2)).cdf).pvalue > 1e-3

    def test_it_is_anywhere_and_as_often_as_asked(self) -> None:
        boxes = self.boxes(p=0.3)
        there = boxes[boxes[:, 2] > 0]
        assert stats.binomtest(len(there), len(boxes), 0.3).pvalue > 1e-3
        for axis in (0, 1):
            room = 100 - there[:, 2 + axis] + 1
            assert stats.kstest((there[:, axis] + 0.5) / room, stats.uniform().cdf).pvalue > 1e-3

    def test_an_image_that_no_box_fits_stays(self) -> None:
        assert not self.boxes(side=10, p=1.0, scale=[1.0, 1.0], ratio=[3.0, 3.0]).any()

    @pytest.mark.parametrize("fill", ["mean", "random"])
    def test_its_colour(self, fill: str) -> None:
        batch = a_batch(some_images(400, side=6, low=300, high=301))
        images = (
            a_hook("random_erasing", {"p": 1.0, "scale": [1.0, 1.0], "ratio": [1.0, 1.0], "fill": fill})
            .augment(batch, DRAWS)
            .images
        )
        assert (images == images[:, :, :1, :1]).all(), "one for the whole box"
        colours = images[:, :, 0, 0].numpy()
        if fill == "mean":
            assert (colours == FILL.numpy()).all()
        else:
            assert all(stats.kstest(channel, stats.uniform(0, 255).cdf).pvalue > 1e-3 for channel in colours.T)

    @pytest.mark.parametrize("settings", [{"scale": [0.4, 0.02]}, {"ratio": [2.0, 1.0]}, {"p": 0.0}, {"fill": "noise"}])
    def test_settings_out_of_range_are_refused(self, settings: dict[str, Any]) -> None:
        with pytest.raises(Problem, match="expected"):
            parsed("random_erasing", settings)


THEIR_NAMES = {
    **{name: name.title().replace("_", "") for name in OPERATIONS},
    "autocontrast": "AutoContrast",
}
GEOMETRIC = {"shear_x", "shear_y", "translate_x", "translate_y", "rotate"}


class TestOperations:
    @pytest.mark.parametrize("policy", [TheirRandAugment, TrivialAugmentWide])
    def test_they_are_torchvisions_in_their_order(self, policy: Any) -> None:
        assert list(THEIR_NAMES.values()) == list(policy._AUGMENTATION_SPACE)

    @pytest.mark.parametrize(("strengths", "policy"), [(STRENGTHS, TheirRandAugment), (WIDE, TrivialAugmentWide)])
    @pytest.mark.parametrize("name", list(OPERATIONS))
    def test_each_is_torchvisions_at_every_images_own_level(self, name: str, strengths: Strengths, policy: Any) -> None:
        magnitudes = np.array([0, 9, 30, 9, 17])
        images = smooth_images(len(magnitudes), side=40).round()
        signs = np.array([1.0, -1.0, 1.0, 1.0, -1.0])
        chosen = np.full((len(magnitudes), 1), OPERATIONS.index(name))
        levels = magnitudes[:, None] / BINS
        found = operated(images, chosen, signs[:, None], levels, strengths, torch.zeros(3))
        theirs_of, signed = policy._AUGMENTATION_SPACE[THEIR_NAMES[name]]
        bins = theirs_of(BINS + 1, 40, 40)
        for image, ours, magnitude, sign in zip(images, found, magnitudes, signs, strict=True):
            strength = 0.0 if bins is None else float(bins[magnitude])
            expected = policy()._apply_image_or_video_transform(
                image.to(torch.uint8),
                THEIR_NAMES[name],
                sign * strength if signed else strength,
                interpolation=InterpolationMode.BILINEAR,
                fill={torch.Tensor: None},
            )
            # theirs rounds or cuts to whole levels, and of the blends what they blend with as well
            tolerance = 0.51 if name in GEOMETRIC else 1 if name == "brightness" else 2
            exact = name in ("identity", "posterize", "solarize", "autocontrast", "equalize")
            assert float((ours - expected.float()).abs().max()) <= (0 if exact else tolerance)

    def test_operations_follow_each_other(self) -> None:
        images = smooth_images(2, side=20).round()
        names = list(OPERATIONS)
        chosen = np.array(
            [
                [names.index("solarize"), names.index("posterize")],
                [names.index("posterize"), names.index("solarize")],
            ]
        )
        found = operated(images, chosen, np.ones((2, 2)), np.full((2, 2), 20 / BINS), STRENGTHS, FILL)
        whole = images.to(torch.uint8)
        assert torch.equal(found[0], theirs.posterize(theirs.solarize(whole[0], 85.0), 5).float())
        assert torch.equal(found[1], theirs.solarize(theirs.posterize(whole[1], 5), 85.0).float())
        assert not torch.equal(found[0], theirs.solarize(theirs.posterize(whole[0], 5), 85.0).float())


def drawn(kind: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Operations, signs, levels and strengths that a policy draws for 5,000 images."""
    seen: list[Any] = []

    def see(images: torch.Tensor, *arguments: Any) -> torch.Tensor:
        seen.extend(arguments)
        return images

    monkeypatch.setattr(f"experiments.refinements.{kind}.operated", see)
    a_hook(kind, settings).augment(a_batch(some_images(5000, side=1)), DRAWS)
    return seen[:4]


def uniform(values: np.ndarray, kinds: int) -> bool:
    return bool(stats.chisquare(np.bincount(values, minlength=kinds)).pvalue > 1e-3)


def independent(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(stats.chi2_contingency(stats.contingency.crosstab(one, other).count).pvalue > 1e-3)


class TestRandAugment:
    def test_operations_and_signs_are_uniform_and_independent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        chosen, signs, levels, strengths = drawn("rand_augment", {"num_ops": 3, "magnitude": 4}, monkeypatch)
        assert strengths == STRENGTHS
        assert chosen.shape == signs.shape == levels.shape == (5000, 3)
        assert set(levels.flatten()) == {4 / BINS}
        assert all(uniform(column, 14) for column in chosen.T)
        assert set(signs.flatten()) == {-1.0, 1.0}
        assert stats.binomtest(int((signs > 0).sum()), signs.size).pvalue > 1e-3
        for one, other in ((chosen[:, 0], chosen[:, 1]), (chosen[:, 0], signs[:, 0]), (signs[:, 0], signs[:, 1])):
            assert independent(one, other)

    def test_a_sharper_magnitude_changes_more(self) -> None:
        batch = a_batch(smooth_images(200, side=16))
        changes = [
            float((a_hook("rand_augment", {"magnitude": m}).augment(batch, DRAWS).images - batch.images).abs().mean())
            for m in (0, 9, 30)
        ]
        assert changes == sorted(changes)

    @pytest.mark.parametrize("settings", [{"num_ops": 0}, {"magnitude": 31}, {"magnitude": -1}])
    def test_settings_out_of_range_are_refused(self, settings: dict[str, int]) -> None:
        with pytest.raises(Problem, match="expected"):
            parsed("rand_augment", settings)


class TestTrivialAugment:
    def test_operation_magnitude_and_sign_are_uniform_and_independent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        chosen, signs, levels, strengths = (one for one in drawn("trivial_augment", {}, monkeypatch))
        assert strengths == WIDE
        assert chosen.shape == signs.shape == levels.shape == (5000, 1)
        magnitudes = np.rint(levels * BINS).astype(np.int64)[:, 0]
        assert np.allclose(magnitudes / BINS, levels[:, 0])
        assert uniform(magnitudes, 31)
        assert uniform(chosen[:, 0], 14)
        assert uniform((signs[:, 0] > 0).astype(np.int64), 2)
        assert independent(chosen[:, 0], magnitudes)
        assert independent(chosen[:, 0], signs[:, 0])
        assert independent(magnitudes, signs[:, 0])

    def test_images_of_one_batch_differ(self) -> None:
        batch = a_batch(smooth_images(1, side=16).expand(40, -1, -1, -1))
        found = a_hook("trivial_augment", {}).augment(batch, DRAWS).images
        assert len(found.flatten(1).unique(dim=0)) > 20


CHOICE: dict[str, Any] = {"flip": {"p": 1.0}, "vertical_flip": {"p": 1.0}, "color_jitter": {"brightness": 0.5}}


class _Shift(Refinement):
    """Claims to act on single images but acts on the batch."""

    kind: str = "shift"
    order = Order.COLOUR

    def build(self, setup: Setup) -> Hook:
        class Mixes(Hook):
            def mix(self, batch: Batch, draws: Draws) -> Batch:
                return batch

        return Mixes()


DARKER = """
from dataclasses import replace
from typing import Literal
from experiments.options import Order, Refinement
from trainer.hooks import Hook


class Darker(Refinement):
    kind: Literal["darker"] = "darker"
    order = Order.COLOUR
    by: float = 0.5

    def build(self, setup):
        return DarkerHook(self.by)


class DarkerHook(Hook):
    def __init__(self, by):
        self.by = by

    def works_in(self, epoch):
        return epoch % 2 == 1

    def augment(self, batch, draws):
        return replace(batch, images=batch.images * self.by)
"""


class TestRandomChoice:
    def test_each_image_gets_exactly_one_and_each_is_as_likely(self) -> None:
        images = some_images(1, side=4, low=1, high=100).expand(3000, -1, -1, -1)
        changed = a_hook("random_choice", {"of": CHOICE}).augment(a_batch(images), DRAWS).images
        mirrored = (changed == images.flip(-1)).flatten(1).all(1)
        upside_down = (changed == images.flip(-2)).flatten(1).all(1)
        factors = (changed / images).flatten(1)
        brighter = ((factors - factors[:, :1]).abs() < 1e-5).all(1)
        assert torch.equal(mirrored.int() + upside_down.int() + brighter.int(), torch.ones(3000, dtype=torch.int32))
        assert stats.chisquare([int(each.sum()) for each in (mirrored, upside_down, brighter)]).pvalue > 1e-3

    def test_a_plugin_inside_acts_in_its_own_epochs_and_is_checked_as_outside(self, tmp_path: Path) -> None:
        plugin = tmp_path / "darker.py"
        plugin.write_text(DARKER)
        catalog.add_plugin(plugin)
        images = some_images(1, side=4, low=100, high=200).expand(200, -1, -1, -1)
        hook = a_hook("random_choice", {"of": {"darker": {}, "flip": {"p": 0.0}}})
        changed = []
        for epoch in (1, 2, 3):
            hook.epoch_start(epoch)
            changed.append(bool((hook.augment(a_batch(images), DRAWS).images != images).any()))
        assert changed == [True, False, True]
        wrong = a_hook("random_choice", {"of": {"darker": {"by": 0.001}, "flip": {}}})
        wrong.epoch_start(1)
        with pytest.raises(UserError, match="darker: augment gave"):
            wrong.augment(a_batch(images), DRAWS)

    def test_the_refinements_draw_by_sample_and_apart_from_the_same_ones_outside(self) -> None:
        images = some_images(1, side=4).expand(3000, -1, -1, -1)
        settings = {"of": {"flip": {}, "vertical_flip": {"p": 0.0}}}
        inside = (a_hook("random_choice", settings).augment(a_batch(images), DRAWS).images != images).flatten(1).any(1)
        outside = (placed([a_hook("flip", {})], a_batch(images)) != images).flatten(1).any(1)
        assert stats.binomtest(int(inside.sum()), 3000, 0.25).pvalue > 1e-3
        assert stats.chi2_contingency(np.histogram2d(inside, outside, bins=2)[0]).pvalue > 1e-3

    @pytest.mark.parametrize(
        ("of", "path", "message"),
        [
            ({}, ("of",), "got none, expected two refinements or more"),
            ({"flip": {}}, ("of",), "got flip, expected two refinements or more"),
            ({"flip": {}, "mixup": {}}, ("of", "mixup"), "mixup does not act on single images"),
            ({"flip": {}, "warmup": {}}, ("of", "warmup"), "warmup does not act on single images"),
            ({"flip": {}, "random_crop": {}}, ("of", "random_crop"), "random_crop changes the size of images"),
            ({"flip": {}, "random_resized_crop": {}}, ("of", "random_resized_crop"), "changes the size"),
            ({"flip": {}, "random_choice": {"of": CHOICE}}, ("of", "random_choice"), "inside a random choice"),
            ({"flip": {}, "flipp": {}}, ("of", "flipp"), "did you mean 'flip'"),
            ({"flip": {"p": 2}, "cutout": {}}, ("of", "flip", "p"), "less than or equal to 1"),
        ],
    )
    def test_what_cannot_be_chosen_from_is_refused(
        self, of: dict[str, Any], path: tuple[str, ...], message: str
    ) -> None:
        with pytest.raises(Problem, match=message) as caught:
            parsed("random_choice", {"of": of})
        assert caught.value.path == ("random_choice", *path)

    def test_its_settings_can_be_written_and_read(self) -> None:
        option = parsed("random_choice", {"of": CHOICE})
        data = option.model_dump(mode="json")
        assert list(data["of"]) == sorted(CHOICE)
        assert parsed("random_choice", data) == option
        other = parsed("random_choice", {"of": {**CHOICE, "flip": {"p": 0.9}}})
        assert option.identity() != other.identity()

    def test_a_hook_that_does_not_keep_what_its_order_promises_is_refused(self) -> None:
        choice = RandomChoice.model_construct(of={"shift": _Shift()})
        with pytest.raises(UserError, match=r"of\.shift: its hook acts at mix, expected place or augment only"):
            choice.build(a_setup())

    def test_those_that_move_pixels_interpolate_once_by_draws_of_their_own(self) -> None:
        batch = a_batch(some_images(40))
        settings = {"rotation": {"degrees": 90}, "vertical_flip": {"p": 1.0}, "cutout": {"length": 1}}
        found = a_hook("random_choice", {"of": settings}).augment(batch, DRAWS).images
        degrees = 90 * (2 * DRAWS.uniform("random choice of rotation", batch.samples)[:, 0] - 1)
        chosen = DRAWS.uniform("random choice", batch.samples)[:, 0] * 3
        # in the order of their kinds: cutout, rotation, vertical_flip
        rotated, flipped = (chosen >= 1) & (chosen < 2), chosen >= 2
        turned = resample(batch.images, Frame.of(batch.images).affine(rotations(degrees)), FILL)
        assert torch.equal(found[rotated], turned[rotated])
        assert torch.equal(found[flipped], batch.images.flip(-2)[flipped])
        assert min(rotated.sum(), flipped.sum()) > 5
