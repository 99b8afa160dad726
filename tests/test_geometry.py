"""Maps of images one at a time: whole pixels, resized boxes, affine maps, against loops or torchvision's functions."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from batches import FILL, MEAN, smooth_images, some_images
from numpy.typing import NDArray
from torch.nn import functional
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as theirs

from experiments.refinements._maps import inverse_affine, rotations
from experiments.refinements.random_resized_crop import crop_boxes
from trainer.draws import Draws
from trainer.geometry import Frame, Size, composed, shrinkage
from trainer.resample import ROUNDING, interpolation, places, resample

BILINEAR = InterpolationMode.BILINEAR
NO_FILL = torch.zeros(3)
HEIGHTS_AND_WIDTHS = [(7, 7), (6, 9), (10, 5)]


def levels(count: int, height: int, width: int) -> torch.Tensor:
    """Stored images: uint8 [count, 3, height, width], every pixel of its own."""
    return some_images(count, max(height, width))[..., :height, :width].to(torch.uint8)


def flipped(images: torch.Tensor, chosen: list[bool], vertical: bool = False) -> torch.Tensor:
    return resample(images, Frame.of(images).flip(np.array(chosen), vertical=vertical), FILL)


def warped(
    images: torch.Tensor, inverse: NDArray[np.float64], fill: torch.Tensor = FILL, antialias: bool = False
) -> torch.Tensor:
    return resample(images, Frame.of(images).affine(inverse), fill, antialias=antialias)


class TestWholePixels:
    @pytest.mark.parametrize(("height", "width"), HEIGHTS_AND_WIDTHS)
    @pytest.mark.parametrize("vertical", [False, True])
    def test_the_chosen_ones_are_mirrored(self, vertical: bool, height: int, width: int) -> None:
        images, chosen = levels(3, height, width), [True, False, True]
        mirrored = flipped(images, chosen, vertical)
        for i, y, x in product(range(3), range(height), range(width)):
            from_y = height - 1 - y if chosen[i] and vertical else y
            from_x = width - 1 - x if chosen[i] and not vertical else x
            assert torch.equal(mirrored[i, :, y, x], images[i, :, from_y, from_x].float())

    @pytest.mark.parametrize(("height", "width"), HEIGHTS_AND_WIDTHS)
    @pytest.mark.parametrize("padding", [0, 3])
    def test_a_crop_is_cut_from_the_image_padded_with_the_fill(self, padding: int, height: int, width: int) -> None:
        images, size = levels(4, height, width), (5, 4)
        top = np.array([0, height + 2 * padding - 5, 1, 0])
        left = np.array([width + 2 * padding - 4, 0, 1, 0])
        cut = resample(images, Frame.of(images).crop(top, left, size, padding=padding), FILL)
        for i, image in enumerate(images.numpy().astype(np.float32)):
            padded = np.stack([np.pad(channel, padding, constant_values=MEAN[c]) for c, channel in enumerate(image)])
            assert np.array_equal(cut[i].numpy(), padded[:, top[i] : top[i] + 5, left[i] : left[i] + 4])

    @pytest.mark.parametrize("crop_first", [True, False])
    def test_crop_and_flip_are_torchvisions_bit_for_bit(self, crop_first: bool) -> None:
        images = levels(1, 8, 8)
        frame, expected, corner = Frame.of(images), images.float(), np.array([1])
        if crop_first:
            frame = frame.crop(corner, corner + 4, (8, 8), padding=3).flip(np.array([True]))
            expected = theirs.horizontal_flip(theirs.crop(theirs.pad(expected, [3], fill=list(MEAN)), 1, 5, 8, 8))
        else:
            frame = frame.flip(np.array([True])).crop(corner, corner + 4, (8, 8), padding=3)
            expected = theirs.crop(theirs.pad(theirs.horizontal_flip(expected), [3], fill=list(MEAN)), 1, 5, 8, 8)
        assert len(frame.stages) == 1
        assert torch.equal(resample(images, frame, FILL), expected)

    def test_every_pixel_is_as_likely_where_every_place_is(self) -> None:
        images = torch.arange(25, dtype=torch.uint8).view(1, 1, 5, 5).expand(81, 3, 5, 5)
        corner = np.arange(81)
        cut = resample(images, Frame.of(images).crop(corner // 9, corner % 9, (5, 5), padding=4), -torch.ones(3))
        assert torch.bincount(cut[:, 0][cut[:, 0] >= 0].long()).tolist() == [25] * 25

    def test_what_a_crop_cut_off_does_not_come_back(self) -> None:
        images, corner = levels(1, 9, 9), np.array([2])
        frame = Frame.of(images).crop(corner, corner, (5, 5)).crop(corner - 2, corner, (7, 7), padding=2)
        shown = resample(images, frame, FILL)
        expected = FILL.view(3, 1, 1).repeat(1, 1, 7, 7)
        expected[:, :, 2:, :5] = images[:, :, 2:7, 2:7]
        assert torch.equal(shown, expected)

    @pytest.mark.parametrize("size", [(4, 4), (5, 4), (3, 9), (9, 3), (10, 11)])
    def test_the_centre_is_cut_or_padded_as_torchvisions(self, size: Size) -> None:
        images = levels(2, 7, 6)
        found = resample(images, Frame.of(images).centre(size), NO_FILL)
        margin = [size[0] - 7, size[1] - 6]
        expected = images.float()
        for axis, more in zip((-2, -1), margin, strict=True):
            # one pixel too many is cut or added behind
            before = -(-more // 2) if more < 0 else (more + 1) // 2
            pads = [before, more - before]
            expected = functional.pad(expected, [*pads, 0, 0] if axis == -1 else [0, 0, *pads])
        assert torch.equal(found, expected)

    def test_images_that_stay_as_they_are_are_not_copied(self) -> None:
        images = some_images(2)
        assert resample(images, Frame.of(images).centre((12, 12)), FILL) is images
        whole = images.to(torch.uint8)
        assert torch.equal(resample(whole, Frame.of(whole), FILL), whole.float())


def boxed(images: torch.Tensor, boxes: NDArray[np.int64], size: Size) -> torch.Tensor:
    return resample(images, Frame.of(images).box(boxes, size), FILL)


class TestResizedBoxes:
    @pytest.mark.parametrize(("height", "width"), [(64, 64), (72, 72), (50, 70)])
    @pytest.mark.parametrize("size", [(64, 64), (32, 48)])
    def test_pixels_are_torchvisions_antialiased_bilinear_ones(self, size: Size, height: int, width: int) -> None:
        boxes = crop_boxes(Draws(5).uniform("boxes", np.arange(30), 22), height, width, (0.01, 1.0), (0.3, 3.0))
        # the whole image, a single pixel, a corner
        boxes[:3] = [[0, 0, height, width], [5, 7, 1, 1], [height - 9, width - 6, 9, 6]]
        images = levels(30, height, width)
        found = boxed(images, boxes, size)
        for i, (top, left, h, w) in enumerate(boxes.tolist()):
            image = images[i].float()
            expected = theirs.resized_crop(image, top, left, h, w, list(size), BILINEAR, antialias=True)
            assert torch.allclose(found[i], expected, atol=1e-3), boxes[i]

    @pytest.mark.parametrize("length", [47, 31, 16, 7, 1])
    @pytest.mark.parametrize("flip_first", [False, True])
    def test_with_a_flip_they_are_torchvisions_in_sequence(self, flip_first: bool, length: int) -> None:
        images, box, yes = levels(2, 50, 50), np.array([[1, 2, length, length + 1]] * 2), np.ones(2, dtype=bool)
        frame = Frame.of(images)
        frame = frame.flip(yes).box(box, (16, 16)) if flip_first else frame.box(box, (16, 16)).flip(yes)
        source = theirs.horizontal_flip(images.float()) if flip_first else images.float()
        expected = theirs.resized_crop(source, 1, 2, length, length + 1, [16, 16], BILINEAR, antialias=True)
        assert len(frame.stages) == 1
        expected = expected if flip_first else theirs.horizontal_flip(expected)
        assert torch.allclose(resample(images, frame, FILL), expected, atol=1e-3)

    def test_of_a_padded_crop_what_is_outside_is_the_fill(self) -> None:
        images, corner, box = levels(1, 20, 20), np.array([1]), np.array([[0, 3, 9, 14]])
        frame = Frame.of(images).crop(corner, corner, (20, 20), padding=6).box(box, (10, 10))
        padded = theirs.crop(theirs.pad(images.float(), [6], fill=list(MEAN)), 1, 1, 20, 20)
        expected = theirs.resized_crop(padded, 0, 3, 9, 14, [10, 10], BILINEAR, antialias=True)
        assert torch.allclose(resample(images, frame, FILL), expected, atol=1e-3)
        assert torch.equal(resample(images, frame, FILL)[0, :, 0, 0], FILL)

    def test_a_resized_box_is_cropped_by_whole_pixels(self) -> None:
        images, box, corner = levels(1, 20, 20), np.array([[2, 3, 15, 9]]), np.array([5])
        whole = boxed(images, box, (12, 12))
        frame = Frame.of(images).box(box, (12, 12))
        assert torch.allclose(resample(images, frame.centre((8, 6)), FILL), whole[..., 2:10, 3:9], atol=1e-3)
        cut = resample(images, frame.crop(corner, corner, (12, 12), padding=4), FILL)
        assert torch.allclose(cut[..., :11, :11], whole[..., 1:, 1:], atol=1e-3)
        assert (cut[..., 11, :] == FILL.view(3, 1)).all()

    def test_the_weights_of_an_output_pixel_add_up_to_one_inside_the_box(self) -> None:
        images = levels(3, 20, 20)
        frame = Frame.of(images).box(np.array([[0, 0, 20, 1], [3, 3, 2, 1], [10, 10, 10, 1]]), (8, 8))
        weights = interpolation(frame.stages[0], 1, images.device)
        assert weights.shape == (3, 8, 20)
        assert torch.allclose(weights.sum(-1), torch.ones(3, 8))
        assert (weights >= 0).all()
        assert not weights[1, :, :3].any()
        assert not weights[1, :, 5:].any()
        assert not weights[2, :, :10].any()


AFFINE = [
    # degrees, translate, scale, shear
    (0.0, (0.0, 0.0), 1.0, (0.0, 0.0)),
    (30.0, (0.0, 0.0), 1.0, (0.0, 0.0)),
    (0.0, (3.0, -2.0), 1.0, (0.0, 0.0)),
    (0.0, (0.0, 0.0), 0.7, (0.0, 0.0)),
    (0.0, (0.0, 0.0), 1.0, (20.0, 0.0)),
    (0.0, (0.0, 0.0), 1.0, (0.0, -15.0)),
    (-75.0, (-4.0, 5.0), 1.3, (12.0, 25.0)),
]


def affine_one_by_one(images: torch.Tensor) -> torch.Tensor:
    """AFFINE by torchvision, outside of the images 0."""
    return torch.cat(
        [
            theirs.affine(image[None], degrees, [round(x) for x in shift], scale, list(shear), interpolation=BILINEAR)
            for image, (degrees, shift, scale, shear) in zip(images, AFFINE, strict=True)
        ]
    )


def our_affine() -> NDArray[np.float64]:
    degrees, shift, scale, shear = (np.array(column) for column in zip(*AFFINE, strict=True))
    return inverse_affine(degrees, translate=shift, scale=scale, shear=shear)


class TestAffineMaps:
    @pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 17), (18, 11)])
    def test_they_are_torchvisions(self, height: int, width: int) -> None:
        images = smooth_images(len(AFFINE), 18)[..., :height, :width]
        assert torch.allclose(warped(images, our_affine(), NO_FILL), affine_one_by_one(images), atol=5e-3)

    def test_those_that_do_not_shrink_are_torchvisions_with_antialiasing_too(self) -> None:
        images = smooth_images(len(AFFINE), 16)
        same = shrinkage(our_affine()) < 1 + ROUNDING
        found = warped(images, our_affine(), NO_FILL, antialias=True)
        assert torch.allclose(found[same], affine_one_by_one(images)[same], atol=5e-3)
        assert same.tolist() == [True, True, True, False, False, False, False]

    def test_edges_blend_with_the_fill_and_what_is_wholly_outside_is_exactly_it(self) -> None:
        images = smooth_images(len(AFFINE), 16)
        inside = affine_one_by_one(torch.ones_like(images))
        expected = affine_one_by_one(images) + (1 - inside) * FILL.view(-1, 1, 1)
        found = warped(images, our_affine())
        assert torch.allclose(found, expected, atol=5e-3)
        assert (found == FILL.view(-1, 1, 1))[inside == 0].all()
        assert int((inside == 0).sum()) > 900

    @pytest.mark.parametrize("degrees", [-170.0, -33.0, 10.0, 90.0])
    def test_rotations_are_torchvisions_and_counter_clockwise(self, degrees: float) -> None:
        images = smooth_images(2, 15)
        found = warped(images, rotations(np.full(2, degrees)), NO_FILL, antialias=True)
        assert torch.allclose(found, theirs.rotate(images, degrees, interpolation=BILINEAR), atol=5e-3)
        if degrees == 90:
            assert torch.allclose(found, images.rot90(1, (2, 3)), atol=5e-3)

    def test_a_map_about_another_centre_leaves_it_where_it_is(self) -> None:
        centre = (-3.0, 5.0)
        matrix = inverse_affine(np.array([40.0]), scale=np.array([0.5]), shear=np.array([[10.0, 0.0]]), centre=centre)
        assert matrix[0] @ [*centre, 1] == pytest.approx(centre)

    def test_whole_pixels_are_moved_as_they_are(self) -> None:
        images = some_images(1, side=10)
        moved = warped(images, inverse_affine(np.zeros(1), translate=np.array([[3.0, -2.0]])))
        assert torch.allclose(moved[..., :8, 3:], images[..., 2:, :7], atol=5e-3)

    def test_maps_follow_each_other(self) -> None:
        outer, inner = our_affine(), our_affine()[::-1]
        for i, point in product(range(len(outer)), ([0.0, 0.0], [3.0, -8.0])):
            expected = outer[i] @ [*(inner[i] @ [*point, 1]), 1]
            assert composed(outer, inner)[i] @ [*point, 1] == pytest.approx(expected)


def halved(images: torch.Tensor, scale: float = 0.5, degrees: float = 0.0) -> torch.Tensor:
    inverse = inverse_affine(np.full(len(images), degrees), scale=scale)
    return warped(images, inverse, antialias=True)


class TestShrinking:
    def test_shrinkage_is_the_largest_singular_value(self) -> None:
        expected = np.linalg.svd(our_affine()[:, :, :2])[1][:, 0]
        assert shrinkage(our_affine()) == pytest.approx(expected)

    def test_places_are_as_many_as_needed_and_come_together_where_nothing_shrinks(self) -> None:
        side, distance = places(np.array([0.3, 1.0, 1 + 1e-7, 1.001, 2.0, 2 + 1e-9, 2.5, 3.0]))
        assert side.tolist() == [1, 1, 1, 2, 2, 2, 3, 3]
        assert distance[[4, 5, 7]] == pytest.approx([1 / 2, 1 / 2, 1 / 3])
        assert (distance[:3] == 0).all()
        assert 0 < distance[3] < 0.03

    def test_at_half_the_size_each_pixel_is_the_mean_of_four(self) -> None:
        images = some_images(3, side=16)
        expected = functional.avg_pool2d(images, 2)
        assert torch.allclose(halved(images)[..., 4:12, 4:12], expected, atol=1e-2)

    @pytest.mark.parametrize("degrees", [0.0, 20.0])
    def test_a_fine_pattern_becomes_grey_where_torchvision_skips_pixels(self, degrees: float) -> None:
        board = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 255.0
        images = board.expand(1, 3, 32, 32)
        middle = halved(images, 0.45, degrees)[..., 11:21, 11:21]
        aliased = theirs.affine(images, -degrees, [0, 0], 0.45, [0.0, 0.0], interpolation=BILINEAR)[..., 11:21, 11:21]
        assert float(middle.std()) < 0.35 * float(aliased.std())
        assert float((middle - 127.5).abs().max()) < 45
        assert float((halved(images)[..., 11:21, 11:21] - 127.5).abs().max()) < 0.1

    @pytest.mark.parametrize("scale", [0.95, 0.7, 0.5, 0.35])
    def test_smooth_images_stay_near_torchvisions(self, scale: float) -> None:
        images = smooth_images(3, 48)
        found = halved(images, scale)
        expected = theirs.affine(images, 0.0, [0, 0], scale, [0.0, 0.0], interpolation=BILINEAR)
        inside = slice(24 - int(20 * scale), 24 + int(20 * scale))
        difference = (found - expected)[..., inside, inside].abs()
        assert float(difference.mean()) < 1
        assert float(difference.max()) < 10

    def test_a_trace_of_shrinking_changes_a_trace(self) -> None:
        images = some_images(2, side=16)
        assert torch.allclose(halved(images, 0.9999, 10.0), halved(images, 1.0, 10.0), atol=1.0)
