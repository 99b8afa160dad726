"""What orchestration costs: trials that do nothing, run by `ablate run` and by alternatives to it.

    python benchmarks/overhead.py race   [--trials 64] [--repeats 5] [--hydra PYTHON]   # against raw Tune, Hydra, xargs
    python benchmarks/overhead.py scale  [--trials 10000]               # plan and status of a large study
    python benchmarks/overhead.py memory [--trials 1000]                # the driver's memory over many trials

race. A trial of ours is a whole training: one step, one evaluation, a checkpoint, kept weights, all of it recorded in
MLflow (parameters, metrics, artifacts). Every side runs 1 trial and then all of them, both as whole commands. The first
time is its start-up; the difference divided by the number of other trials is the cost of a trial. Ours gets a new
folder and a new record each time. Its cache is filled, as for any command but the first on a machine, whose time is
printed separately. inline: the same in one process, without Ray, one trial at a time. The others record nothing unless
it is said:

raw Tune        tune.Tuner over a function that reports one number, with reuse_actors, two at once, in a process of its
                own; once as it is, and once importing torch in the function, as any training must.
Hydra           multirun of a function that does nothing, with the joblib launcher and two jobs; once as it is, once
                importing torch in the function, and once recording 30 parameters and 6 metrics in MLflow (a record that
                has its tables by then). PYTHON has hydra-core, hydra-joblib-launcher, torch and mlflow.
xargs -P2       a script that imports torch, once per trial.

Targets: at most 30 ms per trial and 3 s of start-up more than raw Tune; faster than Hydra with joblib; at least 5 times
faster than xargs. `plan` of 10,000 trials in less than 2 s and 500 MB, `status` of 10,000 recorded ones in less than
2 s; flat memory over 1,000 trials.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import describe

HERE = Path(__file__).resolve().parent
ABLATE = Path(sys.executable).with_name("ablate")
STUDY = """
study: nothing
question: What does a trial cost that does nothing?
plugins: [{plugin}]
recipe:
  dataset: {{kind: noise}}
  architecture: {{kind: linear}}
  optimizer: {{kind: sgd, lr: 0.1}}
  schedule: {{kind: constant}}
  epochs: 1
  batch_size: 8
factors:
  rate: {{{rates}}}
designs:
  - grid: {{rate: [{cells}]}}
seeds: {seeds}
"""
RAW = """
import os, sys
os.environ.update(TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1", RAY_AIR_NEW_OUTPUT="0")
import ray
from ray import tune
ray.init(num_cpus=2, include_dashboard=False, object_store_memory=128 * 2**20, log_to_driver=False)
def nothing(config):
    if {torch}:
        import torch
    tune.report({{"score": 1.0}})
tuner = tune.Tuner(nothing, param_space={{"x": tune.grid_search(list(range(int(sys.argv[1]))))}},
                   tune_config=tune.TuneConfig(reuse_actors=True), run_config=tune.RunConfig(verbose=0))
assert len(tuner.fit()) == int(sys.argv[1])
"""
HYDRA = """
import hydra
@hydra.main(version_base=None)
def nothing(config):
    {does}
nothing()
"""
RECORD = """import mlflow
    with mlflow.start_run():
        mlflow.log_params({f"setting_{i}": i for i in range(30)})
        mlflow.log_metrics({f"metric_{i}": 0.5 for i in range(6)}, step=1)
"""


def study(folder: Path, trials: int, seeds: int = 1) -> Path:
    """Write a study of so many trials that do nothing; returns its file."""
    names = [f"r{i}" for i in range(trials // seeds)]
    # one more than needed, because a factor must have at least two options
    rates = ", ".join(f"r{i}: {{optimizer.lr: {(i + 1) * 1e-5:.5f}}}" for i in range(len(names) + 1))
    text = STUDY.format(plugin=HERE / "noop.py", rates=rates, cells=", ".join(names), seeds=seeds)
    file = folder / "nothing.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def timed(command: list[str], folder: Path, stdin: str | None = None) -> float:
    """Seconds of a command that must succeed, run in `folder`; folders beside each other share a cache."""
    environment = {**os.environ, "ABLATE_CACHE": str(folder.parent / "cache"), "CUDA_VISIBLE_DEVICES": ""}
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, input=stdin, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"overhead: {command[0]} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return seconds


def ours(folder: Path, trials: int) -> float:
    return timed([str(ABLATE), "run", str(study(folder, trials)), "--concurrency", "2"], folder)


def inline(folder: Path, trials: int) -> float:
    return timed([str(ABLATE), "run", str(study(folder, trials)), "--executor", "inline"], folder)


def raw(torch: bool) -> Callable[[Path, int], float]:
    def run(folder: Path, trials: int) -> float:
        (folder / "raw.py").write_text(RAW.format(torch=torch), encoding="utf-8")
        return timed([sys.executable, "raw.py", str(trials)], folder)

    return run


def hydra(python: str, does: str) -> Callable[[Path, int], float]:
    def run(folder: Path, trials: int) -> float:
        (folder / "nothing.py").write_text(HYDRA.format(does=does), encoding="utf-8")
        if does == RECORD:
            # of two processes that make MLflow's tables at once, one fails
            timed([python, "-c", "import mlflow; mlflow.search_experiments()"], folder)
        values = ",".join(map(str, range(trials)))
        flags = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"+x={values}"]
        return timed([python, "nothing.py", "--multirun", *flags], folder)

    return run


def xargs(folder: Path, trials: int) -> float:
    numbers = "\n".join(map(str, range(trials)))
    return timed(["xargs", "-P2", "-n1", sys.executable, "-c", "import torch"], folder, numbers)


def race(trials: int, repeats: int, python: str | None) -> None:
    """Let all sides run in turns, and print their table."""
    sides: dict[str, Callable[[Path, int], float]] = {
        "ablate run": ours,
        "ablate run, inline": inline,
        "raw Tune": raw(torch=False),
        "raw Tune, torch imported": raw(torch=True),
        "xargs -P2": xargs,
    }
    if python:
        sides["Hydra, joblib"] = hydra(python, "pass")
        sides["Hydra, torch imported"] = hydra(python, "import torch")
        sides["Hydra, recorded in MLflow"] = hydra(python, RECORD)
    else:
        print("Hydra is left out: expected --hydra PYTHON, an interpreter that has it")
    one: dict[str, list[float]] = {name: [] for name in sides}
    many: dict[str, list[float]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as place:

        def clean() -> Path:
            return Path(tempfile.mkdtemp(dir=place))

        print(f"ablate run, the first on a machine: {ours(clean(), 1):.1f} s", flush=True)
        for repeat in range(repeats):
            for name, run in sides.items():
                for number, found in ((1, one), (trials, many)):
                    found[name].append(run(clean(), number))
                print(f"{repeat + 1}/{repeats} {name}: {one[name][-1]:.1f} s, {many[name][-1]:.1f} s", flush=True)
    first = {name: statistics.median(values) for name, values in one.items()}
    whole = {name: statistics.median(values) for name, values in many.items()}
    each = {name: (whole[name] - first[name]) / (trials - 1) for name in sides}
    print(f"\n| side | 1 trial, s | {trials} trials, s | a further trial, ms |\n|---|---|---|---|")
    for name in sides:
        print(f"| {name} | {first[name]:.1f} | {whole[name]:.1f} | {each[name] * 1000:.0f} |")
    print()
    for name in ("raw Tune", "raw Tune, torch imported"):
        start, more = first["ablate run"] - first[name], 1000 * (each["ablate run"] - each[name])
        print(f"- against {name}: {start:+.1f} s of start-up (target 3: {said(start <= 3)}), ", end="")
        print(f"{more:+.0f} ms a trial (target 30: {said(more <= 30)})")
    ratio = whole["xargs -P2"] / whole["ablate run"]
    print(f"- xargs takes {ratio:.1f} times as long (target 5: {said(ratio >= 5)})")
    for name in [side for side in sides if side.startswith("Hydra")]:
        ratio, alone = whole[name] / whole["ablate run"], whole[name] / whole["ablate run, inline"]
        print(f"- {name}: {ratio:.2f} times as long (target: more than 1: {said(ratio > 1)}); {alone:.2f} times inline")


def scale(trials: int, repeats: int) -> None:
    """Print the time and memory of `plan` and `status` for many trials, none and all of them recorded."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "work")
        folder.mkdir()
        ours(folder, 1)
        file = study(folder, trials, seeds=10)
        timed([str(ABLATE), "plan", str(file)], folder)
        print("| command | recorded | seconds | memory, MB |\n|---|---|---|---|")
        for recorded in (1, trials):
            if recorded > 1:
                fill_record(folder, file)
            for command in ("plan", "status"):
                seconds = [timed([str(ABLATE), command, str(file)], folder) for _ in range(repeats)]
                print(f"| {command} | {recorded:,} | {statistics.median(seconds):.2f} | {peak(folder, command):.0f} |")


def peak(folder: Path, command: str) -> float:
    """The most memory that the command takes, in MB."""
    environment = {**os.environ, "ABLATE_CACHE": str(folder.parent / "cache")}
    asked = [str(ABLATE), command, str(folder / "nothing.yaml")]
    # started by a small process, because a child's peak includes what its parent held when it was forked
    script = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *asked], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout) / 1024


def fill_record(folder: Path, file: Path) -> None:
    """Copy the only run in the record for every trial of the study, with its tags and its file `trial.json`."""
    listed = subprocess.run(
        [str(ABLATE), "plan", str(file), "--json"], cwd=folder, capture_output=True, text=True, check=True,
        env={**os.environ, "ABLATE_CACHE": str(folder.parent / "cache")},
    )  # fmt: skip
    import json

    ids = [trial["id"] for trial in json.loads(listed.stdout)["trials"]]
    with sqlite3.connect(folder / "mlflow.db") as record:
        run, artifacts = record.execute(
            "SELECT r.run_uuid, r.artifact_uri FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid "
            "WHERE t.key = 'ablate.trial'"
        ).fetchone()
        for table in ("runs", "tags", "params", "latest_metrics", "metrics"):
            columns = [column[1] for column in record.execute(f"PRAGMA table_info({table})")]
            rows = [dict(zip(columns, row, strict=True)) for row in _rows(record, table, run)]
            marks = ", ".join("?" * len(columns))
            for i, trial in enumerate(ids):
                copies = [_changed(row, run, f"{i:032x}", trial) for row in rows]
                record.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", copies)
    source = Path(artifacts.removeprefix("file://"))
    for i in range(len(ids)):
        target = Path(str(source).replace(run, f"{i:032x}"))
        target.mkdir(parents=True)
        shutil.copy(source / "trial.json", target)


def _rows(record: sqlite3.Connection, table: str, run: str) -> list[tuple[object, ...]]:
    return record.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (run,)).fetchall()


def _changed(row: dict[str, object], run: str, copy: str, trial: str) -> tuple[object, ...]:
    changed = {k: v.replace(run, copy) if isinstance(v, str) else v for k, v in row.items()}
    if changed.get("key") == "ablate.trial":
        changed["value"] = trial
    return tuple(changed.values())


def memory(trials: int) -> None:
    """Print the driver's resident memory while trials end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "work")
        folder.mkdir()
        command = [str(ABLATE), "run", str(study(folder, trials)), "--concurrency", "2"]
        environment = {**os.environ, "ABLATE_CACHE": str(folder.parent / "cache"), "CUDA_VISIBLE_DEVICES": ""}
        print("| trials ended | driver's memory, MB |\n|---|---|")
        with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            ended = 0
            for line in process.stdout:
                ended += line.startswith("[")
                if line.startswith("[") and (ended in (1, 10) or ended % (trials // 10) == 0):
                    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                    print(f"| {ended} | {pages * resource.getpagesize() / 2**20:.0f} |", flush=True)


def said(met: bool) -> str:
    return "met" if met else "missed"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=["race", "scale", "memory"])
    parser.add_argument("--trials", type=int)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--hydra", metavar="PYTHON", help="an interpreter that has Hydra and its joblib launcher")
    arguments = parser.parse_args()
    print(describe())
    if arguments.part == "race":
        race(arguments.trials or 64, arguments.repeats, arguments.hydra)
    elif arguments.part == "scale":
        scale(arguments.trials or 10_000, arguments.repeats)
    else:
        memory(arguments.trials or 1_000)


if __name__ == "__main__":
    main()
