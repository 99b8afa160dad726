"""Trainings at the edge of what there is to train on, each from recipe to result as a worker runs it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batches import a_recipe
from PIL import Image
from plugins import FEW, attempt, of_few, written

from trainer.recorder import Epoch


def finished(recipe: dict[str, Any], plugins: Sequence[Path] = ()) -> Epoch:
    """The last epoch of a training that must come to its end with finite numbers."""
    result = attempt(recipe, plugins)
    assert result.status == "finished", result.reason
    assert len(result.history) == recipe["epochs"]
    assert all(math.isfinite(value) for epoch in result.history for value in epoch.values())
    return result.history[-1]


@pytest.fixture
def few(tmp_path: Path) -> list[Path]:
    return [written(tmp_path, FEW)]


class TestFewImages:
    @pytest.mark.parametrize("batch_size", [2, 4, 8])
    def test_nine_images_leave_no_batch_of_one(self, batch_size: int, few: list[Path]) -> None:
        finished(of_few([0, 1, 2] * 3, batch_size=batch_size), few)

    @pytest.mark.parametrize("refinements", [{}, {"mixup": {}}, {"cutmix": {}, "ema": {}, "flip": {}, "cutout": {}}])
    def test_fewer_images_than_a_batch(self, refinements: dict[str, Any], few: list[Path]) -> None:
        finished(of_few([0, 1], refinements=refinements, batch_size=64), few)

    @pytest.mark.parametrize("refinements", [{}, {"mixup": {}}, {"cutmix": {}}])
    def test_one_training_image(self, refinements: dict[str, Any], few: list[Path]) -> None:
        assert finished(of_few([1], [1], refinements=refinements, image_size=64), few)["train_top1"] == 1.0

    def test_one_validation_image(self, few: list[Path]) -> None:
        assert finished(of_few([0, 1, 2], [1]), few)["top5"] == 1.0

    @pytest.mark.parametrize("kind", ["mixup", "cutmix"])
    def test_one_class_is_mixed_with_itself(self, kind: str, few: list[Path]) -> None:
        last = finished(of_few([2] * 12, [2], refinements={kind: {}}, epochs=4), few)
        assert last["train_top1"] == 1.0
        assert last["train_loss"] < 0.5, "a mixed target of one class is that class"

    @pytest.mark.parametrize("loss", [{}, {"class_weights": "balanced", "label_smoothing": 0.1}])
    def test_classes_that_are_only_validated(self, loss: dict[str, Any], few: list[Path]) -> None:
        recipe = of_few([0, 1] * 8, [0, 1, 2, 2], loss={"kind": "cross_entropy", **loss}, epochs=12)
        assert finished(recipe, few)["top1"] <= 0.5, "nothing teaches the third class"


class TestOneImageABatch:
    def test_batch_norm_of_one_value_is_explained(self, few: list[Path]) -> None:
        result = attempt(of_few([0, 1, 2], batch_size=1), few)
        assert result.status == "failed"
        assert result.reason.startswith(
            "got a batch of one image (batch_size: 1, training images: 3), expected at least 2"
        )
        assert "batch norm can't train on one value" in result.reason
        assert "image_size" in result.reason
        log = Path(result.log).read_text()
        assert "Expected more than 1 value per channel" in log, "the log keeps what torch said, and where"
        assert "in train" in log

    def test_one_training_image_is_explained(self, few: list[Path]) -> None:
        result = attempt(of_few([0], batch_size=8), few)
        assert result.status == "failed"
        assert "(batch_size: 8, training images: 1), expected at least 2 of each: batch norm" in result.reason

    def test_with_larger_maps_it_trains(self, few: list[Path]) -> None:
        finished(of_few([0, 1, 2], image_size=64, batch_size=1), few)

    def test_without_batch_norm_it_trains(self, few: list[Path]) -> None:
        network = {"kind": "resnetv2", "layers": [1, 1, 1, 1], "width": 8, "norm": "group_ws"}
        finished(of_few([0, 1, 2], architecture=network, batch_size=1), few)


class TestSmallImages:
    @pytest.mark.parametrize("stored_size", [24, 30, 64])
    @pytest.mark.parametrize(
        "refinements", [{}, {"random_crop": {}}, {"random_resized_crop": {}}, {"rand_augment": {}}]
    )
    def test_crops_larger_than_the_source_are_enlarged(self, refinements: dict[str, Any], stored_size: int) -> None:
        """Digits are of 8x8 pixels."""
        recipe = a_recipe(refinements, image_size=24, stored_size=stored_size, train_fraction=0.05)
        finished(recipe | {"epochs": 1})

    def test_a_folder_of_tiny_and_elongated_images(self, tmp_path: Path) -> None:
        for name, colour in (("dark", 30), ("bright", 220)):
            for i, size in enumerate([(1, 1), (2, 90), (90, 1), (3, 3)]):
                file = tmp_path / "images" / name / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", size, colour).save(file)
        recipe = a_recipe({"random_resized_crop": {}, "mixup": {}})
        finished(recipe | {"dataset": {"kind": "image_folder", "path": "images", "image_size": 24, "stored_size": 32}})


def test_a_process_that_outlives_its_folder_trains_on_the_images_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = a_recipe({}) | {"dataset": {"kind": "image_folder", "path": "images", "image_size": 16}, "epochs": 1}
    losses = []
    for name, colours in (("one", (30, 220)), ("other", (100, 110)), ("one", (30, 220))):
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / name)
        for colour in colours:
            for i in range(4):
                solid(Path("images") / str(colour) / f"{i}.png", "L", colour + i)
        losses.append(finished(recipe)["train_loss"])
        shutil.rmtree("trial")
    assert losses[0] == losses[2] != losses[1]


def solid(file: Path, mode: str, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if mode == "I;16":
        Image.fromarray(np.full((20, 30), value, dtype=np.uint16)).save(file)
    else:
        Image.new(mode, (30, 20), value).save(file)


class TestOtherFormats:
    @pytest.mark.parametrize(
        ("mode", "suffix", "one", "other"),
        [
            ("I;16", "png", 9_000, 50_000),
            ("CMYK", "jpg", (0, 255, 255, 0), (255, 0, 255, 0)),
            ("CMYK", "tiff", (0, 0, 0, 220), (0, 0, 0, 30)),
            ("LA", "png", (0, 255), (0, 0)),
            ("1", "png", 0, 1),
        ],
        ids=["16 bits", "CMYK JPEG", "CMYK TIFF", "transparency", "1 bit"],
    )
    def test_two_colours_are_told_apart(self, mode: str, suffix: str, one: Any, other: Any, tmp_path: Path) -> None:
        for name, value in (("one", one), ("other", other)):
            for i in range(10):
                solid(tmp_path / "images" / name / f"{i}.{suffix}", mode, value)
        recipe = a_recipe({"flip": {}}) | {"dataset": {"kind": "image_folder", "path": "images", "image_size": 16}}
        assert finished(recipe | {"epochs": 12, "batch_size": 4})["top1"] == 1.0


def test_a_loss_that_is_no_number_names_its_epoch(few: list[Path]) -> None:
    recipe = of_few([0, 1, 2] * 4, optimizer={"kind": "sgd", "lr": 1e30})
    result = attempt(recipe, few)
    assert result.status == "failed"
    assert "the training loss became" in result.reason
    assert result.reason.endswith("in epoch 1")
    assert not math.isfinite(result.history[-1]["train_loss"]), "that epoch is recorded"
