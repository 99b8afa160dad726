"""A view of every trial: what became of it, and the link to its run in MLflow."""

from __future__ import annotations

from experiments.tracking.uris import HIDDEN, scheme, shown_uri

from ..answer.pairs import first_metric
from ..numbers import NOTHING, title
from ..runs import Runs
from .views import ColumnHead, Field, View

UI = "http://127.0.0.1:5000"
"""Where `ablate ui` serves the record unless told otherwise."""


def trials_view(runs: Runs) -> View:
    """A row for each cell and seed, in plan order."""
    metric = first_metric(runs)
    heads = [
        ColumnHead("Trial"),
        ColumnHead("Cell"),
        ColumnHead("Seed", True),
        ColumnHead("Status"),
        ColumnHead(title(metric), True),
        ColumnHead("Epochs", True),
        ColumnHead("Seconds", True),
        ColumnHead("Reason"),
    ]
    base = _server()
    rows = [_row(runs, cell, seed, metric, base) for cell, seed in runs.plan.ids]
    return View("trials-table", "Every trial", heads, rows, [_note(base)])


def _row(runs: Runs, cell: str, seed: int, metric: str, base: str) -> list[Field]:
    trial = runs.plan.ids[cell, seed]
    state = runs.states[trial]
    record = runs.records.get(trial) or runs.failures.get(trial)
    status = record.status if record else "missing"
    value = record.value(metric) if record else None
    reason = record.reason if record else state.reason or (str(state) if state.name != "to run" else "")
    return [
        Field(trial, code=True, href=_link(runs, trial, base)),
        Field(cell),
        Field(str(seed), seed),
        Field(status, mark="dim" if status == "finished" else "best"),
        Field(NOTHING if value is None else f"{value:.4f}", value),
        Field(str(len(record.history)), len(record.history)) if record else Field(NOTHING),
        Field(f"{record.seconds:.1f}", record.seconds) if record else Field(NOTHING),
        Field(reason),
    ]


def _link(runs: Runs, trial: str, base: str) -> str:
    attempt = runs.states[trial].attempt
    return f"{base}/#/experiments/{attempt.experiment}/runs/{attempt.run_id}" if attempt and base else ""


def _server() -> str:
    """Address of the web page that shows runs; empty where the record's address must not be shown."""
    if scheme() == "databricks" or HIDDEN in shown_uri():
        return ""
    return shown_uri().rstrip("/") if scheme() in ("http", "https") else UI


def _note(base: str) -> str:
    if not base:
        return "Run ids are in the record; its address holds what must not be shown, so there are no links."
    if base == UI:
        return f"A trial links to its run in MLflow, at {UI} while `ablate ui` serves the record {shown_uri()}."
    return f"A trial links to its run in MLflow, on {base}."
