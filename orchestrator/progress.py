"""The live display: a bar and the running trials in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from experiments.plan import Trial
from experiments.trial import Result
from trainer.recorder import Epoch


@dataclass
class _Running:
    trial: Trial
    epoch: int = 0
    metrics: Epoch = field(default_factory=dict)


class Progress:
    """Shows the trials of one `ablate run`; use as a context manager."""

    def __init__(self, console: Console, title: str, trials: Sequence[Trial]) -> None:
        self.console = console
        self.title = title
        self.total = len(trials)
        self.epochs_left = sum(trial.recipe.epochs for trial in trials)
        self.epochs_done = 0
        self.ended = 0
        self.failed = 0
        self.running: dict[str, _Running] = {}
        self.begin = time.monotonic()
        self.first_report: float | None = None
        self.first_pace = 0.0
        self.live = Live(self, console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> Progress:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.stop()

    def started(self, trial: Trial) -> None:
        """A worker has taken up a trial."""
        self.running[trial.id] = _Running(trial)

    def epoch(self, trial: Trial, number: int, metrics: Epoch) -> None:
        """A running trial has ended an epoch; of a resumed one, the epochs before count as done."""
        running = self.running.setdefault(trial.id, _Running(trial))
        self.epochs_left -= number - running.epoch
        self.epochs_done += 1
        if self.first_report is None:
            self.first_report = time.monotonic()
            self.first_pace = metrics["epoch_seconds"] / len(self.running)
        running.epoch, running.metrics = number, metrics

    def finished(self, trial: Trial, result: Result) -> None:
        """An attempt has ended: one line stays on the screen."""
        running = self.running.pop(trial.id, _Running(trial))
        self.epochs_left -= trial.recipe.epochs - running.epoch
        self.ended += 1
        counter = f"[{self.ended:>{len(str(self.total))}}/{self.total}]"
        name = f"{trial.cell} seed {trial.seed}"
        if result.status == "finished":
            top1 = result.history[-1]["top1"]
            line = f"{counter} {name}  top-1 {top1:.4f}  {result.seconds:.1f} s"
            self.console.print(line + self._eta(", "), style="", highlight=False, markup=False)
        else:
            self.failed += 1
            self.console.print(f"{counter} {name}  FAILED: {result.reason}", style="red", highlight=False, markup=False)
            if result.log:
                self.console.print(f"        log: {result.log}", highlight=False, markup=False, soft_wrap=True)

    def _eta(self, before: str = "") -> str:
        if not self.epochs_left or self.first_report is None:
            return ""
        # from the first report on, so that the workers' start does not count as training
        measured = self.epochs_done - 1
        pace = (time.monotonic() - self.first_report) / measured if measured >= 3 else self.first_pace
        return f"{before}{_clock(pace * self.epochs_left)} left"

    def __rich__(self) -> RenderableType:
        """The bar and a line for each running trial."""
        bar = Table.grid(padding=(0, 1))
        share = self.epochs_done / max(1, self.epochs_done + self.epochs_left)
        failed = Text(f"{self.failed} failed", style="red") if self.failed else Text("")
        elapsed = _clock(time.monotonic() - self.begin)
        bar.add_row(
            Text(self.title, style="bold"),
            ProgressBar(total=1.0, completed=share, width=36),
            Text(f"{self.ended}/{self.total} trials"),
            Text(elapsed, style="dim"),
            Text(self._eta() or "starting", style="cyan"),
            failed,
        )
        rows = Table.grid(padding=(0, 2))
        for running in list(self.running.values()):
            rows.add_row(*self._row(running))
        return Group(bar, rows)

    def _row(self, running: _Running) -> list[Any]:
        metrics = running.metrics
        numbers = f"top-1 {metrics['top1']:.4f}  loss {metrics['train_loss']:.4f}" if metrics else ""
        return [
            Text(f"  {running.trial.cell}", style="bold"),
            Text(f"seed {running.trial.seed}"),
            Text(f"epoch {running.epoch}/{running.trial.recipe.epochs}"),
            Text(numbers, style="dim"),
        ]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
