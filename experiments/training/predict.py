"""Predictions of a finished run for images outside its data set."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.errors import UserError

from .. import catalog
from ..datasets._folders import images_below
from ..tracking.attempts import Attempt
from ..tracking.records import TrialRecord
from .assembly import Parts, load_network, read_parts
from .weights import weights_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 64


@dataclass(frozen=True)
class Predictions:
    """What a finished attempt says of a folder."""

    record: TrialRecord
    found: list[Prediction]
    unreadable: list[str]
    """A line for each image that can't be decoded."""


@dataclass(frozen=True)
class Prediction:
    """What a network predicts for an image."""

    image: str
    """Path below the folder."""

    class_name: str
    """The most probable class, by its folder's name: index order is not always the folders' numeric order."""

    probability: float

    label: str
    """The class that its first folder below names; empty where it names none."""


def predict(attempt: Attempt, folder: Path, progress: Callable[[int, int], None]) -> Predictions:
    """What a finished attempt predicts for every image in `folder` and below, in sorted order.

    progress: called with (done, total) images.
    Raises UserError where the run or its weights can't be read, or no image can.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise UserError(f"{folder}: {what}, expected a folder with images")
    files = images_below(folder)
    if not files:
        raise UserError(f"{folder}: holds no images, expected files such as 1.jpg")
    run = attempt.run_id
    record, weights = weights_of(attempt)
    if not record.classes:
        raise UserError(f"run {run}: its record lacks the classes' names; expected a run of this version")
    for plugin in record.plugins:
        if catalog.add_plugin(Path(plugin.file)) != plugin.code:
            message = f"{plugin.file} is not what it was when this was trained; expected its text of then"
            raise UserError(f"run {run}: {message}")
    parts = read_parts(record.recipe)
    found: list[Prediction] = []
    unreadable: list[str] = []
    for batch, probabilities in _probabilities(parts, weights, files, len(record.classes), unreadable):
        for file, row in zip(batch, probabilities, strict=True):
            best = int(row.argmax())
            name = file.relative_to(folder)
            label = name.parts[0] if name.parts[0] in record.classes and len(name.parts) > 1 else ""
            found.append(Prediction(name.as_posix(), record.classes[best], float(row[best]), label))
        progress(len(found) + len(unreadable), len(files))
    if not found:
        raise UserError(unreadable[0])
    return Predictions(record, found, unreadable)


def to_csv(predictions: list[Prediction]) -> str:
    """`image,class,probability`, a row for each image; names with commas are quoted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "class", "probability"])
    writer.writerows([p.image, p.class_name, f"{p.probability:.4f}"] for p in predictions)
    return text.getvalue()


def _probabilities(
    parts: Parts, weights: Path, files: list[Path], classes: int, unreadable: list[str]
) -> Iterator[tuple[list[Path], NDArray[np.float32]]]:
    """Batches of files with their class probabilities [B, K], images prepared as for evaluation.

    A file that can't be decoded is left out, and `unreadable` gets a line.
    """
    import torch

    from trainer.data import central, colour_rows, colours, normalise
    from trainer.decoding import decode_file, without_warnings

    dataset = parts.dataset
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    parts.numerics.apply()
    network = load_network(parts, weights, classes, device)
    stored = dataset.decoded_size
    mean, std = colours(dataset.mean, device), colours(dataset.std, device)
    rows = colour_rows(mean, std, dataset.image_size)
    for begin in range(0, len(files), BATCH):
        decoded = {}
        with without_warnings():
            for file in files[begin : begin + BATCH]:
                try:
                    decoded[file] = decode_file(file, stored, dataset.fit == "squash")
                except UserError as error:
                    unreadable.append(str(error))
        if decoded:
            pixels = torch.from_numpy(np.stack(list(decoded.values()))).to(device).permute(0, 3, 1, 2)
            images = central(pixels, dataset.image_size)
            yield list(decoded), network(normalise(images, rows)).softmax(1).cpu().numpy()
