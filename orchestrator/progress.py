"""The live display: a bar and the running trials in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from math import isfinite, nan

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from experiments.job import Result
from experiments.plan import Trial
from experiments.tracking.uris import shown_uri
from trainer.metrics import is_final
from trainer.recorder import Epoch
from trainer.stopping import value_so_far

from .clock import clock, took
from .display import Running, bar_line, running_lines
from .estimates.eta import Estimate, Expected

_PAUSE = 0.25
"""Least seconds between two calls of `tell` while the same trials run: the estimate takes longer, the more is left."""


class Progress:
    """Shows the trials of one `ablate run`; use as a context manager.

    tell: is called with the time at which the last trial is expected to end (seconds since the epoch) and with the
    share of the machine of each running trial, by its id; at once when other trials run, else every `_PAUSE` at most.
    metric: what the line of a trial that has ended says of it.
    """

    def __init__(
        self,
        console: Console,
        title: str,
        trials: Sequence[Trial],
        estimate: Estimate,
        tell: Callable[[float | None, Mapping[str, str]], None] = lambda ends, shares: None,
        metric: str = "top1",
    ) -> None:
        self.console = console
        self.tell = tell
        self.estimate = estimate
        self.title = title
        self.metric = metric
        self.may_grow = False
        """Whether more trials may come than are known so far."""

        self.total = len(trials)
        self.epochs_left = sum(trial.recipe.epochs for trial in trials)
        self.epochs_done = 0
        self.ended = 0
        self.failed = 0
        self.running: dict[str, Running] = {}
        self.begin = time.monotonic()
        self.told: tuple[float, set[str]] = (-_PAUSE, set())
        """When `tell` was called last, and with which running trials."""

        self.said: set[str] = set()

        self.live = Live(self, console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def add(self, trials: Sequence[Trial]) -> None:
        """Count these trials in: they will be trained as well."""
        self.total += len(trials)
        self.epochs_left += sum(trial.recipe.epochs for trial in trials)
        self.estimate.add(trials)

    def expect(self, number: int, like: Trial) -> None:
        """Expect `number` further trials like this one, instead of those expected before."""
        before = self.estimate.expected
        self.total += number - before.number
        self.epochs_left += like.recipe.epochs * number - before.epochs
        self.estimate.expected = Expected(number, like)

    def __enter__(self) -> Progress:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.stop()

    def started(self, trial: Trial, share: str) -> None:
        """A worker has taken up a trial, with this share of the machine."""
        self.running[trial.id] = Running(trial, share)
        self.estimate.started(trial)
        self._tell()

    def epoch(self, trial: Trial, number: int, metrics: Epoch) -> None:
        """A running trial has ended an epoch; if it was resumed, its earlier epochs now count as done."""
        running = self.running.setdefault(trial.id, Running(trial))
        self.epochs_left -= number - running.epoch
        self.epochs_done += 1
        self.estimate.epoch(trial, number, metrics["epoch_seconds"])
        running.epoch, running.metrics = number, metrics
        self._tell()

    def finished(self, trial: Trial, result: Result, *, elsewhere: bool = False) -> None:
        """A trial has ended, here or on another machine: print a line that stays on the screen."""
        running = self.running.pop(trial.id, Running(trial))
        self.epochs_left -= trial.recipe.epochs - running.epoch
        self.estimate.ended(trial)
        self.ended += 1
        counter = f"[{self.ended:>{len(str(self.total))}}/{self.total}]"
        name = f"{trial.cell} seed {trial.seed}"
        where = " elsewhere" if elsewhere else ""
        if result.status == "finished":
            line = f"{counter} {name}  {self._reached(trial, result)}  {took(result.seconds)}{where}"
            self.console.print(line + self._eta(", "), style="")
        elif result.status == "pruned":
            line = f"{counter} {name}  {result.reason}: {self._reached(trial, result)}"
            self.console.print(line + self._eta(", "), style="dim")
        else:
            self.failed += 1
            line = f"{counter} {name}  FAILED{where}: {result.reason}"
            self.console.print(line, style="red")
            if result.log:
                self.console.print(f"        log: {result.log}")

    def _reached(self, trial: Trial, result: Result) -> str:
        """What a trial has come to; its top-1, if it has no such metric."""
        final = result.final.get(self.metric, nan)
        value = final if is_final(self.metric) else value_so_far(self.metric, result.history, trial.recipe.select)
        name = self.metric if isfinite(value) else "top1"
        value = value if isfinite(value) else result.history[-1]["top1"]
        return f"{'top-1' if name == 'top1' else name} {value:.4f}"

    def retried(self, trial: Trial, what: str) -> None:
        """An attempt is over, and another goes on from the last saved epoch. what: says what became of this one."""
        running = self.running.pop(trial.id, Running(trial))
        # the next attempt counts these epochs again with its first report
        self.epochs_left += running.epoch
        self.estimate.ended(trial, again=True)
        self.console.print(f"{trial.cell} seed {trial.seed}  {what}", style="yellow")

    def say(self, line: str) -> None:
        """Print a line that concerns the whole run."""
        self.console.print(line)

    def say_once(self, line: str) -> None:
        """Print a line that concerns the whole run, unless it was printed before."""
        if line not in self.said:
            self.said.add(line)
            self.say(line)

    def record(self, what: str) -> None:
        """Print that the record is away, or back."""
        self.console.print(f"the record at {shown_uri()} {what}", style="yellow")

    def _tell(self) -> None:
        at, trials = self.told
        if trials == self.running.keys() and time.monotonic() < at + _PAUSE:
            return
        self.told = time.monotonic(), set(self.running)
        left = self.estimate.remaining()
        shares = {id: running.share for id, running in self.running.items()}
        self.tell(time.time() + left if left is not None else None, shares)

    def _eta(self, before: str = "") -> str:
        left = self.estimate.remaining()
        known = " of what is known" if self.may_grow else ""
        return f"{before}{clock(left)} left{known}" if left is not None else ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        share = self.epochs_done / max(1, self.epochs_done + self.epochs_left)
        texts = {
            "title": Text(self.title, style="bold"),
            "bar": Text(),
            "trials": Text(f"{self.ended}/{self.total} trials" if self.total else ""),
            "elapsed": Text(clock(time.monotonic() - self.begin), style="dim"),
            "left": Text(self._eta() or ("" if self.ended else "starting"), style="cyan"),
            "failed": Text(f"{self.failed} failed" if self.failed else "", style="red"),
        }
        yield bar_line(share, texts, options.max_width)
        yield from running_lines(list(self.running.values()), options.max_width, options.size.height)
