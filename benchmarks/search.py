"""What a search finds and costs: TPE with ASHA against the whole grid, and against Optuna and Ray alone.

    python benchmarks/search.py grid     [--seeds 5]                   # as good as the grid, with how many epochs?
    python benchmarks/search.py overhead [--trials 100] [--repeats 3]  # a trial, against Optuna's own optimize
    python benchmarks/search.py noop     [--trials 200] [--repeats 3]  # whole commands, against Tune's OptunaSearch

grid. A ResNet of four blocks on digits at 16 px. The grid is all combinations of learning rate, momentum and batch
size, each trained once by `ablate run`; its best is taken as the optimum. A search has the ranges that the grid spans
and a budget of configurations, and does not see the grid's record. It is judged by the best value that it finds and by
the epochs that it trains; a configuration that was ended early counts with the epochs that it had.

overhead. Both sides run the same empty training (see noop.py) in one process, one after the other, for --trials
configurations, with TPE and an SQLite file: Optuna's own `optimize` over a function that trains, and
`ablate search --executor inline`, which also records everything in MLflow. Start and report don't count: the cost of a
trial is the time from the end of the first configuration to that of the last, divided by the configurations between.

noop. Whole commands: `ablate search` on Ray with --trials empty trainings, and `tune.Tuner` with `OptunaSearch` over a
function that imports torch and reports one number, two at once, with reuse_actors. Raw Tune records nothing.

Targets: within 0.5 points of the grid's best with at most a quarter of its epochs (median over the seeds); at most
50 ms a trial more than `optimize`; at most 1.2 times raw Tune with OptunaSearch.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe

HERE = Path(__file__).resolve().parent
ABLATE = [sys.executable, "-m", "orchestrator.cli"]
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
MOMENTA = (0.0, 0.6, 0.9)
BATCHES = (32, 64, 128)
GRID = """
study: grid
question: Which settings of the grid are best?
recipe:
  dataset: {{kind: digits, image_size: 16}}
  architecture: {{kind: resnet, block: basic, layers: [1, 1, 1, 1], width: 8, tweak: A}}
  optimizer: {{kind: sgd, lr: 0.01, momentum: 0.0}}
  numerics: {{precision: fp32}}
  epochs: {epochs}
  batch_size: 64
"""
FACTORS = """
factors:
  lr: {{{rates}}}
  momentum: {{{momenta}}}
  batch: {{{batches}}}
designs: [{{grid: [lr, momentum, batch]}}]
"""
SEARCH = """
search:
  sample:
    optimizer.lr: {{loguniform: [{low}, {high}]}}
    optimizer.momentum: {{uniform: [0.0, 0.9]}}
    batch_size: {{int: [32, 128], log: true}}
  objective: top1
  budget: {{trials: {trials}}}
  pruning: {{kind: asha, factor: 3}}
  confirm: 2
  seed: {seed}
"""
EMPTY = """
study: nothing
question: What does a configuration cost that does nothing?
plugins: [{plugin}]
recipe:
  dataset: {{kind: noise}}
  architecture: {{kind: linear}}
  optimizer: {{kind: sgd, lr: 0.1}}
  epochs: 1
  batch_size: 8
search:
  sample:
    optimizer.lr: {{loguniform: [0.0001, 1.0]}}
    optimizer.momentum: {{uniform: [0.0, 0.9]}}
  objective: train_loss
  budget: {{trials: {trials}}}
  confirm: 2
"""
RAW = """
import os, sys
os.environ.update(TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1", RAY_AIR_NEW_OUTPUT="0")
import ray
from ray import tune
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch
ray.init(num_cpus=2, include_dashboard=False, object_store_memory=128 * 2**20, log_to_driver=False)
def nothing(config):
    import torch
    tune.report({"loss": config["lr"]})
search = OptunaSearch(metric="loss", mode="min", study_name="nothing")
tuner = tune.Tuner(nothing, param_space={"lr": tune.loguniform(1e-4, 1.0), "momentum": tune.uniform(0.0, 0.9)},
                   tune_config=tune.TuneConfig(search_alg=ConcurrencyLimiter(search, 2), num_samples=int(sys.argv[1]),
                                               reuse_actors=True),
                   run_config=tune.RunConfig(verbose=0))
assert len(tuner.fit()) == int(sys.argv[1])
"""


def run(command: list[str], folder: Path) -> float:
    """Seconds of a command that must succeed, run in `folder`."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(HERE.parent)}
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"search: {' '.join(command[:4])} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return time.perf_counter() - begin


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))


def halved(epochs: int) -> float:
    """Epochs that a configuration gets on average if one in three goes on after epochs 1, 3, 9, ...

    A search takes about 1.9 times as many: it finds ever better configurations and does not wait for others, so it
    ends fewer.
    """
    rungs = [3**power for power in range(10) if 3**power < epochs] + [epochs]
    before = [0, *rungs]
    return sum((rung - before[index]) / 3**index for index, rung in enumerate(rungs))


def grid(seeds: int, epochs: int, quick: bool) -> None:
    """Print the grid's best and, for each sampler seed, what a search finds with about a quarter of its epochs."""
    rates, momenta, batches = (RATES[2:5], MOMENTA[:2], BATCHES[:1]) if quick else (RATES, MOMENTA, BATCHES)
    whole = len(rates) * len(momenta) * len(batches) * epochs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = {
            "rates": ", ".join(f"lr{v}: {{optimizer.lr: {v}}}".replace(".", "_", 1) for v in rates),
            "momenta": ", ".join(f"m{i}: {{optimizer.momentum: {v}}}" for i, v in enumerate(momenta)),
            "batches": ", ".join(f"b{v}: {{batch_size: {v}}}" for v in batches) + (", b: {}" if quick else ""),
        }
        design = FACTORS.format(**options)
        if quick:
            design = design.replace("[lr, momentum, batch]", "[lr, momentum]")
        (folder / "grid.yaml").write_text(GRID.format(epochs=epochs) + design)
        seconds = run([*ABLATE, "run", "grid.yaml"], folder)
        found = [float(row["top1"]) for row in rows(folder / "results/grid/results.csv")]
        best = max(found)
    print(f"grid: {len(found)} configurations, {whole} epochs, {seconds:.0f} s; best top-1 {best:.4f}")
    print(f"its median configuration: {statistics.median(found):.4f}\n")
    print("| seed | best top-1 | points from the grid's best | epochs | of the grid's | s |\n|---|---|---|---|---|---|")
    gaps, shares = [], []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            trials = max(4, int(whole / 4 / (1.9 * halved(epochs))))
            words = SEARCH.format(low=rates[0], high=rates[-1], trials=trials, seed=seed)
            (folder / "grid.yaml").write_text(GRID.format(epochs=epochs) + words)
            seconds = run([*ABLATE, "search", "grid.yaml"], folder)
            told = rows(folder / "results/grid-search/configurations.csv")
            spent = sum(int(row["epochs_trained"] or 0) for row in told)
            top = max(float(row["top1"]) for row in told if row["top1"])
        gaps.append(100 * (best - top))
        shares.append(spent / whole)
        print(f"| {seed} | {top:.4f} | {gaps[-1]:+.2f} | {spent} | {shares[-1]:.0%} | {seconds:.0f} |", flush=True)
    gap, share = statistics.median(gaps), statistics.median(shares)
    print(f"\nmedian: {gap:+.2f} points (target 0.5: {said(gap <= 0.5)}), {share:.0%} (25 %: {said(share <= 0.25)})")


def overhead(trials: int, repeats: int) -> None:
    """Print the cost of a trial in one process, with Optuna's `optimize` and with `ablate search`."""
    ours, theirs = [], []
    for _ in range(repeats):
        for side, found in (("optimize", theirs), ("search", ours)):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                (folder / "nothing.yaml").write_text(EMPTY.format(plugin=HERE / "noop.py", trials=trials))
                run([sys.executable, str(HERE / "search.py"), f"one-{side}", "--trials", str(trials)], folder)
                found.append(float((folder / "each.txt").read_text()))
    print("| side | a trial, ms (median of repeats) |\n|---|---|")
    print(f"| Optuna's optimize | {1000 * statistics.median(theirs):.1f} |")
    print(f"| ablate search, inline | {1000 * statistics.median(ours):.1f} |")
    more = 1000 * (statistics.median(ours) - statistics.median(theirs))
    print(f"\n{more:+.1f} ms a trial (target 50: {said(more <= 50)})")


def one_optimize(trials: int) -> None:
    """Run Optuna's own loop over the empty trainings, in this process and folder."""
    import optuna

    from experiments import load_study
    from experiments.job import make_job
    from experiments.plan import Trial, trial_id
    from experiments.trial import run_trial

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = load_study("nothing.yaml")
    ends: list[float] = []

    def train(trial: optuna.Trial) -> float:
        rate, momentum = trial.suggest_float("lr", 1e-4, 1.0, log=True), trial.suggest_float("momentum", 0.0, 0.9)
        recipe = study.recipe_with({"optimizer.lr": rate, "optimizer.momentum": momentum}, {})
        id = trial_id(recipe, 0)
        result = run_trial(make_job(Trial(id, "", 0, recipe), Path("trials") / id, study.plugins), _Nobody())
        ends.append(time.perf_counter())
        return result.history[-1]["train_loss"]

    sampler = optuna.samplers.TPESampler(seed=0)
    optuna.create_study(storage="sqlite:///optuna.db", sampler=sampler).optimize(train, n_trials=trials)
    Path("each.txt").write_text(str((ends[-1] - ends[0]) / (trials - 1)))


def one_search(trials: int) -> None:
    """Run `ablate search --executor inline` over the empty trainings, in this process and folder."""
    from orchestrator import inline
    from orchestrator.commands.search import load_search
    from orchestrator.output import plain_console
    from orchestrator.run import Terms
    from orchestrator.search.run import run_search

    ends: list[float] = []
    trained = inline.run_trial

    def train(*arguments: object, **named: object) -> object:
        result = trained(*arguments, **named)  # type: ignore[arg-type]
        ends.append(time.perf_counter())
        return result

    inline.run_trial = train  # type: ignore[assignment]
    search = load_search(Path("nothing.yaml"), None, trials, None)
    with Path("out.txt").open("w") as out:
        run_search(search, inline.start, Terms(1), plain_console(file=out), "", prunes=True)
    Path("each.txt").write_text(str((ends[trials - 1] - ends[0]) / (trials - 1)))


class _Nobody:
    def epoch(self, number: int, metrics: dict[str, float]) -> None:
        """Does nothing."""


def noop(trials: int, repeats: int) -> None:
    """Print the times of whole commands."""
    ours, raw = [], []
    for repeat in range(repeats):
        for side, found in (("raw", raw), ("ours", ours)):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                if side == "raw":
                    (folder / "raw.py").write_text(RAW)
                    found.append(run([sys.executable, "raw.py", str(trials)], folder))
                else:
                    (folder / "nothing.yaml").write_text(EMPTY.format(plugin=HERE / "noop.py", trials=trials))
                    found.append(run([*ABLATE, "search", "nothing.yaml", "--concurrency", "2"], folder))
        print(f"{repeat + 1}/{repeats}: raw {raw[-1]:.1f} s, ablate search {ours[-1]:.1f} s", flush=True)
    ratio = statistics.median(ours) / statistics.median(raw)
    print(f"\n{ratio:.2f} times raw Tune with OptunaSearch (target 1.2: {said(ratio <= 1.2)})")


def said(met: bool) -> str:
    return "met" if met else "missed"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=["grid", "overhead", "noop", "one-optimize", "one-search"])
    parser.add_argument("--trials", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=27)
    parser.add_argument("--quick", action="store_true", help="a grid of six, to try it")
    arguments = parser.parse_args()
    if not arguments.part.startswith("one-"):
        print(describe())
    match arguments.part:
        case "grid":
            grid(arguments.seeds, arguments.epochs, arguments.quick)
        case "overhead":
            overhead(arguments.trials or 100, arguments.repeats)
        case "noop":
            noop(arguments.trials or 200, arguments.repeats)
        case "one-optimize":
            one_optimize(arguments.trials)
        case _:
            one_search(arguments.trials)


if __name__ == "__main__":
    main()
