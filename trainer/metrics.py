"""The numbers that a training reports, and which way is better."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

Direction = Literal["max", "min"] | None

EVALUATED = ("loss", "top1", "top5", "class_top1", "macro_f1", "ece")
"""What is measured of a network over a split: see `epoch_metrics`."""

Watched = Literal["val_loss", "top1", "class_top1", "macro_f1"]
"""The metrics by which an epoch is selected, a training ended early or its rate reduced."""

BINS = 15
"""Bins of equal width of the expected calibration error, as in Guo et al. 2017."""

_VALIDATION: dict[str, Direction] = {
    "top1": "max",
    "top5": "max",
    "val_loss": "min",
    "class_top1": "max",
    "macro_f1": "max",
    "ece": "min",
}
_TRAINING: dict[str, Direction] = {"train_top1": "max", "train_top5": "max", "train_loss": "min"}
_PACE: dict[str, Direction] = {"learning_rate": None, "epoch_seconds": None, "images_per_second": None}
_TEST: dict[str, Direction] = {f"test_{name.removeprefix('val_')}": better for name, better in _VALIDATION.items()}
_DIRECTIONS = _VALIDATION | _TRAINING | _PACE | _TEST

TAKEN = ("best", "selected", "test", "train", "val", "class", "fresh")
"""What names of metrics begin with already: no further network may be called so."""

NETWORK = re.compile(rf"(?!({'|'.join(TAKEN)})$)[A-Za-z][A-Za-z0-9]*")
"""A further network's name. It has no `_`, so that a metric's name tells the network."""


def of_split(name: str, split: Literal["val", "test"]) -> str:
    """The metric that one of EVALUATED is over a split: `top1` or `test_top1`."""
    return f"{split}_{name}" if split == "test" or name == "loss" else name


def epoch_metrics(networks: Iterable[str] = ()) -> list[str]:
    """The metrics of every epoch.

    `top1`, `top5`: fraction of the validation images whose class has the largest logit, or one of the five largest (of
    all, if there are fewer). `val_loss`: their mean cross-entropy, without smoothing. `class_top1`: the mean over
    classes of each one's top-1 (mean class accuracy, balanced accuracy), which differs from top-1 where some classes
    have more images. `macro_f1`: the mean of F1, the harmonic mean of precision and recall, over the classes that some
    image has or is taken for. `ece`: expected calibration error in 15 bins of equal width, the mean distance of the
    largest probability from the share of hits (Guo et al., "On calibration of modern neural networks", ICML 2017,
    eq. 3). `train_*`: over the epoch's training batches as the network saw them, loss as optimized; a mixed image
    counts by its heaviest class. `<network>_*`: validation with each further network, such as averaged weights
    (`ema_top1`). `learning_rate`: at the epoch's last step. `epoch_seconds`: training and evaluation.
    `images_per_second`: training images over training time.

    networks: what `Hook.networks` gives, by name.
    """
    of_networks = [f"{network}_{name}" for network in networks for name in _VALIDATION]
    return [*_VALIDATION, *_TRAINING, *of_networks, *_PACE]


def final_metrics(networks: Iterable[str] = ()) -> list[str]:
    """Metrics of a finished training: of the test split, if there is one, with the weights that the recipe selects."""
    return [*_TEST, *(f"{network}_{name}" for network in networks for name in _TEST)]


def metric_names(networks: Iterable[str] = ()) -> list[str]:
    """Every name under which a trial's number may be asked for.

    A plain name is the value at the last epoch, of times the mean over epochs; `best_<name>` is the best over all
    epochs, `selected_<name>` that at the epoch whose weights the recipe selects.
    """
    networks = list(networks)
    courses = [name for name in epoch_metrics(networks) if direction(name)]
    return [
        *epoch_metrics(networks),
        *final_metrics(networks),
        *(f"best_{name}" for name in courses),
        *(f"selected_{name}" for name in courses),
    ]


def plain(name: str) -> str:
    """The metric that a name of `metric_names` is about: the name without `best_` or `selected_`."""
    return name.removeprefix("best_").removeprefix("selected_")


def network_of(name: str) -> str:
    """The further network that a metric is of: `ema` for `best_ema_top1`; empty for the trained network's."""
    network, _, rest = plain(name).partition("_")
    is_further = plain(name) not in _DIRECTIONS and (rest in _VALIDATION or rest in _TEST)
    return network if is_further else ""


def measured(name: str) -> str:
    """What is measured, at whichever epoch and of whichever network: `top1` for `best_ema_top1`."""
    return plain(name).removeprefix(f"{network_of(name)}_")


def is_validation(name: str) -> bool:
    """Whether the metric is of the trained network, over the validation images, at the last epoch."""
    return name in _VALIDATION


def is_final(name: str) -> bool:
    """Whether only a finished training has the metric."""
    return measured(name) in _TEST


def is_fraction(name: str) -> bool:
    """Whether the metric is a fraction of 1, which documents print in per cent."""
    return measured(name).endswith(("top1", "top5", "macro_f1", "ece"))


def direction(name: str) -> Direction:
    """Which way is better for a name of `metric_names`."""
    return _DIRECTIONS[measured(name)]


def best(values: list[float], metric: str) -> float:
    """The best value of a metric that has a direction."""
    return max(values) if direction(metric) == "max" else min(values)
