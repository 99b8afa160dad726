"""The lines of the live display, none wider than the terminal, and all within its height."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from experiments.plan import Trial
from trainer.recorder import Epoch

_WIDTH, _LEAST = 36, 8
"""Columns of the bar where there is room, and the fewest before something else gives way to it."""

_SHORTEST = 4
"""Columns to which the name of a cell is shortened at most."""

_ABOVE = 6
"""Lines of the screen that running trials leave to what has been printed."""

_GIVE_WAY = ("loss", "share")
"""What a line on a running trial leaves out, in this order, where a terminal is narrow."""


@dataclass
class Running:
    """A trial that is being trained, and how far it is."""

    trial: Trial
    share: str = ""
    epoch: int = 0
    metrics: Epoch = field(default_factory=dict)


def bar_line(share: float, texts: Mapping[str, Text], width: int) -> Table:
    """How far all is; where it is narrow, without the title, then without the time since the beginning.

    share: of the epochs, that are done. texts: what stands in the line, in its order; `bar` is where the bar goes.
    """
    texts = dict(texts)
    for name in ("", "title", "elapsed"):
        texts.pop(name, None)
        space = width - sum(text.cell_len + 1 for text in texts.values() if text)
        if space >= _LEAST:
            break
    bar = ProgressBar(total=1.0, completed=share, width=max(1, min(_WIDTH, space)))
    return _on_one_line([[bar if name == "bar" else text for name, text in texts.items() if text or name == "bar"]], 1)


def running_lines(running: Sequence[Running], width: int, height: int) -> Iterator[RenderableType]:
    """A line for each running trial, as many as leave some of the screen's height; the others are counted."""
    room = max(1, height - _ABOVE)
    shown = running if len(running) <= room else running[: room - 1]
    if shown:
        yield _lines(shown, width)
    if len(shown) < len(running):
        yield Text(f"  and {len(running) - len(shown)} more", style="dim", no_wrap=True)


def _lines(shown: Sequence[Running], width: int) -> Table:
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
