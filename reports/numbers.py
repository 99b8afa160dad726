"""Numbers and metrics as a reader meets them."""

from __future__ import annotations

import math
from typing import Any, Literal

from experiments.questions.named import FACTS
from trainer.metrics import Direction, direction, is_fraction, measured, network_of, plain

from .statistics import Difference, Summary

NOTHING = "–"
"""What stands where there is no number."""

Unit = Literal["fraction", "percent"]
"""How accuracies are printed."""

TITLES = {
    "top1": "Top-1",
    "top5": "Top-5",
    "class_top1": "Mean class top-1",
    "macro_f1": "Macro F1",
    "ece": "ECE",
    "val_loss": "Validation loss",
    "train_top1": "Train top-1",
    "train_top5": "Train top-5",
    "train_loss": "Train loss",
    "learning_rate": "Learning rate",
    "epoch_seconds": "s/epoch",
    "images_per_second": "images/s",
    "test_top1": "Test top-1",
    "test_top5": "Test top-5",
    "test_class_top1": "Test mean class top-1",
    "test_macro_f1": "Test macro F1",
    "test_ece": "Test ECE",
    "test_loss": "Test loss",
    "params": "Parameters",
    "macs": "MACs",
    "seconds": "Training time (s)",
}
_SPEEDS: dict[str, Direction] = {"epoch_seconds": "min", "images_per_second": "max"}
_UNITS = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))


def title(metric: str) -> str:
    """A metric as a column's title."""
    words = [TITLES[measured(metric)]]
    if network := network_of(metric):
        words.insert(0, network_title(network))
    if which := metric.removesuffix(plain(metric)):
        words.insert(0, which.removesuffix("_").capitalize())
    first, *others = words
    return " ".join([first, *(word if word[:2].isupper() else word[0].lower() + word[1:] for word in others)])


def network_title(network: str) -> str:
    """A further network as a title: `EMA`, `Teacher`."""
    return network.upper() if len(network) <= 4 else network[0].upper() + network[1:]


def better(metric: str) -> Direction:
    """Which way a metric is better, speeds included, which only tables compare; None for facts and settings."""
    if metric in FACTS:
        return None
    return _SPEEDS.get(metric) or direction(metric)


def ours(summary: Summary | None, metric: str, unit: Unit = "fraction") -> str:
    """Our own number: mean ± sd, or a fact (`23.7M`)."""
    if summary is None:
        return NOTHING
    if metric in FACTS:
        return large(summary.mean, ".1f")
    if metric == "learning_rate":
        return setting(summary.mean)
    decimals, scale = _decimals(summary.mean, metric, unit), _scale(metric, unit)
    mean = unsigned(f"{scale * summary.mean:.{decimals}f}")
    return mean if summary.sd is None else f"{mean} ± {scale * summary.sd:.{decimals}f}"


def published(values: tuple[float, ...], metric: str, unit: Unit = "fraction") -> str:
    """The document's numbers as documents print them: fractions with two decimals, per cent with one, or with more."""
    scale = _scale(metric, unit)
    return " / ".join(large(v, "g") if metric in FACTS else _stated(round(scale * v, 10), scale) for v in values)


def differences(summary: Summary | None, values: tuple[float, ...], metric: str, unit: Unit = "fraction") -> str:
    """Ours minus each of the document's numbers, as precise as the document is."""
    if summary is None:
        return NOTHING if values else ""
    scale = _scale(metric, unit)
    return " / ".join(_difference(scale * (summary.mean - v), round(scale * v, 10), metric, scale) for v in values)


def difference(found: Difference | None, metric: str, unit: Unit = "fraction") -> str:
    """A paired difference with its sign."""
    return NOTHING if found is None else change(found.mean, metric, unit)


def change(value: float, metric: str, unit: Unit = "fraction") -> str:
    """How much a metric changes, with its sign."""
    return signed(_scale(metric, unit) * value, _decimals(value, metric, unit))


def interval(low: float | None, high: float | None, metric: str, unit: Unit = "fraction", *, most: float = 1.0) -> str:
    """An interval of a difference, `+0.012 to +0.034`; for accuracies it is cut at -most and most."""
    if low is None or high is None:
        return NOTHING
    low, high = within(low, high, metric, -most, most)
    return f"{change(low, metric, unit)} to {change(high, metric, unit)}"


def within(low: float, high: float, metric: str, least: float = -1.0, most: float = 1.0) -> tuple[float, float]:
    """The ends of an interval, cut at `least` and `most` if the metric is an accuracy.

    least: -1 for a difference of accuracies, 0 for an accuracy itself.
    """
    return (max(low, least), min(high, most)) if is_fraction(metric) else (low, high)


def is_cut(low: float | None, high: float | None, metric: str, least: float = -1.0, most: float = 1.0) -> bool:
    """Whether an interval exceeds the metric's limits, so that it is printed shorter than it is: see `within`."""
    return low is not None and high is not None and within(low, high, metric, least, most) != (low, high)


CUT = "an interval is cut where what it is of can't go further"
"""Said where `is_cut` is true."""


def probability(p: float | None) -> str:
    """A p with three decimals; `<0.001` where it is smaller than that."""
    if p is None:
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def decimals(value: float, usual: int) -> int:
    """How many decimals to print: `usual`, or for a smaller value as many as show two digits, at most 6."""
    if value == 0 or abs(value) >= 10**-usual:
        return usual
    return min(6, 1 - math.floor(math.log10(abs(value))))


def signed(value: float, decimals: int) -> str:
    """A number with its sign, unless it prints as zero."""
    return unsigned(f"{value:+.{decimals}f}")


def unsigned(text: str) -> str:
    """A printed number, without its sign where it is zero."""
    return text if text.strip("+-0.") else text.lstrip("+-")


def large(value: float, form: str) -> str:
    """A count with a unit of thousands, millions and so on: `23.7M`; `form` is the format of the number before it."""
    for unit, scale in _UNITS:
        if abs(value) >= 0.99995 * scale:
            return f"{value / scale:{form}}{unit}"
    return f"{value:g}"


def setting(value: Any) -> str:
    """A recipe's setting: numbers without exponents where that is readable, lists with commas."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(setting, value)) or NOTHING
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0").rstrip(".") if 1e-6 <= abs(value) < 1e6 or value == 0 else f"{value:g}"
    return str(value)


def _scale(metric: str, unit: Unit) -> float:
    return 100.0 if unit == "percent" and is_fraction(metric) else 1.0


def _decimals(value: float, metric: str, unit: Unit) -> int:
    if _scale(metric, unit) == 100:
        return 1
    return 0 if abs(value) >= 100 else 3 if is_fraction(metric) else decimals(value, 3)


def _difference(value: float, stated: float, metric: str, scale: float) -> str:
    if metric in FACTS:
        unit = large(stated, "g")[-1]
        scale = dict(_UNITS).get(unit, 1.0)
        text = f"{value / scale:+.1f}"
        return unsigned(text) + (unit if scale > 1 else "")
    decimals = len(_stated(stated, scale).partition(".")[2])
    if scale == 100:
        return signed(value, min(1, decimals))
    return signed(value, 0 if abs(stated) >= 100 else min(3, max(2, decimals)))


def _stated(value: float, scale: float) -> str:
    decimals = 1 if scale == 100 else 2
    return f"{value:.{decimals}f}" if round(value, decimals) == value else f"{value:g}"
