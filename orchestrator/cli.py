"""`ablate`: parses arguments and calls commands. Each command imports the heavy packages that it needs."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path

import click

from trainer.garbage import collect_seldom

from .exits import Commands
from .output import flush, open_what_is_closed, replace_unknown_letters
from .signals import ignore_from_now_on

STUDY = click.argument("study", type=click.Path(path_type=Path))
CONCURRENCY = click.option(
    "--concurrency", type=int, metavar="N", help="Trials at once (default: as many as there is room for)."
)
GPU = click.option(
    "--gpu", type=float, metavar="SHARE", help="Fraction of a GPU for each trial, 0 to 1 (default: as measured)."
)
EXECUTOR = click.option(
    "--executor",
    type=click.Choice(["ray", "inline"]),
    default="ray",
    show_default=True,
    help="Ray Tune's workers, or one trial after the other in this process.",
)
ADDRESS = click.option("--address", metavar="RAY", help="Join a running Ray cluster.")
RETRIES = click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="New attempts at a trial whose worker died, hung or met an error that may pass.",
)
PROFILE = click.option("--profile", metavar="NAME", help="Apply one of the study's profiles, such as demo.")
SEEDS = click.option(
    "--seeds",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="Replicates of each cell, under seeds 0 to N - 1, instead of the study's.",
)
PLUGIN = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Load the options of this plugin as well; may be repeated.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def command() -> None:
    """The program `ablate`: runs `main`, then leaves at once, as Python would take long to unload Ray and MLflow."""
    collect_seldom()
    open_what_is_closed()
    replace_unknown_letters()
    try:
        main()
    except SystemExit as end:
        ignore_from_now_on()
        atexit._run_exitfuncs()
        flush()
        os._exit(end.code if isinstance(end.code, int) else 0)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ablation-orchestrator", prog_name="ablate")
def main() -> None:
    """Run ablation studies for image classification and print their tables."""


@main.command()
@STUDY
@PROFILE
@SEEDS
@click.option(
    "--probe/--no-probe",
    default=None,
    help="Measure a few steps of what has never run on this machine, to tell the cost (default: yes, with --json no).",
)
@JSON
def plan(study: Path, profile: str | None, seeds: int | None, probe: bool | None, as_json: bool) -> None:
    """Show what STUDY would run, and what it costs.

    A line for each cell; what is done, running elsewhere, to resume or left out; when it would end.
    """
    from .commands import plan as command

    command.show(study, profile, seeds, probe, as_json)


@main.command()
@STUDY
@PROFILE
@SEEDS
@CONCURRENCY
@GPU
@EXECUTOR
@ADDRESS
@RETRIES
def run(
    study: Path,
    profile: str | None,
    seeds: int | None,
    concurrency: int | None,
    gpu: float | None,
    executor: str,
    address: str | None,
    retries: int,
) -> None:
    """Train what STUDY lacks, record it, report.

    Everything is recorded in MLflow as it happens. After an interruption, the same command goes on.
    """
    from .commands import run as command
    from .terms import Terms

    sys.exit(command.run(study, profile, seeds, Terms(concurrency, gpu, executor, address, retries)))


@main.command()
@STUDY
@PROFILE
@click.option(
    "--trials", type=click.IntRange(min=1), metavar="N", help="Configurations to try, instead of the study's."
)
@click.option("--name", metavar="NAME", help="Search under another name than the study's, with a memory of its own.")
@click.option(
    "--emit",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a study of the winner: which of its choices mattered?",
)
@CONCURRENCY
@GPU
@EXECUTOR
@ADDRESS
@RETRIES
def search(
    study: Path,
    profile: str | None,
    trials: int | None,
    name: str | None,
    emit: Path | None,
    concurrency: int | None,
    gpu: float | None,
    executor: str,
    address: str | None,
    retries: int,
) -> None:
    """Find good settings for STUDY's recipe.

    Optuna suggests them in the ranges of its search section; all is recorded as by `ablate run`. After an interruption,
    the same command goes on.
    """
    from .commands import search as command
    from .terms import Terms

    terms = Terms(concurrency, gpu, executor, address, retries)
    sys.exit(command.run(study, profile, trials, name, emit, terms))


@main.command()
@STUDY
@PROFILE
@SEEDS
@JSON
def status(study: Path, profile: str | None, seeds: int | None, as_json: bool) -> None:
    """Show where each cell of STUDY stands in the record."""
    from .commands import status as command

    command.show(study, profile, seeds, as_json)


@main.command()
@STUDY
@PROFILE
@SEEDS
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Folder to write to.")
@click.option("--allow-partial", is_flag=True, help="Report although trials are missing, and say so.")
@click.option(
    "--allow-mixed",
    is_flag=True,
    help="Report although trials differ in their data, their code or their epochs by no factor, and say so.",
)
@click.option("--watch", is_flag=True, help="Write it again whenever a trial ends or STUDY changes, until all ended.")
def report(
    study: Path,
    profile: str | None,
    seeds: int | None,
    out: Path | None,
    allow_partial: bool,
    allow_mixed: bool,
    watch: bool,
) -> None:
    """Write STUDY's tables and figures from the record.

    What has not changed since the last time is not written again.
    """
    from .commands import report as command

    if watch:
        sys.exit(command.watch(study, profile, seeds, out, allow_mixed))
    command.write(study, profile, seeds, out, allow_partial, allow_mixed)


@main.command()
@click.argument("trial", metavar="TRIAL")
@click.option("--follow", "-f", is_flag=True, help="Go on printing what is added, until Ctrl-C.")
def logs(trial: str, follow: bool) -> None:
    """Print what TRIAL has logged.

    Its epochs and, where it failed, the traceback. TRIAL is a trial id (the column `trial` of results.csv) or its first
    digits. Of a trial that ran on several data, the newest log.
    """
    from .commands import logs as command

    command.show(trial, follow)


@main.command()
@click.argument("run", metavar="RUN")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("predictions.csv"),
    show_default=True,
    metavar="FILE",
    help="File to write.",
)
def predict(run: str, folder: Path, out: Path) -> None:
    """Name the classes of FOLDER's images by RUN's weights.

    RUN is a trial id (the column `trial` of results.csv) or an MLflow run id. The file has a row an image: its path
    below FOLDER, the class as its folder was called, the probability. Of images in folders named as the classes, it
    says how many are right. Images that can't be decoded are left out and named, and the exit code is 1.
    """
    from .commands import predict as command

    sys.exit(command.write(run, folder, out))


@main.command()
@click.argument("kind", required=False)
@PLUGIN
@JSON
def options(kind: str | None, plugins: tuple[Path, ...], as_json: bool) -> None:
    """List what recipes are made of, or explain KIND.

    KIND: an option, such as mixup, or all of a kind, such as schedules; with settings, defaults and sources.
    """
    from .commands import options as command

    command.show(kind, plugins, as_json)


@main.command()
@PLUGIN
def schema(plugins: tuple[Path, ...]) -> None:
    """Print the JSON Schema of a study, for editors."""
    from .commands import schema as command

    command.show(plugins)


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port on 127.0.0.1.")
def ui(port: int) -> None:
    """Serve MLflow's page over the record, on 127.0.0.1."""
    from .commands import ui as command

    command.serve(port)


@main.command()
@click.argument("study", required=False, type=click.Path(path_type=Path))
@PROFILE
@JSON
def doctor(study: Path | None, profile: str | None, as_json: bool) -> None:
    """Check this machine, the record and STUDY's data.

    Says of everything that is not as it should be what to do about it. Exit code 1 if `ablate run` would fail.
    """
    from .commands import doctor as command

    sys.exit(command.show(study, profile, as_json))


if __name__ == "__main__":
    command()
