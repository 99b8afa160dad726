"""What a fault has left of a study in `folder`, counted: in its results, its record, its files, and among processes."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy

METRICS = ("top1", "top5", "val_loss", "train_loss", "train_top1", "best_top1")
RECORDED = ("top1", "train_loss", "epoch_seconds")


def results(folder: Path) -> list[dict[str, str]]:
    """The rows of the one study's results.csv; none where there is no report."""
    files = list(folder.glob("results/*/results.csv"))
    return list(csv.DictReader(files[0].read_text().splitlines())) if files else []


def differing(folder: Path, whole: Path) -> int:
    """Trials that have not finished, or not with the numbers of the uninterrupted run in `whole`."""
    found = {row["trial"]: row for row in results(folder)}
    expected = results(whole)
    assert expected
    return sum(
        any(found.get(row["trial"], {}).get(name) != row[name] for name in ("status", *METRICS)) for row in expected
    )


def epochs_reported(folder: Path) -> int:
    """Lines of all journals."""
    return sum(len(file.read_text().splitlines()) for file in folder.glob(".ablate/trials/*/journal.jsonl"))


def trained_again(folder: Path, epochs: int) -> int:
    """The most epochs that one trial trained beyond its own, by the logs of all its attempts."""
    logs = [file.read_text() for file in folder.glob(".ablate/trials/*/log.txt")]
    return max(len(re.findall(r"epoch \d+: ", log)) for log in logs) - epochs


def missing_or_twice(folder: Path, epochs: int, record: str | None = None) -> int:
    """Points of RECORDED that finished runs of trials lack or have more than once; a second such run of one trial."""
    asked = (
        "SELECT r.run_uuid, t.value, m.key, m.step FROM runs r"
        " JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'ablate.trial'"
        " LEFT JOIN metrics m ON m.run_uuid = r.run_uuid WHERE r.status = 'FINISHED'"
    )
    points = Counter(_rows(folder, record, asked))
    runs = {(run, trial) for run, trial, _, _ in points}
    wanted = [(*run, name, step + 1) for run in runs for name in RECORDED for step in range(epochs)]
    return sum(abs(points[point] - 1) for point in wanted) + len(runs) - len({trial for _, trial in runs})


def left_running(folder: Path, record: str | None = None) -> int:
    """Runs that are recorded as running."""
    return len(_rows(folder, record, "SELECT run_uuid FROM runs WHERE status = 'RUNNING'"))


def reasons(folder: Path, record: str | None = None) -> list[str]:
    """Of every attempt that is recorded as failed, why."""
    asked = (
        "SELECT t.value FROM runs r LEFT JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'ablate.reason'"
        " WHERE r.status = 'FAILED' AND EXISTS"
        " (SELECT 1 FROM tags o WHERE o.run_uuid = r.run_uuid AND o.key = 'ablate.trial')"
    )
    return [reason or "" for (reason,) in _rows(folder, record, asked)]


def _rows(folder: Path, record: str | None, asked: str) -> list[tuple[Any, ...]]:
    """What MLflow's tables answer: those at the URI `record`, else those of the folder's SQLite file."""
    engine = sqlalchemy.create_engine(record or f"sqlite:///{folder}/mlflow.db", poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sqlalchemy.text(asked))]


def processes_in(folder: Path, name: str = "") -> list[int]:
    """Processes whose working folder is `folder` and whose command line or title has `name`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            if os.readlink(entry / "cwd") == str(folder) and name in line:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def files_left(folder: Path, temporary: Path) -> list[str]:
    """What lies in the temporary folder, and what only a driver that is at work or an unfinished trial may have."""
    kept = {"journal.jsonl", "log.txt", "lock"}
    unfinished = {(row["trial"], "last.pt") for row in results(folder) if row["status"] != "finished"}
    trials = [
        path
        for path in folder.glob(".ablate/trials/*/*")
        if path.name not in kept and (path.parent.name.partition("-")[0], path.name) not in unfinished
    ]
    reservations = [path for path in folder.glob(".ablate/reservations/*/*") if path.name != "lock"]
    return [path.name for path in [*temporary.iterdir(), *trials, *reservations]]
