"""Refinements that move pixels: what flips, crops, rotations and affine maps draw; test_geometry.py is what they do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from batches import DRAWS, a_batch, a_hook, a_recipe, placed, some_images
from numpy.typing import NDArray
from scipy import stats
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as theirs

from experiments import catalog
from experiments.language.validation import Problem
from experiments.recipe import parse_recipe
from experiments.refinements._boxes import NUMBERS
from experiments.refinements._maps import inverse_affine
from experiments.refinements.affine import Affine
from experiments.refinements.random_resized_crop import central_box, crop_boxes
from trainer.draws import Draws

FLIPS = ["flip", "vertical_flip"]


@pytest.mark.parametrize("kind", FLIPS)
class TestFlips:
    @pytest.mark.parametrize("p", [0.0, 0.2, 1.0])
    def test_each_image_is_mirrored_with_probability_p(self, kind: str, p: float) -> None:
        batch = a_batch(some_images(2000, side=2))
        flipped = placed([a_hook(kind, {"p": p})], batch)
        mirrored = (flipped == batch.images.flip(-1 if kind == "flip" else -2)).flatten(1).all(1)
        untouched = (flipped == batch.images).flatten(1).all(1)
        assert torch.equal(mirrored, ~untouched)
        assert stats.binomtest(int(mirrored.sum()), 2000, p).pvalue > 1e-3

    def test_an_image_is_mirrored_in_some_epochs_only(self, kind: str) -> None:
        batch, hook = a_batch(some_images(1)), a_hook(kind, {})
        epochs = [torch.equal(placed([hook], batch, Draws(0, epoch)), batch.images) for epoch in range(30)]
        assert 5 < sum(epochs) < 25


def test_both_flips_are_drawn_independently() -> None:
    batch = a_batch(some_images(2000, side=2))
    once = [(placed([a_hook(kind, {})], batch) != batch.images).flatten(1).any(1) for kind in FLIPS]
    table = np.histogram2d(once[0], once[1], bins=2)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-3


class TestRandomCrop:
    def corners(self, epoch: int, samples: int, stored: int, size: int, padding: int) -> NDArray[np.int64]:
        """Where each image was cut [B, 2], counted in the padded image, read off pixels that say where they are."""
        place = torch.arange(stored, dtype=torch.float32)
        where = torch.stack(torch.meshgrid(place, place, indexing="ij"))
        images = torch.cat([where, torch.zeros(1, stored, stored)]).expand(samples, -1, -1, -1)
        cut = placed([a_hook("random_crop", {"padding": padding}, image_size=size)], a_batch(images), Draws(0, epoch))
        assert cut.shape[-2:] == (size, size)
        middle: NDArray[np.int64] = cut[:, :2, size // 2, size // 2].numpy().astype(np.int64)
        return middle - size // 2 + padding

    @pytest.mark.parametrize(("stored", "size", "padding"), [(9, 9, 1), (9, 9, 2), (11, 9, 0), (10, 9, 1)])
    def test_every_place_is_as_likely(self, stored: int, size: int, padding: int) -> None:
        places = stored + 2 * padding - size + 1
        counts = np.zeros((places, places))
        for y, x in self.corners(1, 3000, stored, size, padding):
            counts[y, x] += 1
        assert stats.chisquare(counts.ravel()).pvalue > 1e-3

    def test_images_of_one_batch_are_cut_differently_and_again_in_the_next_epoch(self) -> None:
        first, second = self.corners(1, 50, 17, 17, 4), self.corners(2, 50, 17, 17, 4)
        assert len({tuple(corner) for corner in first.tolist()}) > 20
        assert (first != second).any(1).sum() > 40

    def test_a_crop_without_freedom_is_refused(self) -> None:
        for dataset in ({}, {"stored_size": 16}):
            with pytest.raises(Problem, match="got padding 0 for images stored at their image_size, 16") as caught:
                parse_recipe(a_recipe({"random_crop": {"padding": 0}}, **dataset))
            assert caught.value.path == ("refinements", "random_crop")
        parse_recipe(a_recipe({"random_crop": {"padding": 0}}, stored_size=20))


SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
BILINEAR = InterpolationMode.BILINEAR


def boxes_one_by_one(
    numbers: NDArray[np.float64], height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> list[list[int]]:
    """torchvision's RandomResizedCrop.make_params, which draws its numbers as it goes, with ours."""
    boxes = []
    for row in numbers.tolist():
        for attempt in range(10):
            area = height * width * (scale[0] + (scale[1] - scale[0]) * row[attempt])
            low, high = math.log(ratio[0]), math.log(ratio[1])
            aspect = math.exp(low + (high - low) * row[10 + attempt])
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                boxes.append([int(row[20] * (height - h + 1)), int(row[21] * (width - w + 1)), h, w])
                break
        else:
            w, h = width, height
            if width / height < min(ratio):
                h = round(w / min(ratio))
            elif width / height > max(ratio):
                w = round(h * max(ratio))
            boxes.append([(height - h) // 2, (width - w) // 2, h, w])
    return boxes


def drawn_boxes(count: int, side: int = 1000) -> NDArray[np.int64]:
    numbers = DRAWS.uniform("random resized crop", np.arange(count), NUMBERS)
    return crop_boxes(numbers, side, side, SCALE, RATIO)


class TestRandomResizedCrop:
    @pytest.mark.parametrize(
        ("height", "width", "scale", "ratio"),
        [
            (64, 64, SCALE, RATIO),
            (72, 72, (0.9, 1.0), (0.5, 2.0)),
            # no attempt fits: the central box
            (10, 40, (1.0, 1.0), RATIO),
            (40, 10, (1.0, 1.0), RATIO),
            (20, 20, (1.0, 1.0), (1.5, 1.5)),
            (3, 3, (0.01, 0.05), RATIO),
        ],
    )
    def test_boxes_are_torchvisions(
        self, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
    ) -> None:
        numbers = DRAWS.uniform("some boxes", np.arange(300), 22)
        found = crop_boxes(numbers, height, width, scale, ratio)
        assert found.tolist() == boxes_one_by_one(numbers, height, width, scale, ratio)

    def test_what_no_attempt_fits_is_the_largest_central_box(self) -> None:
        assert central_box(10, 40, RATIO).tolist() == [0, 13, 10, 13]
        assert central_box(40, 10, RATIO).tolist() == [13, 0, 13, 10]
        assert central_box(30, 30, RATIO).tolist() == [0, 0, 30, 30]
        assert central_box(20, 20, (70, 70)).tolist() == [9, 0, 1, 20], "a line at least"
        assert central_box(20, 20, (0.01, 0.01)).tolist() == [0, 9, 20, 1]

    def test_areas_ratios_and_places_are_distributed_as_they_should(self) -> None:
        top, left, height, width = drawn_boxes(4000).T
        area, logarithm = height * width / 1e6, np.log(width / height)
        # boxes that fit whatever their ratio are not changed by the attempts
        small = area < 0.5
        assert area.min() >= 0.079
        assert abs(logarithm).max() < math.log(4 / 3) + 0.01
        assert stats.kstest(area[small], stats.uniform(0.08, 0.42).cdf).pvalue > 1e-3
        assert stats.kstest(logarithm[small], stats.uniform(-math.log(4 / 3), 2 * math.log(4 / 3)).cdf).pvalue > 1e-3
        for start, length in ((top, height), (left, width)):
            assert ((start >= 0) & (start + length <= 1000)).all()
            place = (start + 0.5) / (1000 - length + 1)
            assert stats.kstest(place[small], "uniform").pvalue > 1e-3

    def test_each_image_is_cut_to_the_box_of_its_draw(self) -> None:
        images = some_images(20, side=40)
        numbers = DRAWS.uniform("random resized crop", np.arange(20), NUMBERS)
        found = placed([a_hook("random_resized_crop", {}, 24)], a_batch(images))
        for i, (top, left, height, width) in enumerate(crop_boxes(numbers, 40, 40, SCALE, RATIO).tolist()):
            expected = theirs.resized_crop(images[i], top, left, height, width, [24, 24], BILINEAR, antialias=True)
            assert torch.allclose(found[i], expected, atol=1e-3)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"scale": [1.0, 0.08]}, r"got scale \[1, 0.08\], expected the smaller one first"),
            ({"ratio": [2, 1]}, r"got ratio \[2, 1\], expected the smaller one first"),
            ({"scale": [1.0, 1.0], "ratio": [1, 1]}, "always the whole image"),
            ({"scale": [0.0, 1.0]}, "greater than 0"),
            ({"scale": [0.5, 1.5]}, "less than or equal to 1"),
        ],
    )
    def test_settings_that_make_no_sense_are_refused(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(Problem, match=message):
            catalog.parse_named("refinements", {"random_resized_crop": settings})


class TestRotation:
    def test_angles_are_uniform_to_both_sides(self) -> None:
        # pixels that say where they were: bilinear interpolation is exact on them
        place = torch.arange(41.0) - 20
        images = torch.stack([place.expand(41, 41), place[:, None].expand(41, 41), torch.zeros(41, 41)])
        turned = placed([a_hook("rotation", {"degrees": 60})], a_batch(images.expand(600, -1, -1, -1)))
        x, y = turned[:, 0, 20, 30], turned[:, 1, 20, 30]
        degrees = torch.rad2deg(torch.atan2(y, x)).double().numpy()
        assert degrees == pytest.approx(60 * (2 * DRAWS.uniform("rotation", np.arange(600))[:, 0] - 1), abs=1e-2)
        assert stats.kstest(degrees, stats.uniform(-60, 120).cdf).pvalue > 1e-3

    @pytest.mark.parametrize("degrees", [0, -5, 181])
    def test_other_angles_are_refused(self, degrees: float) -> None:
        with pytest.raises(Problem, match="expected"):
            catalog.parse_named("refinements", {"rotation": {"degrees": degrees}})


class TestAffine:
    def test_each_part_is_drawn_from_its_range(self) -> None:
        settings = {"degrees": 30, "translate": [0.25, 0.5], "scale": [0.5, 2.0], "shear": [20, 10]}
        option = catalog.parse_named("refinements", {"affine": settings})["affine"]
        assert isinstance(option, Affine)
        numbers = DRAWS.uniform("affine", np.arange(4000), 6)
        matrices = option.matrices(numbers, 20, 40)
        for i in range(0, 4000, 500):
            row = numbers[i]
            expected = inverse_affine(
                np.array([30 * (2 * row[0] - 1)]),
                translate=np.array([[round(10 * (2 * row[1] - 1)), round(10 * (2 * row[2] - 1))]]),
                scale=np.array([0.5 + 1.5 * row[3]]),
                shear=np.array([[20 * (2 * row[4] - 1), 10 * (2 * row[5] - 1)]]),
            )
            assert np.allclose(matrices[i], expected[0])
        # shears and rotations keep areas
        scale = np.linalg.det(matrices[:, :, :2]) ** -0.5
        assert stats.kstest(scale, stats.uniform(0.5, 1.5).cdf).pvalue > 1e-3

    def test_fine_patterns_fade_where_it_shrinks(self) -> None:
        board = ((torch.arange(32)[:, None] + torch.arange(32)) % 2 * 255.0).expand(8, 3, 32, 32)
        shown = placed([a_hook("affine", {"degrees": 10, "scale": [0.5, 0.55]}, 32)], a_batch(board))[..., 12:20, 12:20]
        same = placed([a_hook("affine", {"degrees": 10, "scale": [1.0, 1.05]}, 32)], a_batch(board))[..., 12:20, 12:20]
        assert float(shown.std()) < 0.3 * float(same.std())
        assert float(shown.mean()) == pytest.approx(127.5, abs=3)

    def test_shifts_are_whole_pixels_of_each_axis(self) -> None:
        option = Affine(translate=(0.25, 0.5))
        numbers = DRAWS.uniform("affine", np.arange(2000), 6)
        shifts = -option.matrices(numbers, 8, 20)[:, :, 2]
        assert np.allclose(shifts, np.rint(shifts))
        assert sorted(set(np.rint(shifts[:, 0]))) == list(range(-5, 6))
        assert sorted(set(np.rint(shifts[:, 1]))) == list(range(-4, 5))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({}, "nothing is changed; expected at least one of degrees, translate, scale, shear"),
            ({"degrees": 0, "scale": [1.0, 1.0]}, "nothing is changed"),
            ({"scale": [1.2, 0.8]}, r"got scale \[1.2, 0.8\], expected the smaller one first"),
            ({"shear": [90, 0]}, "less than 90"),
            ({"shear": [0, 89]}, "bring up to 57.3 pixels into one along a line, expected at most 16"),
            ({"shear": [60, 60], "scale": [0.2, 1.0]}, "bring up to 2[0-9.]* pixels into one"),
            ({"scale": [0.01, 1.0]}, "bring up to 100 pixels into one"),
            ({"translate": [0.1]}, "expected a list of 2 items"),
        ],
    )
    def test_settings_that_make_no_sense_are_refused(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(Problem, match=message):
            catalog.parse_named("refinements", {"affine": settings})
