"""Makes learning curves of runs: the mean and band over the seeds of each cell, and each run that failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from experiments.questions.figure_words import Band, CurvesFigure
from experiments.questions.figures import figure_cells, figure_labels
from experiments.tracking.records import TrialRecord
from trainer.metrics import direction

from ..runs import Runs
from .base import band_ends, frame_of
from .curves import FEW, SHORT, Broken, Curves
from .labels import labelled, table_labels

_APART = {True: 24, False: 12}
"""The most cells that get a panel each on one page, for short names (True) and for longer ones."""

_COLUMNS = {
    "gid": "str", "cell": "str", "label": "str", "metric": "str", "epoch": "int64", "mean": "float64",
    "low": "float64", "high": "float64", "n": "int64", "seed": "Int64", "status": "str",
}  # fmt: skip


def learning_curves(
    runs: Runs, cells: Sequence[str], id: str, caption: str, metrics: Sequence[str], labels: Mapping[str, str] = {}
) -> Curves | None:
    """Few cells share a panel per metric; more have a panel each; of many, the best stand out before the others.

    None if no run of these cells has reported an epoch.
    """
    named = labelled(cells, labels)
    data = curve_data(runs, id, named, metrics, "sd")
    if data.empty:
        return None
    drawn = list(dict.fromkeys(data["cell"]))
    many = len(drawn) > _APART[max(len(named[cell]) for cell in drawn) <= SHORT]
    best = _best(data, metrics[0])
    return Curves(
        id=id,
        title=caption,
        data=data,
        panels=tuple((metric,) for metric in metrics),
        apart=len(drawn) > FEW and not many,
        background=tuple(cell for cell in drawn if cell not in best) if many else (),
        broken=_broken(runs, named),
    )


def make_curves(figure: CurvesFigure, runs: Runs) -> Curves:
    """Learning curves that the study asks for."""
    cells = figure_cells(figure, runs.plan)
    named = labelled(cells, {**table_labels(runs.plan), **figure_labels(figure, runs.plan)})
    metrics = dict.fromkeys(metric for panel in figure.panels for metric in panel)
    data = curve_data(runs, figure.id, named, list(metrics), figure.band)
    broken = _broken(runs, named)
    if figure.epochs:
        data = data[data["epoch"].between(*figure.epochs)].reset_index(drop=True)
    return Curves(
        id=figure.id,
        title=figure.caption or figure.id,
        data=data,
        panels=figure.panels,
        band=figure.band,
        missing=tuple(named[cell] for cell in cells if cell not in set(data["cell"])),
        broken=broken,
    )


def curve_data(runs: Runs, id: str, labels: Mapping[str, str], metrics: Sequence[str], band: Band) -> pd.DataFrame:
    """`Curves.data` of the cells that `labels` names."""
    rows: list[tuple[object, ...]] = []
    for place, (cell, label) in enumerate(labels.items()):
        finished = [record for _, record in _of_cell(runs, cell, runs.records)]
        for metric in metrics:
            name = f"{id}.cell{place}.{metric}"
            for epoch in range(max((len(record.history) for record in finished), default=0)):
                values = _values(finished, metric, epoch)
                if values:
                    low, high = band_ends(values, band) or (None, None)
                    mean = float(np.mean(values))
                    rows.append((name, cell, label, metric, epoch + 1, mean, low, high, len(values), None, "finished"))
            for seed, record in _of_cell(runs, cell, runs.failures):
                status = "diverged" if _diverged(record) else "failed"
                for epoch, values_at in enumerate(record.history, 1):
                    value = values_at.get(metric)
                    if value is not None:
                        gid = f"{name}.seed{seed}"
                        rows.append((gid, cell, label, metric, epoch, value, None, None, 1, seed, status))
    return frame_of(rows, _COLUMNS)


def _of_cell(runs: Runs, cell: str, records: Mapping[str, TrialRecord]) -> Iterable[tuple[int, TrialRecord]]:
    for seed in runs.plan.seeds_of(cell):
        record = records.get(runs.plan.ids.get((cell, seed), ""))
        if record is not None:
            yield seed, record


def _values(records: Sequence[TrialRecord], metric: str, epoch: int) -> list[float]:
    values = [record.history[epoch].get(metric) for record in records if epoch < len(record.history)]
    return [value for value in values if value is not None]


def _broken(runs: Runs, labels: Mapping[str, str]) -> tuple[Broken, ...]:
    return tuple(
        Broken(label, seed, len(record.history), _diverged(record))
        for cell, label in labels.items()
        for seed, record in _of_cell(runs, cell, runs.failures)
    )


def _diverged(record: TrialRecord) -> bool:
    return record.reason.startswith("Diverged")


def _best(data: pd.DataFrame, metric: str) -> list[str]:
    """The cells whose last mean of the metric is best, at most `FEW`."""
    finished = data[(data["metric"] == metric) & (data["status"] == "finished")]
    last = finished.groupby("cell", sort=False)["mean"].last()
    return list(last.sort_values(ascending=direction(metric) == "min", kind="stable").index[:FEW])
