"""What is raced: a study's cells as plain trainings that every side can do, and the images in each side's form.

The study is `studies/bag_of_tricks.yaml` under its profile `demo` with one seed: 18 trainings of one small ResNet.
On `digits` that is the study as it stands. On `glyphs` its profile gets other images (JPEG files of about 300 x 200
pixels, trained at 64) and another learning rate.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from bare import PIXELS, TRAININGS
from numpy.typing import NDArray
from PIL import Image
from raced_networks import raced_resnet
from torch import nn

from experiments.language.yaml_source import read_yaml
from experiments.options import Dataset
from experiments.plan import Cell, expand
from experiments.recipe import parse_recipe
from experiments.study import load_study
from experiments.training.folders import cache_folder
from trainer.data import Source, load

STUDY = Path(__file__).resolve().parent.parent / "studies" / "bag_of_tricks.yaml"
PROFILE = "demo"
GLYPHS = {"dataset": {"kind": "glyphs", "image_size": 64, "per_class": 60}, "epochs": 8, "optimizer.lr": 0.05}
"""Changes to the profile for the race on glyphs; with its own learning rate, little of 62 classes would be learned."""


@dataclass(frozen=True)
class Training:
    """The training of one cell under one seed, as plain numbers."""

    cell: str
    tweak: str
    width: int
    layers: tuple[int, ...]
    lr: float
    momentum: float
    cosine: bool
    smoothing: float
    mixup: float
    """mixup's alpha; 0: no mixup."""

    epochs: int
    batch_size: int


@dataclass(frozen=True)
class Contest:
    """A study file and profile for `ablate run`, and its cells as trainings for the other sides."""

    study: Path
    profile: str
    dataset: Dataset
    cells: tuple[Cell, ...]
    total: int
    """Number of cells of the whole study; `cells` may be the first few of them."""

    @property
    def trainings(self) -> list[Training]:
        return [as_training(cell) for cell in self.cells]


def make_contest(data: str, cells: int | None, folder: Path, epochs: int | None = None) -> Contest:
    """A contest over the study as it stands, or, if anything is changed, over a copy in `folder` with another profile.

    cells: how many of the first ones, None for all. epochs: instead of the profile's, for every side.
    """
    changes = {**(GLYPHS if data == "glyphs" else {}), **({"epochs": epochs} if epochs else {})}
    names = [cell.name for cell in _plan(STUDY, PROFILE)]
    study, profile = STUDY, PROFILE
    if changes or (cells is not None and cells < len(names)):
        study, profile = folder / STUDY.name, "race"
        study.write_text(_study_text(changes, names[:cells]), encoding="utf-8")
    raced = _plan(study, profile)
    return Contest(study, profile, raced[0].recipe.dataset, raced, len(names))


def as_training(cell: Cell) -> Training:
    """The cell's recipe in numbers; fails if it has a setting that these don't express, so that sides would differ."""
    recipe = cell.recipe.as_data()
    training = Training(
        cell=cell.name,
        tweak=recipe["architecture"]["tweak"],
        width=recipe["architecture"]["width"],
        layers=tuple(recipe["architecture"]["layers"]),
        lr=recipe["optimizer"]["lr"],
        momentum=recipe["optimizer"]["momentum"],
        cosine=recipe["schedule"]["kind"] == "cosine",
        smoothing=recipe["loss"]["label_smoothing"],
        mixup=recipe["refinements"].get("mixup", {}).get("alpha", 0.0),
        epochs=recipe["epochs"],
        batch_size=recipe["batch_size"],
    )
    assert parse_recipe(_as_recipe(training, recipe["dataset"])) == cell.recipe, cell
    return training


def _as_recipe(training: Training, dataset: dict[str, Any]) -> dict[str, Any]:
    network = {"tweak": training.tweak, "width": training.width, "layers": training.layers}
    return {
        "dataset": dataset,
        "architecture": {"kind": "resnet", "block": "bottleneck", **network},
        "optimizer": {"kind": "sgd", "lr": training.lr, "momentum": training.momentum},
        "schedule": {"kind": "cosine" if training.cosine else "constant"},
        "loss": {"kind": "cross_entropy", "label_smoothing": training.smoothing},
        "refinements": {"mixup": {"alpha": training.mixup}} if training.mixup else {},
        "numerics": {"precision": "fp32"},
        "epochs": training.epochs,
        "batch_size": training.batch_size,
    }


def check_networks(contest: Contest) -> None:
    """Fail unless raced_networks.py builds the same networks as ours: equal tensors, and equal modules and strides."""

    def shape(model: nn.Module) -> list[Any]:
        tensors = [(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()]
        return tensors + [str(module) for module in model.modules() if not list(module.children())]

    classes = contest.dataset.num_classes() or 0
    for cell, training in zip(contest.cells, contest.trainings, strict=True):
        theirs = raced_resnet(num_classes=classes, tweak=training.tweak, width=training.width, layers=training.layers)
        assert shape(theirs) == shape(cell.recipe.architecture.build(classes)), training


def export(contest: Contest, folder: Path) -> Path:
    """Write the images in each side's form; returns the folder of images for the peer, where files are hard links."""
    dataset = contest.dataset
    source = dataset.read(0)
    data = load(source, dataset.image_size, dataset.mean, dataset.std, cache_folder(), torch.device("cpu"))
    pixels = data.images.permute(0, 2, 3, 1).numpy()
    train, val = source.splits["train"], source.splits["val"]
    mean, std = np.array(dataset.mean), np.array(dataset.std)
    np.savez(folder / PIXELS, images=pixels, labels=source.labels, train=train, val=val, mean=mean, std=std)
    trainings = [asdict(training) for training in contest.trainings]
    (folder / TRAININGS).write_text(json.dumps(trainings), encoding="utf-8")
    images = folder / "images"
    for name, split in (("train", train), ("validation", val)):
        for i in split:
            place = images / name / source.classes[source.labels[i]]
            place.mkdir(parents=True, exist_ok=True)
            _put(source, int(i), place, pixels[i])
    return images


def _put(source: Source, i: int, place: Path, pixels: NDArray[np.uint8]) -> None:
    if isinstance(source.images, np.ndarray):
        # they have the size of the training already, and PNG is lossless
        Image.fromarray(pixels).save(place / f"{i:05d}.png")
        return
    file = source.images[i]
    try:
        os.link(file, place / file.name)
    except OSError:
        os.symlink(file, place / file.name)


def _plan(study: Path, profile: str) -> tuple[Cell, ...]:
    return expand(load_study(study, profile)).cells


def _study_text(changes: dict[str, Any], cells: list[str]) -> str:
    """The study with a profile `race`: PROFILE, with changes to the recipe and these cells alone."""
    study = read_yaml(STUDY).data
    race = {**study["profiles"][PROFILE], **changes}
    if len(cells) < len(_plan(STUDY, PROFILE)):
        # tables, figures and claims that name cells left out would be refused
        race |= {"designs": [{"list": cells}], "tables": [], "figures": [], "claims": []}
    return yaml.safe_dump({**study, "profiles": {"race": race}}, sort_keys=False, allow_unicode=True)
