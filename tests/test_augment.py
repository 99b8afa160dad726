"""What holds for every refinement that changes single images; a new one is to be listed here."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from batches import DRAWS, MEAN, a_batch, a_hook, a_setup, augmented, some_images, subset

from experiments import catalog
from experiments.options import Order, Refinement
from experiments.refinements.random_choice import SINGLE_IMAGES
from trainer.draws import Draws
from trainer.hooks import Batch, Hook


def parsed(kind: str, settings: dict[str, Any]) -> Refinement:
    option: Refinement = catalog.parse_named("refinements", {kind: settings})[kind]
    return option


AUGMENTING: dict[str, dict[str, Any]] = {
    "affine": {"degrees": 20, "translate": [0.2, 0.1], "scale": [0.8, 1.2], "shear": [10, 5]},
    "color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "cutout": {"holes": 2, "length": 5},
    "flip": {},
    "rand_augment": {"num_ops": 3, "magnitude": 15},
    "random_erasing": {},
    "trivial_augment": {},
    "random_choice": {
        "of": {"flip": {"p": 1.0}, "color_jitter": {"brightness": 0.5}, "cutout": {"length": 3}, "rotation": {}}
    },
    "random_crop": {},
    "random_resized_crop": {},
    "rotation": {},
    "vertical_flip": {},
}
"""Every refinement that changes single images, with settings that change something."""


@pytest.mark.parametrize("kind", list(AUGMENTING))
class TestEveryRefinementOfSingleImages:
    def augmented(self, kind: str, batch: Batch, draws: Draws = DRAWS) -> torch.Tensor:
        return augmented(a_hook(kind, AUGMENTING[kind]), batch, draws).images

    @pytest.mark.parametrize("stored", [12, 15])
    def test_crops_give_the_image_size_and_others_keep_theirs(self, kind: str, stored: int) -> None:
        batch = a_batch(some_images(20, side=stored))
        changed = augmented(a_hook(kind, AUGMENTING[kind]), batch)
        side = 12 if parsed(kind, AUGMENTING[kind]).order == Order.CROP else stored
        assert changed.images.shape == (20, 3, side, side)
        assert changed.images.dtype == torch.float32
        assert changed.targets is batch.targets
        assert changed.samples is batch.samples
        assert float(changed.images.min()) >= -1e-3
        assert float(changed.images.max()) <= 255.001

    @pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
    def test_the_batch_it_got_is_left_alone(self, kind: str, memory_format: torch.memory_format) -> None:
        images = some_images(20).contiguous(memory_format=memory_format)
        before = images.clone()
        changed = self.augmented(kind, a_batch(images))
        assert torch.equal(images, before)
        assert changed.data_ptr() != images.data_ptr()

    def test_images_are_stored_in_any_order_of_their_dimensions(self, kind: str) -> None:
        images = some_images(20)
        last = images.contiguous(memory_format=torch.channels_last)
        assert torch.allclose(self.augmented(kind, a_batch(images)), self.augmented(kind, a_batch(last)), atol=1e-3)

    @pytest.mark.parametrize("chosen", [[13, 2, 8], [5], list(range(40))[::-1]])
    @pytest.mark.parametrize("side", [12, 33])
    def test_an_image_does_not_depend_on_its_batch(self, kind: str, side: int, chosen: list[int]) -> None:
        batch = a_batch(some_images(40, side=side))
        whole, part = self.augmented(kind, batch), self.augmented(kind, subset(batch, chosen))
        assert torch.equal(part, whole[chosen]), "bit for bit"

    def test_images_of_one_batch_are_changed_differently(self, kind: str) -> None:
        images = some_images(1).expand(30, -1, -1, -1)
        changed = self.augmented(kind, a_batch(images))
        different = len({image.numpy().tobytes() for image in changed})
        assert different == 2 if "flip" in kind else different > 12

    def test_another_epoch_and_another_seed_draw_anew(self, kind: str) -> None:
        batch = a_batch(some_images(30))
        found = [self.augmented(kind, batch, draws) for draws in (Draws(5, 3), Draws(5, 4), Draws(6, 3))]
        for other in found[1:]:
            assert int((other != found[0]).flatten(1).any(1).sum()) > 5
        assert torch.equal(self.augmented(kind, batch, Draws(5, 3)), found[0])

    def test_nothing_is_asked_of_the_device(self, kind: str) -> None:
        # tensors without values: whoever reads one, or chooses by one how much is to be done, fails
        changed = self.augmented(kind, a_batch(some_images(20, side=15).to("meta")))
        assert changed.device.type == "meta"


@pytest.mark.parametrize("kind", ["affine", "cutout", "random_crop", "rotation"])
def test_what_comes_in_is_exactly_zero_after_normalisation(kind: str) -> None:
    settings: dict[str, Any] = {"random_crop": {"padding": 10}, "rotation": {"degrees": 180}}.get(
        kind, AUGMENTING[kind]
    )
    batch = a_batch(some_images(50, low=200, high=255))
    changed = augmented(a_hook(kind, settings), batch).images
    normalised = (changed - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor([58.0, 57.0, 57.0]).view(-1, 1, 1)
    assert int((normalised == 0).all(1).flatten(1).any(1).sum()) > 30
    assert int((normalised == 0).sum()) > 1000


def test_every_refinement_of_single_images_is_covered_here() -> None:
    options = catalog.options("refinements").items()
    found = {kind for kind, option in options if issubclass(option, Refinement) and option.order != Order.ANY}
    assert found == set(AUGMENTING)


def test_the_order_tells_who_changes_single_images_and_keeps_their_size() -> None:
    for kind in set(catalog.options("refinements")) - {"distillation"}:
        option = parsed(kind, AUGMENTING.get(kind, {}))
        hook = type(option.build(a_setup()))
        places, augments = hook.place is not Hook.place, hook.augment is not Hook.augment
        assert places == (option.order in (Order.CROP, Order.FLIP, Order.WARP)), kind
        assert (places or augments) == (option.order in (*SINGLE_IMAGES, Order.CROP)), kind
