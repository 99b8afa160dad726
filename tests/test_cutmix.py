"""CutMix against its paper, timm and what one can count in the pixels: labels are the areas, boxes are as drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from batches import DRAWS, a_recipe, a_setup, subset
from click.testing import CliRunner
from conftest import TINY
from scipy import stats
from torch.nn import functional

from experiments.language.validation import Problem
from experiments.losses.cross_entropy import CrossEntropy
from experiments.recipe import parse_recipe
from experiments.refinements._pairs import partners
from experiments.refinements.cutmix import Cutmix, cut_boxes, cutmix
from experiments.refinements.mixup import Mixup
from orchestrator.cli import main
from trainer.draws import Draws
from trainer.hooks import Batch

MANY = np.arange(20_000)


def flat(size: int, height: int = 10, width: int = 14) -> Batch:
    """Image i is of class i, and its channels are constant: the share of its pixels can be counted anywhere."""
    images = torch.eye(size).view(size, size, 1, 1).expand(size, size, height, width).contiguous()
    return Batch(images, torch.arange(size), np.arange(size))


def cut(batch: Batch, draws: Draws = DRAWS, alpha: float = 1.0, p: float = 1.0, classes: int = 16) -> Batch:
    return Cutmix(alpha=alpha, p=p).build(a_setup(num_classes=classes)).mix(batch, draws)


class TestFunction:
    def test_it_is_equation_1_pixel_by_pixel(self) -> None:
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(4, 3, 5, 7, generator=generator)
        probabilities = torch.rand(4, 6, generator=generator)
        partner = torch.tensor([2, 0, 3, 1])
        boxes = torch.tensor([[1, 2, 4, 6], [0, 0, 5, 7], [3, 3, 3, 5], [0, 6, 2, 7]])
        found, targets = cutmix(images, probabilities, partner, boxes)
        for i, (top, left, bottom, right) in enumerate(boxes.tolist()):
            expected = images[i].clone()
            expected[:, top:bottom, left:right] = images[partner[i], :, top:bottom, left:right]
            assert torch.equal(found[i], expected)
            stayed = 1 - (bottom - top) * (right - left) / 35
            mixed = stayed * probabilities[i] + (1 - stayed) * probabilities[partner[i]]
            assert torch.allclose(targets[i], mixed, atol=1e-6)

    @pytest.mark.parametrize("ratio", [0.0, 0.2, 0.5, 0.99])
    def test_it_equals_timm_without_its_smoothing(self, ratio: float, monkeypatch: pytest.MonkeyPatch) -> None:
        from timm.data import Mixup as TimmMixup

        batch = flat(6, height=12, width=12)
        theirs = TimmMixup(mixup_alpha=0.0, cutmix_alpha=1.0, label_smoothing=0.0, num_classes=6)
        monkeypatch.setattr(np.random, "beta", lambda *_: ratio)
        monkeypatch.setattr(np.random, "randint", lambda low, high, size=None: 3)
        expected_images, expected_targets = theirs(batch.images.clone(), batch.targets)
        side = int(12 * np.sqrt(1 - ratio))
        top, bottom = max(3 - side // 2, 0), min(3 - side // 2 + side, 12)
        images, targets = cutmix(
            batch.images,
            functional.one_hot(batch.targets, 6).float(),
            torch.arange(6).flip(0),
            torch.tensor([[top, top, bottom, bottom]] * 6),
        )
        assert torch.equal(images, expected_images)
        assert torch.allclose(targets, expected_targets, atol=1e-6)

    def test_bfloat16_stays_bfloat16_and_is_only_copied(self) -> None:
        images = torch.randn(2, 3, 4, 4).bfloat16()
        found, targets = cutmix(images, torch.eye(2), torch.tensor([1, 0]), torch.tensor([[0, 0, 2, 2], [0, 0, 0, 0]]))
        assert found.dtype == torch.bfloat16
        assert torch.equal(found[0, :, :2, :2], images[1, :, :2, :2])
        assert torch.equal(found[1], images[1])
        assert targets.tolist() == [[0.75, 0.25], [0.0, 1.0]]

    def test_the_memory_format_stays(self) -> None:
        images = torch.randn(4, 3, 6, 6).contiguous(memory_format=torch.channels_last)
        found = cut(Batch(images, torch.arange(4), np.arange(4)))
        assert found.images.is_contiguous(memory_format=torch.channels_last)


class TestBoxes:
    @pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
    def test_away_from_the_border_the_sides_are_those_of_equation_2(self, alpha: float) -> None:
        size = 4000
        boxes = cut_boxes(DRAWS, MANY, alpha, 1.0, size, size)
        whole = ((boxes > 0) & (boxes < size)).all(1)
        assert whole.sum() > 1000
        sides = boxes[whole, 2:] - boxes[whole, :2]
        assert np.array_equal(sides[:, 0], sides[:, 1])
        weight = stats.beta(alpha, alpha).ppf(DRAWS.uniform("cutmix weight", MANY)[whole, 0])
        assert np.allclose(sides[:, 0] / size, np.sqrt(1 - weight), atol=1.01 / size)

    def test_centres_are_uniform_over_the_pixels(self) -> None:
        size = 12
        boxes = cut_boxes(DRAWS, MANY, 1.0, 1.0, size, size)
        of_a_pixel = boxes[(np.sqrt(1 - DRAWS.uniform("cutmix weight", MANY)[:, 0]) * size).astype(np.int64) == 1]
        assert len(of_a_pixel) > 300, "they stand at their centre"
        for axis in (0, 1):
            counts = np.bincount(of_a_pixel[:, axis], minlength=size)
            assert len(counts) == size
            assert stats.chisquare(counts).pvalue > 1e-3

    def test_height_and_width_are_drawn_apart(self) -> None:
        boxes = cut_boxes(DRAWS, MANY, 1.0, 1.0, 1000, 1000)
        inside = ((boxes > 0) & (boxes < 1000)).all(1)
        top, left = boxes[inside, :2].T
        side = boxes[inside, 2] - top
        centres = np.stack([top + side / 2, left + side / 2])
        assert abs(np.corrcoef(centres)[0, 1]) < 0.05

    def test_the_border_cuts_boxes_off(self) -> None:
        boxes = cut_boxes(DRAWS, MANY, 1.0, 1.0, 9, 13)
        assert boxes.dtype == np.int64
        top, left, bottom, right = boxes.T
        assert (top >= 0).all()
        assert (left >= 0).all()
        assert (top <= bottom).all()
        assert (left <= right).all()
        assert (bottom <= 9).all()
        assert (right <= 13).all()
        part = np.sqrt(1 - DRAWS.uniform("cutmix weight", MANY)[:, 0])
        cut_off = (bottom - top) < (part * 9).astype(np.int64)
        assert 0.3 < cut_off.mean() < 0.7
        assert (((top == 0) | (bottom == 9)) | ~cut_off).all(), "nothing is cut off but at the border"
        assert (bottom[top == 0] < 9).any()
        assert (top[bottom == 9] > 0).any()

    def test_p_is_the_share_of_images_with_a_box(self) -> None:
        def some(p: float) -> float:
            boxes = cut_boxes(DRAWS, MANY, 1.0, p, 1000, 1000)
            return float((boxes[:, 2] > boxes[:, 0]).mean())

        assert some(0.5) == pytest.approx(0.5, abs=0.02)
        assert some(1.0) == pytest.approx(1.0, abs=0.001)

    def test_a_box_does_not_depend_on_its_batch(self) -> None:
        chosen = np.array([7, 3, 190])
        assert np.array_equal(
            cut_boxes(DRAWS, chosen, 1.0, 1.0, 20, 20), cut_boxes(DRAWS, MANY, 1.0, 1.0, 20, 20)[chosen]
        )


class TestHook:
    def test_the_targets_are_the_shares_of_the_pixels(self) -> None:
        for epoch in range(1, 30):
            found = cut(flat(16), Draws(0, epoch))
            assert torch.allclose(found.targets, found.images.mean((2, 3)), atol=1e-6)
            assert torch.allclose(found.targets.sum(1), torch.ones(16), atol=1e-6)
            assert found.targets.dtype == torch.float32

    def test_every_pixel_is_of_one_of_two_images(self) -> None:
        found = cut(flat(16)).images
        assert bool(((found == 0) | (found == 1)).all())
        assert torch.equal(found.sum(1), torch.ones(16, 10, 14))

    def test_no_image_meets_itself_and_each_meets_one(self) -> None:
        for size in (2, 3, 16):
            for epoch in range(1, 20):
                partner = partners(Draws(0, epoch), "cutmix partner", np.arange(size))
                assert sorted(partner) == list(range(size))
                assert (partner != np.arange(size)).all()
                pasted = cut(flat(size), Draws(0, epoch), classes=size).targets.clone().fill_diagonal_(0)
                assert bool(((pasted > 0).sum(1) <= 1).all())

    def test_images_of_a_batch_have_boxes_of_their_own(self) -> None:
        assert len(np.unique(cut_boxes(DRAWS, np.arange(16), 1.0, 1.0, 100, 100), axis=0)) == 16
        targets = cut(flat(16, height=100, width=100)).targets.diagonal()
        assert len(targets.unique()) == 16

    def test_one_image_alone_stays_as_it_is(self) -> None:
        batch = flat(5)
        alone = subset(batch, [3])
        found = cut(alone, classes=5)
        assert torch.equal(found.images, alone.images)
        assert found.targets.tolist() == [[0, 0, 0, 1, 0]]

    def test_a_batch_of_one_class_keeps_its_targets(self) -> None:
        images = torch.randn(8, 3, 6, 6)
        for option in (Cutmix(), Mixup(alpha=0.4)):
            for epoch in range(1, 30):
                batch = Batch(images, torch.full((8,), 2), np.arange(8))
                found = option.build(a_setup(num_classes=4)).mix(batch, Draws(0, epoch))
                assert torch.equal(found.targets, functional.one_hot(batch.targets, 4).float())
                assert not torch.equal(found.images, images)

    def test_what_stays_whole_keeps_its_target(self) -> None:
        found = cut(flat(16, height=100, width=100), p=0.3)
        whole = (found.images == flat(16, height=100, width=100).images).all((1, 2, 3))
        assert 0 < int(whole.sum()) < 16
        assert torch.equal(found.targets[whole], torch.eye(16)[whole])
        assert bool((found.targets[~whole].amax(1) < 1).all())

    def test_probabilities_are_mixed_as_classes_are(self) -> None:
        batch = flat(8)
        soft = Batch(batch.images, functional.one_hot(batch.targets, 8).float(), batch.samples)
        assert torch.equal(cut(batch, classes=8).targets, cut(soft, classes=8).targets)

    def test_the_batch_it_got_is_left_alone(self) -> None:
        batch = flat(8)
        cut(batch, classes=8)
        assert torch.equal(batch.images, flat(8).images)
        assert torch.equal(batch.targets, torch.arange(8))

    def test_mixup_and_cutmix_draw_apart(self) -> None:
        """Under one seed, cells with one or the other must not have the same partners and weights."""
        samples = np.arange(64)
        assert (partners(DRAWS, "cutmix partner", samples) != partners(DRAWS, "mixup partner", samples)).mean() > 0.9

    @pytest.mark.parametrize("epsilon", [0.0, 0.1])
    def test_labels_are_smoothed_after_mixing(self, epsilon: float) -> None:
        logits = torch.randn(9, 9, generator=torch.Generator().manual_seed(1))
        targets = cut(flat(9), classes=9).targets
        value = float(CrossEntropy(label_smoothing=epsilon).build(a_setup(num_classes=9))(logits, targets))
        smoothed = (1 - epsilon) * targets.double() + epsilon / 9
        assert value == pytest.approx(float(-(smoothed * logits.double().log_softmax(1)).sum(1).mean()), rel=1e-5)


class TestChecks:
    def test_with_mixup_it_is_refused_and_in_turns_it_is_not(self) -> None:
        with pytest.raises(Problem, match="cutmix and mixup at once, expected one of them") as caught:
            parse_recipe(a_recipe({"mixup": {}, "cutmix": {}}))
        assert caught.value.path == ("refinements", "cutmix")
        turns = a_recipe({"mixup": {}}) | {"phases": [{"start": 2, "refinements": {"cutmix": {}}}]}
        assert parse_recipe(turns).phases[0].refinements["cutmix"] == Cutmix()

    def test_the_phase_that_has_both_is_named(self) -> None:
        both = a_recipe({"cutmix": {}}) | {"phases": [{"start": 2, "refinements": {"cutmix": {}, "mixup": {}}}]}
        with pytest.raises(Problem) as caught:
            parse_recipe(both)
        assert caught.value.path == ("phases", 0, "refinements", "cutmix")

    @pytest.mark.parametrize("kind", ["cutmix", "mixup"])
    def test_batches_of_one_image_have_nothing_to_mix(self, kind: str) -> None:
        with pytest.raises(Problem, match="got batch_size 1, expected at least 2") as caught:
            parse_recipe(a_recipe({kind: {}}) | {"batch_size": 1})
        assert caught.value.path == ("refinements", kind)

    def test_a_cell_with_both_is_one_line(self, tmp_path: Path) -> None:
        text = TINY.replace("c: {schedule: {kind: cosine}}", "c: {refinements.cutmix: {}}")
        text = text.replace("l: {loss.label_smoothing: 0.1}", "l: {refinements.mixup: {}}")
        (tmp_path / "study.yaml").write_text(text.replace("add_one: [c, l]", "subsets: [c, l]"))
        result = CliRunner().invoke(main, ["plan", "study.yaml"])
        assert result.exit_code == 2
        told = "in cell 'plain+c+l', got cutmix and mixup at once, expected one of them; phases can take turns"
        assert told in result.stderr
        assert result.stderr.count("\n") == 1
