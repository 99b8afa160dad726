"""How long a report takes: from the command to its tables, over many recorded runs, and against PyPI's `ablate`.

    python benchmarks/reporting.py                                    # 1,000 and 10,000 runs
    python benchmarks/reporting.py --runs 1000 --peer PYTHON          # and the package's own table of the same record

One run of noop.py's training is copied for every trial of a study with ten seeds per cell, with other numbers and ten
epochs each. So the record is MLflow's SQLite file with tags, parameters and metrics, and a `trial.json` for each run.

to the tables   wall time from the start of `ablate report` until the last file of `tables/` is written, with imports,
                plan and reading; figures and page come later.
report          the whole command.
again           the same command once more, on unchanged inputs.
parts           where the time goes: imports, plan and reading the record are measured in a process of their own, the
                rest of the command by the times of the files that it wrote.

PYTHON is an interpreter with `ablate[mlflow]` 0.2.3, which makes one Markdown table: means of three metrics by cell. It
reads at most 1,000 runs. It makes a query for each run and metric; we read the runs' files.

Targets: to all tables in under 3 s for 1,000 runs and 15 s for 10,000, on two cores; at least 5 times as fast as the
package to its one table; under a second for unchanged inputs.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe

HERE = Path(__file__).resolve().parent
ABLATE = Path(sys.executable).with_name("ablate")
KIND = {
    "tables/*": "tables",
    "report.json": "results.csv and report.json",
    "figures/*": "figures",
    "report.html": "report.md and the page",
}
KINDS = tuple(KIND)
"""Patterns of a report's files, in the order in which these are written."""

SEEDS = 10
EPOCHS = 10
STUDY = """
study: reported
question: What does a report cost?
plugins: [{plugin}]
recipe:
  dataset: {{kind: noise}}
  architecture: {{kind: linear}}
  optimizer: {{kind: sgd, lr: 0.1}}
  schedule: {{kind: constant}}
  epochs: {epochs}
  batch_size: 8
factors:
  rate: {{{rates}}}
  c: {{schedule: {{kind: cosine}}}}
  l: {{loss.label_smoothing: 0.1}}
designs:
  - grid: {{rate: all}}
    subsets: [c, l]
seeds: {seeds}
tables:
  - {{id: cells, metrics: [top1, top5, val_loss, best_top1, params]}}
  - {{id: rates, rows: rate, metrics: [top1, selected_top1]}}
  - {{id: switches, rows: [r0, r0+c, r0+l, r0+c+l], metrics: [top1, val_loss], published: {{r0: {{top1: 0.5}}}}}}
claims:
  - {{says: The cosine helps, test: r0+c.top1 > r0.top1}}
"""
PEER = """
import os, sys
os.environ["MLFLOW_TRACKING_URI"] = sys.argv[1]
from ablate import Report
from ablate.blocks import Table
from ablate.exporters import Markdown
from ablate.queries import Metric, Param, Query
from ablate.sources import MLflow
runs = MLflow("reported", None).load()
means = Query(runs).groupby(Param("cell")).aggregate("mean").all()
columns = [Param("cell"), Metric("top1", "max"), Metric("top5", "max"), Metric("val_loss", "min")]
Markdown("peer.md").export(Report(means).add(Table(columns=columns)))
"""
PARTS = """
import sys, time
begin = last = time.perf_counter()
def part(name):
    global last
    now = time.perf_counter()
    print(name, now - last)
    last = now
from orchestrator.commands.loading import load_plan
from pathlib import Path
from reports.report import make_report, write_report
part("imports")
plan = load_plan(Path(sys.argv[1]), None, None)
part("plan")
from reports.runs import collect_runs
collect_runs(plan)
part("reading the record")
"""


def make_record(folder: Path, runs: int) -> Path:
    """Write a study of so many trials into `folder` and record all of them there; returns its file."""
    rates = runs // (4 * SEEDS)
    listed = ", ".join(f"r{i}: {{optimizer.lr: {(i + 1) * 1e-5:.5f}}}" for i in range(rates))
    file = folder / "reported.yaml"
    text = STUDY.format(plugin=HERE / "noop.py", rates=listed, seeds=SEEDS, epochs=EPOCHS)
    one = folder / "one.yaml"
    one.write_text(text.split("factors:")[0] + "seeds: 1\n", encoding="utf-8")
    ablate(folder, "run", str(one), "--executor", "inline")
    one.unlink()
    file.write_text(text, encoding="utf-8")
    copy_run(folder, file)
    return file


def copy_run(folder: Path, file: Path) -> None:
    """Copy the only run in the record for every trial of the study, with random numbers as its metrics."""
    from experiments import expand, load_study

    plan = expand(load_study(file))
    draw = np.random.default_rng(0)
    with sqlite3.connect(folder / "mlflow.db") as record:
        run, artifacts = record.execute(
            "SELECT r.run_uuid, r.artifact_uri FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid "
            "WHERE t.key = 'ablate.trial'"
        ).fetchone()
        source = Path(artifacts.removeprefix("file://"))
        original = json.loads((source / "trial.json").read_text())
        rows = {table: _rows(record, table, run) for table in ("runs", "tags", "params", "latest_metrics", "metrics")}
        made: dict[str, list[tuple[Any, ...]]] = {table: [] for table in rows}
        for i, trial in enumerate(plan.trials):
            copy = f"{i:032x}"
            history = [
                {name: float(value * draw.uniform(0.5, 1)) for name, value in epoch.items()}
                for epoch in original["history"]
            ]
            facts = {
                "trial": trial.id, "study": "reported", "cell": trial.cell, "seed": trial.seed, "history": history,
                "factors": plan.by_name[trial.cell].choice, "recipe": trial.recipe.as_data(),
            }  # fmt: skip
            target = Path(str(source).replace(run, copy))
            target.mkdir(parents=True)
            (target / "trial.json").write_text(json.dumps(original | facts, indent=1))
            said = {"ablate.trial": trial.id, "ablate.cell": trial.cell, "cell": trial.cell, "seed": str(trial.seed)}
            for table, those in rows.items():
                made[table] += [_copied(row, run, copy, said, history) for row in those]
        for table, those in made.items():
            marks = ", ".join("?" * len(those[0]))
            record.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", those)


def _rows(record: sqlite3.Connection, table: str, run: str) -> list[dict[str, Any]]:
    columns = [column[1] for column in record.execute(f"PRAGMA table_info({table})")]
    found = record.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (run,)).fetchall()
    return [dict(zip(columns, row, strict=True)) for row in found]


def _copied(
    row: Mapping[str, Any], run: str, copy: str, said: Mapping[str, str], history: list[dict[str, float]]
) -> tuple[Any, ...]:
    changed = {key: value.replace(run, copy) if isinstance(value, str) else value for key, value in row.items()}
    name = row.get("key")
    if name in said:
        changed["value"] = said[name]
    elif "step" in row and 1 <= row["step"] <= len(history) and name in history[row["step"] - 1]:
        changed["value"] = history[row["step"] - 1][name]
    return tuple(changed.values())


def ablate(folder: Path, *arguments: str) -> float:
    """Seconds of a command of `ablate`, which must succeed."""
    return timed([str(ABLATE), *arguments], folder)


def timed(command: list[str], folder: Path) -> float:
    """Seconds of a command that must succeed, run in `folder`."""
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"reports: {command[:3]} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return time.perf_counter() - begin


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "ABLATE_CACHE": str(folder / "cache"), "CUDA_VISIBLE_DEVICES": ""}


def report(folder: Path, file: Path, out: str) -> dict[str, float]:
    """Seconds from the start of the command to the last file of each pattern, and ("") to its end."""
    begin = time.time()
    seconds = ablate(folder, "report", str(file), "--out", out)
    last = {kind: max(path.stat().st_mtime for path in (folder / out).glob(kind)) - begin for kind in KINDS}
    return last | {"": seconds}


def parts(folder: Path, file: Path) -> dict[str, float]:
    """Seconds of each part of what the command does first: imports, plan, reading the record."""
    done = subprocess.run(
        [sys.executable, "-c", PARTS, str(file)], cwd=folder, env=environment(folder),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {name: float(seconds) for name, _, seconds in (line.rpartition(" ") for line in done.stdout.splitlines())}


def peer(folder: Path, python: str) -> float:
    """Seconds that the PyPI package takes for its table."""
    (folder / "peer.py").write_text(PEER)
    return timed([python, "peer.py", f"sqlite:///{folder / 'mlflow.db'}"], folder)


def measure(runs: int, repeats: int, python: str | None, target: float | None) -> None:
    """Print the times for a record of so many runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = make_record(folder, runs)
        ablate(folder, "plan", str(file), "--no-probe")
        found = [report(folder, file, f"out{i}") for i in range(repeats)]
        again = statistics.median(ablate(folder, "report", str(file), "--out", f"out{i}") for i in range(repeats))
        to = {kind: statistics.median(times[kind] for times in found) for kind in found[0]}
        tables = to["tables/*"]
        print(f"\n{runs:,} runs, median of {repeats}:\n\n| what | seconds |\n|---|---|")
        met = f" (target {target:g}: {said(tables <= target)})" if target else ""
        print(f"| `ablate report`, to all its tables | {tables:.2f}{met} |")
        print(f"| the whole command | {to['']:.2f} |")
        for kind, before in zip(KINDS[1:], KINDS, strict=False):
            print(f"| of it {KIND[kind]} | {to[kind] - to[before]:.2f} |")
        for part, seconds in parts(folder, file).items():
            print(f"| of it {part} | {seconds:.2f} |")
        print(f"| the command again, unchanged | {again:.2f} |", flush=True)
        if python:
            theirs = statistics.median(peer(folder, python) for _ in range(repeats))
            ratio = theirs / tables
            print(
                f"| PyPI's ablate, its table | {theirs:.2f}: {ratio:.1f} times as long (target 5: {said(ratio >= 5)}) |"
            )


def said(met: bool) -> str:
    return "met" if met else "missed"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has PyPI's ablate[mlflow] 0.2.3")
    arguments = parser.parse_args()
    print(describe())
    for runs in arguments.runs:
        target = {1_000: 3.0, 10_000: 15.0}.get(runs)
        measure(runs, arguments.repeats, arguments.peer if runs <= 1_000 else None, target)


if __name__ == "__main__":
    main()
