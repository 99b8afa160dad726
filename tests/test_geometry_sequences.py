"""Maps of images one after the other: what a sequence of torchvision's functions gives, of one interpolation."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from batches import DRAWS, FILL, MEAN, a_batch, a_hook, placed, smooth_images, some_images, subset
from torch.nn import functional
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as theirs

from experiments.refinements._maps import inverse_affine, rotations
from trainer.geometry import Frame
from trainer.resample import resample

BILINEAR = InterpolationMode.BILINEAR
COLOUR = list(MEAN)
ALL = np.ones(2, dtype=bool)


def turned(images: torch.Tensor, degrees: float) -> torch.Tensor:
    """By torchvision: around the images, 0."""
    return theirs.rotate(images, degrees, interpolation=BILINEAR)


def around(images: torch.Tensor, degrees: float) -> torch.Tensor:
    """By torchvision, blending into the fill."""
    fill = FILL.view(3, 1, 1)
    return turned(images - fill, degrees) + fill


def at(degrees: float, count: int = 2) -> np.ndarray:
    return rotations(np.full(count, degrees))


class TestOneInterpolation:
    def test_a_turn_and_its_inverse_give_back_the_image(self) -> None:
        images = some_images(2, side=32)
        middle = (..., slice(10, 22), slice(10, 22))
        back = resample(images, Frame.of(images).affine(at(30)).affine(at(-30)), FILL)
        assert torch.allclose(back[middle], images[middle], atol=2e-2)
        twice = turned(turned(images, 30), -30)
        assert float((twice - images)[middle].abs().mean()) > 10

    def test_turns_add_up(self) -> None:
        images = some_images(2, side=32)
        middle = (..., slice(10, 22), slice(10, 22))
        in_two = resample(images, Frame.of(images).affine(at(11)).affine(at(24)), FILL)
        in_one = resample(images, Frame.of(images).affine(at(35)), FILL)
        assert torch.allclose(in_two[middle], in_one[middle], atol=2e-2)

    def test_a_resized_crop_and_a_turn_are_one_map(self) -> None:
        images = some_images(2, side=32)
        middle = (..., slice(8, 24), slice(8, 24))
        in_two = resample(images, Frame.of(images).box(np.array([[8, 8, 16, 16]] * 2), (32, 32)).affine(at(25)), FILL)
        in_one = resample(images, Frame.of(images).affine(inverse_affine(np.full(2, -25.0), scale=2.0)), FILL)
        assert torch.allclose(in_two[middle], in_one[middle], atol=2e-2)

    @pytest.mark.parametrize(("between", "apart"), [(32, 1e-3), (8, 6.0), (1, 25.0)])
    def test_a_box_of_a_box(self, between: int, apart: float) -> None:
        """Of one that shrinks and one that enlarges, nothing is lost in between: that is what they differ in."""
        images = smooth_images(2, side=32)
        first, second = np.array([[4, 6, 20, 24]] * 2), np.array([[0, 0, between, between]] * 2)
        found = resample(images, Frame.of(images).box(first, (between, between)).box(second, (32, 32)), FILL)
        again = resample(images, Frame.of(images).box(first, (between, between)).box(second, (32, 32)), FILL)
        assert torch.equal(found, again)
        assert found.isfinite().all()
        small = theirs.resize(images[..., 4:24, 6:30], [between, between], antialias=True)
        expected = theirs.resize(small, [32, 32], antialias=True)
        assert float((found - expected).abs().mean()) < apart

    def test_maps_shrink_together(self) -> None:
        images = some_images(2, side=32)
        middle = (..., slice(12, 20), slice(12, 20))
        half, double = (inverse_affine(np.zeros(2), scale=scale) for scale in (0.5, 2.0))
        frame = Frame.of(images)
        small = resample(images, frame.affine(at(0)).affine(half), FILL)
        assert torch.allclose(small[middle], functional.avg_pool2d(images, 2)[..., 4:12, 4:12], atol=2e-2)
        same = resample(images, frame.affine(half).affine(double), FILL)
        assert torch.allclose(same[middle], images[middle], atol=2e-2)

    @pytest.mark.parametrize("mirrored", [True, False])
    def test_what_stays_inside_is_one_stage(self, mirrored: bool) -> None:
        frame = Frame((20, 20), 2)
        frame = frame.flip(ALL) if mirrored else frame
        for started, stages in (
            (frame.affine(at(10)), 1),
            (frame.box(np.array([[1, 1, 9, 9]] * 2), (20, 20)), 1),
            (frame.crop(ALL * 3, ALL * 2, (20, 20), padding=4), 1),
            (frame.crop(ALL * 3, ALL * 2, (16, 16)).affine(at(10)), 2),
            (frame.box(np.array([[1, 1, 9, 9]] * 2), (20, 20)).affine(at(10)), 2),
        ):
            for more in (started, started.flip(ALL), started.flip(ALL, vertical=True).centre((11, 11))):
                assert len(more.stages) == stages


class TestSequences:
    @pytest.mark.parametrize("degrees", [0.0, 5.0, -33.0, 90.0])
    @pytest.mark.parametrize("corner", [0, 3, 4, 6, 8])
    def test_a_padded_crop_and_a_flip_then_a_rotation(self, corner: int, degrees: float) -> None:
        images, corners = some_images(2, side=16), np.full(2, corner)
        frame = Frame.of(images).crop(corners, corners // 2, (16, 16), padding=4).flip(ALL).affine(at(degrees))
        cut = theirs.crop(theirs.pad(images, [4], fill=COLOUR), corner, corner // 2, 16, 16)
        expected = around(theirs.horizontal_flip(cut), degrees)
        assert torch.allclose(resample(images, frame, FILL), expected, atol=2e-2)

    @pytest.mark.parametrize("degrees", [0.0, 5.0, -33.0])
    @pytest.mark.parametrize("shift", [(0, 0), (3, 0), (-5, 2)])
    def test_a_shift_then_a_rotation(self, shift: tuple[int, int], degrees: float) -> None:
        images = some_images(2, side=16)
        frame = (
            Frame.of(images).affine(inverse_affine(np.zeros(2), translate=np.array([shift] * 2))).affine(at(degrees))
        )
        moved = theirs.affine(images, 0.0, list(shift), 1.0, [0.0, 0.0], interpolation=BILINEAR, fill=COLOUR)
        assert torch.allclose(resample(images, frame, FILL), around(moved, degrees), atol=2e-2)

    def test_a_rotation_then_the_centre(self) -> None:
        images = some_images(2, side=17)
        found = resample(images, Frame.of(images).affine(at(20)).centre((10, 13)), FILL)
        # torchvision's center_crop rounds an odd margin up
        assert torch.allclose(found, around(images, 20)[..., 3:13, 2:15], atol=1e-2)

    def test_an_affine_map_then_a_rotation(self) -> None:
        images = smooth_images(2, side=48)
        inverse = inverse_affine(np.full(2, 20.0), translate=np.array([[5.0, -3.0]] * 2), scale=1.2)
        found = resample(images, Frame.of(images).affine(inverse).affine(at(-35)), FILL)
        moved = theirs.affine(images, 20.0, [5, -3], 1.2, [0.0, 0.0], interpolation=BILINEAR)
        inside = theirs.affine(torch.ones_like(images), 20.0, [5, -3], 1.2, [0.0, 0.0], interpolation=BILINEAR)
        expected = around(moved + (1 - inside) * FILL.view(3, 1, 1), -35)
        difference = (found - expected).abs()
        assert float(difference.mean()) < 1
        # the jagged edge of an image that was interpolated is interpolated again in theirs
        assert float(difference.max()) < 60

    @pytest.mark.parametrize("box", [(0, 0, 48, 48), (5, 9, 30, 20), (20, 3, 28, 45), (0, 33, 11, 15)])
    @pytest.mark.parametrize("degrees", [0.0, 4.0, -33.0, 180.0])
    def test_a_resized_crop_and_a_flip_then_a_rotation(self, degrees: float, box: tuple[int, int, int, int]) -> None:
        images = smooth_images(2, side=48)
        frame = Frame.of(images).box(np.array([box] * 2), (48, 48)).flip(ALL).affine(at(degrees))
        found = resample(images, frame, FILL)
        resized = theirs.resized_crop(images, *box, [48, 48], BILINEAR, antialias=True)
        expected = around(theirs.horizontal_flip(resized), degrees)
        assert float((found - expected).abs().max()) < 2.5
        inside = turned(torch.ones_like(images), degrees)
        assert (found == FILL.view(3, 1, 1))[inside == 0].all()
        assert degrees in (0, 180) or int((inside == 0).sum()) > 100

    def test_a_rotation_then_a_resized_crop(self) -> None:
        images, box = smooth_images(2, side=48), (4, 6, 30, 36)
        found = resample(images, Frame.of(images).affine(at(15)).box(np.array([box] * 2), (48, 48)), FILL)
        expected = theirs.resized_crop(around(images, 15), *box, [48, 48], BILINEAR, antialias=True)
        assert float((found - expected).abs().mean()) < 1


class TestWhatIsOutside:
    def test_a_rotation_fills_what_the_crop_before_it_cut_off(self) -> None:
        images = torch.full((2, 3, 40, 40), 255, dtype=torch.uint8)
        corners = np.array([5, 11])
        for frame in (
            Frame.of(images).crop(corners, corners, (24, 24)),
            Frame.of(images).box(np.array([[5, 5, 20, 20], [11, 9, 17, 13]]), (24, 24)),
            Frame.of(images).affine(at(0)).centre((24, 24)).crop(corners // 11, corners // 11, (24, 24), padding=1),
        ):
            shown = resample(images, frame.affine(at(45)), FILL)
            assert (shown[..., [0, 0, -1, -1], [0, -1, 0, -1]] == FILL.view(3, 1)).all()
            assert torch.allclose(shown[..., 8:16, 8:16], torch.tensor(255.0), atol=1e-3)

    def test_an_edge_blends_once_with_the_fill(self) -> None:
        images = torch.full((2, 3, 20, 20), 255.0)
        for frame in (
            Frame.of(images).crop(ALL * 0, ALL * 0, (20, 20)),
            Frame.of(images).box(np.array([[0, 0, 20, 20]] * 2), (20, 20)),
            Frame.of(images).affine(at(0)),
        ):
            assert torch.allclose(resample(images, frame.affine(at(17)), FILL), around(images, 17), atol=1e-2)

    def test_a_plain_image_stays_plain_wherever_it_covers(self) -> None:
        images = torch.full((300, 3, 20, 20), 200, dtype=torch.uint8)
        settings = {"affine": {"degrees": 30, "scale": [0.6, 1.4]}, "random_resized_crop": {}, "rotation": {}}
        hooks = [a_hook(kind, settings[kind], 20) for kind in ("random_resized_crop", "affine", "rotation")]
        shown = placed(hooks, a_batch(images))
        bounds = torch.stack([FILL, torch.full((3,), 200.0)]).view(2, 3, 1, 1)
        assert (shown >= bounds[0] - 1e-2).all()
        assert (shown <= bounds[1] + 1e-2).all()
        assert torch.allclose(shown[..., 9:11, 9:11], torch.tensor(200.0), atol=1e-2)

    def test_nothing_moves_on_average(self) -> None:
        place = torch.arange(24.0) - 11.5
        images = torch.stack([place.expand(24, 24), place[:, None].expand(24, 24), torch.ones(24, 24)]).expand(
            2, -1, -1, -1
        )
        frame = Frame.of(images)
        for inverse, box in ((at(25), (0, 0, 24, 24)), (inverse_affine(np.zeros(2), scale=0.6), (2, 3, 20, 18))):
            for moved in (frame.affine(inverse), frame.box(np.array([box] * 2), (24, 24)).affine(inverse)):
                shown = resample(images, moved, torch.zeros(3))
                assert torch.allclose(shown[..., 2, 6:18, 6:18], torch.tensor(1.0), atol=1e-3)
                assert torch.allclose(shown[..., :2, 6:18, 6:18].mean((-1, -2)), torch.tensor(0.0), atol=1e-3)


GEOMETRIC = {
    "affine": {"degrees": 20, "translate": [0.2, 0.1], "scale": [0.5, 1.2], "shear": [10, 5]},
    "flip": {},
    "random_crop": {},
    "random_resized_crop": {},
    "rotation": {},
    "vertical_flip": {},
}
COMBINED = [*combinations(GEOMETRIC, 2), tuple(GEOMETRIC)]


@pytest.mark.parametrize("kinds", COMBINED, ids=["+".join(kinds) for kinds in COMBINED])
class TestCombinations:
    """In the order of their kinds, which is not always the loop's: any is to work."""

    @pytest.mark.parametrize("chosen", [[13, 2, 8], [5], list(range(30))[::-1]])
    @pytest.mark.parametrize("side", [12, 17])
    def test_an_image_does_not_depend_on_its_batch(self, kinds: tuple[str, ...], side: int, chosen: list[int]) -> None:
        hooks = [a_hook(kind, GEOMETRIC[kind]) for kind in kinds]
        # as they are stored
        images = some_images(30, side=side).to(torch.uint8).contiguous(memory_format=torch.channels_last)
        batch = a_batch(images)
        whole, part = placed(hooks, batch, side=12), placed(hooks, subset(batch, chosen), side=12)
        assert whole.shape == (30, 3, 12, 12)
        assert torch.equal(part, whole[chosen]), "bit for bit"

    def test_images_of_one_batch_are_placed_differently(self, kinds: tuple[str, ...]) -> None:
        hooks = [a_hook(kind, GEOMETRIC[kind]) for kind in kinds]
        shown = placed(hooks, a_batch(some_images(1, side=15).expand(40, -1, -1, -1)), side=12)
        different = len({image.numpy().tobytes() for image in shown})
        assert different == 4 if kinds == ("flip", "vertical_flip") else different > 12

    def test_it_is_their_sequence_on_what_nobody_can_see_the_pixels_of(self, kinds: tuple[str, ...]) -> None:
        """Of images that change slowly, interpolating once and twice differ little."""
        hooks = [a_hook(kind, GEOMETRIC[kind], 48) for kind in kinds]
        images = smooth_images(30, side=48)
        one_by_one = a_batch(images)
        for hook in hooks:
            one_by_one = a_batch(placed([hook], one_by_one))
        difference = (placed(hooks, a_batch(images)) - one_by_one.images).abs()
        assert float(difference.mean()) < 1.5


def test_draws_are_by_sample() -> None:
    hooks = [a_hook(kind, GEOMETRIC[kind]) for kind in GEOMETRIC]
    images = some_images(1, side=15).expand(6, -1, -1, -1)
    later = placed(hooks, a_batch(images, first_sample=3), DRAWS, side=12)
    assert torch.equal(placed(hooks, a_batch(images), DRAWS, side=12)[3:], later[:3])
