"""Numbers and metrics as a reader meets them."""

from __future__ import annotations

from typing import Any

from experiments.questions import FACTS
from trainer.metrics import plain

from .statistics import Summary

NOTHING = "–"
"""What stands where there is no number."""

TITLES = {
    "top1": "Top-1",
    "top5": "Top-5",
    "val_loss": "Validation loss",
    "train_top1": "Train top-1",
    "train_top5": "Train top-5",
    "train_loss": "Train loss",
    "ema_top1": "EMA top-1",
    "ema_top5": "EMA top-5",
    "ema_val_loss": "EMA validation loss",
    "learning_rate": "Learning rate",
    "epoch_seconds": "s/epoch",
    "images_per_second": "images/s",
    "test_top1": "Test top-1",
    "test_top5": "Test top-5",
    "test_loss": "Test loss",
    "ema_test_top1": "EMA test top-1",
    "ema_test_top5": "EMA test top-5",
    "ema_test_loss": "EMA test loss",
    "params": "Parameters",
    "macs": "MACs",
    "seconds": "Training time (s)",
}
_UNITS = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))


def title(metric: str) -> str:
    """A metric as a column's title."""
    name = plain(metric)
    if name == metric:
        return TITLES[name]
    prefix = metric.removesuffix(f"_{name}").capitalize()
    rest = TITLES[name]
    return f"{prefix} {rest if rest.startswith('EMA') else rest[0].lower() + rest[1:]}"


def ours(summary: Summary | None, metric: str) -> str:
    """Our own number: mean ± sd, or a fact (`23.7M`)."""
    if summary is None:
        return NOTHING
    if metric in FACTS:
        return large(summary.mean, ".1f")
    if summary.sd is None:
        return _mean(summary.mean)
    return f"{_mean(summary.mean)} ± {summary.sd:.{_decimals(summary.mean)}f}"


def published(values: tuple[float, ...], metric: str) -> str:
    """The document's numbers, as documents print them: fractions with two decimals, or as many as they have."""
    return " / ".join(large(value, "g") if metric in FACTS else _stated(value) for value in values)


def differences(summary: Summary | None, values: tuple[float, ...], metric: str) -> str:
    """Ours minus each of the document's numbers, as precise as the document is."""
    if summary is None:
        return NOTHING if values else ""
    return " / ".join(_difference(summary.mean - value, value, metric) for value in values)


def _difference(value: float, stated: float, metric: str) -> str:
    if metric in FACTS:
        unit = large(stated, "g")[-1]
        scale = dict(_UNITS).get(unit, 1.0)
        text = f"{value / scale:+.1f}"
        return _unsigned(text) + (unit if scale > 1 else "")
    decimals = 0 if abs(stated) >= 100 else min(3, max(2, len(_stated(stated).partition(".")[2])))
    return _unsigned(f"{value:+.{decimals}f}")


def _unsigned(text: str) -> str:
    """Without a sign where the printed number is zero."""
    return text if text.strip("+-0.") else text.lstrip("+-")


def large(value: float, form: str) -> str:
    """A count in thousands, millions and so on."""
    for unit, scale in _UNITS:
        if abs(value) >= 0.99995 * scale:
            return f"{value / scale:{form}}{unit}"
    return f"{value:g}"


def setting(value: Any) -> str:
    """A recipe's setting: numbers without powers of ten as far as that is readable, lists with commas."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(setting, value)) or NOTHING
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0").rstrip(".") if 1e-6 <= abs(value) < 1e6 or value == 0 else f"{value:g}"
    return str(value)


def _mean(value: float) -> str:
    return f"{value:.{_decimals(value)}f}"


def _decimals(value: float) -> int:
    return 3 if abs(value) < 100 else 0


def _stated(value: float) -> str:
    return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"
