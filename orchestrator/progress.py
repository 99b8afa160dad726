"""The live display: a bar and the running trials in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from experiments.job import Result
from experiments.plan import Trial
from experiments.tracking.uris import shown_uri
from trainer.recorder import Epoch

from .clock import clock, took
from .estimates.eta import Estimate, Expected

_PAUSE = 0.25
"""Least seconds between two calls of `tell` while the same trials run: the estimate takes longer, the more is left."""

_WIDTH, _LEAST = 36, 8
"""Columns of the bar where there is room, and the fewest before something else gives way to it."""

_SHORTEST = 4
"""Columns to which the name of a cell is shortened at most."""

_ABOVE = 6
"""Lines of the screen that running trials leave to what has been printed."""

_GIVE_WAY = ("loss", "share")
"""What a line on a running trial leaves out, in this order, where a terminal is narrow."""


@dataclass
class _Running:
    trial: Trial
    share: str = ""
    epoch: int = 0
    metrics: Epoch = field(default_factory=dict)


class Progress:
    """Shows the trials of one `ablate run`; use as a context manager.

    tell: is called with the time at which the last trial is expected to end (seconds since the epoch) and with the
    share of the machine of each running trial, by its id; at once when other trials run, else every `_PAUSE` at most.
    """

    def __init__(
        self,
        console: Console,
        title: str,
        trials: Sequence[Trial],
        estimate: Estimate,
        tell: Callable[[float | None, Mapping[str, str]], None] = lambda ends, shares: None,
    ) -> None:
        self.console = console
        self.tell = tell
        self.estimate = estimate
        self.title = title
        self.may_grow = False
        """Whether more trials may come than are known so far."""

        self.total = len(trials)
        self.epochs_left = sum(trial.recipe.epochs for trial in trials)
        self.epochs_done = 0
        self.ended = 0
        self.failed = 0
        self.running: dict[str, _Running] = {}
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
        self.running[trial.id] = _Running(trial, share)
        self.estimate.started(trial)
        self._tell()

    def epoch(self, trial: Trial, number: int, metrics: Epoch) -> None:
        """A running trial has ended an epoch; if it was resumed, its earlier epochs now count as done."""
        running = self.running.setdefault(trial.id, _Running(trial))
        self.epochs_left -= number - running.epoch
        self.epochs_done += 1
        self.estimate.epoch(trial, number, metrics["epoch_seconds"])
        running.epoch, running.metrics = number, metrics
        self._tell()

    def finished(self, trial: Trial, result: Result, *, elsewhere: bool = False) -> None:
        """A trial has ended, here or on another machine: print a line that stays on the screen."""
        running = self.running.pop(trial.id, _Running(trial))
        self.epochs_left -= trial.recipe.epochs - running.epoch
        self.estimate.ended(trial)
        self.ended += 1
        counter = f"[{self.ended:>{len(str(self.total))}}/{self.total}]"
        name = f"{trial.cell} seed {trial.seed}"
        where = " elsewhere" if elsewhere else ""
        if result.status == "finished":
            top1 = result.history[-1]["top1"]
            line = f"{counter} {name}  top-1 {top1:.4f}  {took(result.seconds)}{where}"
            self.console.print(line + self._eta(", "), style="", highlight=False, markup=False)
        elif result.status == "pruned":
            line = f"{counter} {name}  {result.reason}: top-1 {result.history[-1]['top1']:.4f}"
            self.console.print(line + self._eta(", "), style="dim", highlight=False, markup=False)
        else:
            self.failed += 1
            line = f"{counter} {name}  FAILED{where}: {result.reason}"
            self.console.print(line, style="red", highlight=False, markup=False)
            if result.log:
                self.console.print(f"        log: {result.log}", highlight=False, markup=False, soft_wrap=True)

    def retried(self, trial: Trial, what: str) -> None:
        """An attempt is over, and another goes on from the last saved epoch. what: says what became of this one."""
        running = self.running.pop(trial.id, _Running(trial))
        # the next attempt counts these epochs again with its first report
        self.epochs_left += running.epoch
        self.estimate.ended(trial, again=True)
        self.console.print(f"{trial.cell} seed {trial.seed}  {what}", style="yellow", highlight=False, markup=False)

    def say(self, line: str) -> None:
        """Print a line that concerns the whole run."""
        self.console.print(line, highlight=False, markup=False)

    def say_once(self, line: str) -> None:
        """Print a line that concerns the whole run, unless it was printed before."""
        if line not in self.said:
            self.said.add(line)
            self.say(line)

    def record(self, what: str) -> None:
        """Print that the record is away, or back."""
        self.console.print(f"the record at {shown_uri()} {what}", style="yellow", highlight=False, markup=False)

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
        """The bar and a line for each running trial, none wider than the terminal, and all within its height."""
        yield self._bar(options.max_width)
        running = list(self.running.values())
        room = max(1, options.size.height - _ABOVE)
        shown = running if len(running) <= room else running[: room - 1]
        if shown:
            yield _lines(shown, options.max_width)
        if len(shown) < len(running):
            yield Text(f"  and {len(running) - len(shown)} more", style="dim", no_wrap=True)

    def _bar(self, width: int) -> Table:
        """How far all is; where it is narrow, without the title, then without the time since the beginning."""
        texts = {
            "title": Text(self.title, style="bold"),
            "bar": Text(),
            "trials": Text(f"{self.ended}/{self.total} trials" if self.total else ""),
            "elapsed": Text(clock(time.monotonic() - self.begin), style="dim"),
            "left": Text(self._eta() or ("" if self.ended else "starting"), style="cyan"),
            "failed": Text(f"{self.failed} failed" if self.failed else "", style="red"),
        }
        for name in ("", "title", "elapsed"):
            texts.pop(name, None)
            space = width - sum(text.cell_len + 1 for text in texts.values() if text)
            if space >= _LEAST:
                break
        share = self.epochs_done / max(1, self.epochs_done + self.epochs_left)
        bar = ProgressBar(total=1.0, completed=share, width=max(1, min(_WIDTH, space)))
        return _on_one_line(
            [[bar if name == "bar" else text for name, text in texts.items() if text or name == "bar"]], 1
        )


def _lines(shown: Sequence[_Running], width: int) -> Table:
    """A line for each of these trials, with as much of it as fits; the cell's name is shortened last."""
    columns = {
        "cell": [Text(f"  {running.trial.cell}", style="bold") for running in shown],
        "seed": [Text(f"seed {running.trial.seed}") for running in shown],
        "share": [Text(running.share, style="dim") for running in shown],
        "epoch": [Text(f"epoch {running.epoch}/{running.trial.recipe.epochs}") for running in shown],
        "top1": [_number("top-1", running.metrics.get("top1")) for running in shown],
        "loss": [_number("loss", running.metrics.get("train_loss")) for running in shown],
    }
    for name in _GIVE_WAY:
        if sum(max(text.cell_len for text in column) + 2 for column in columns.values()) - 2 > width:
            del columns[name]
    others = sum(max(text.cell_len for text in column) + 2 for name, column in columns.items() if name != "cell")
    for text in columns["cell"]:
        text.truncate(max(_SHORTEST, width - others), overflow="ellipsis")
    return _on_one_line(zip(*columns.values(), strict=True), 2)


def _number(name: str, value: float | None) -> Text:
    return Text(f"{name} {value:.4f}" if value is not None else "", style="dim")


def _on_one_line(rows: Iterable[Iterable[RenderableType]], gap: int) -> Table:
    """These rows in columns, none of which becomes a paragraph where it is narrow."""
    table = Table.grid(padding=(0, gap, 0, 0))
    for row in rows:
        cells = list(row)
        while len(table.columns) < len(cells):
            table.add_column(no_wrap=True)
        table.add_row(*cells)
    return table
