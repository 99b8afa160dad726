"""`ablate predict`: how a finished run classifies a folder of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.progress import Progress

from experiments.language.wording import count
from experiments.training.predict import Prediction, predict, to_csv
from experiments.training.weights import finished_attempts
from trainer.errors import UserError

from ..output import plain_console
from ..writable import check_writable, writing

_NAMED = 10
"""Images that can't be decoded, of which a line is printed."""


def write(run: str, folder: Path, out: Path) -> int:
    """Write the predictions file and say what is in it; returns the exit code, 1 if an image could not be decoded."""
    console = plain_console()
    with (
        _open(out) as file,
        Progress(console=console, transient=True, disable=not console.is_terminal) as bars,
    ):
        task = bars.add_task("predicting", total=None)
        attempts = finished_attempts(run)
        said = predict(attempts[0], folder, lambda done, total: bars.update(task, completed=done, total=total))
        file.truncate(0)
        file.write(to_csv(said.found))
    record = said.record
    which = f"trial {record.trial}: {record.study}, cell {record.cell}, seed {record.seed}, epoch {record.selected}"
    console.print(which)
    if len({attempt.fingerprint for attempt in attempts}) > 1:
        others = ", ".join(attempt.run_id[:8] for attempt in attempts[1:4])
        newest = f"run {attempts[0].run_id[:8]}, the newest of {len(attempts)} on different data; others: {others}"
        console.print(newest)
    common = Counter(prediction.class_name for prediction in said.found).most_common(3)
    listed = ", ".join(f"{name} ({number})" for name, number in common)
    console.print(
        f"{count(len(said.found), 'image')}, {len(record.classes)} classes, most often {listed}",
    )
    for line in _of_labelled(said.found):
        console.print(line)
    console.print(f"predictions: {out}")
    if said.unreadable:
        for line in said.unreadable[:_NAMED]:
            console.print(line, style="red")
        rest = f", {_NAMED} of them named above" if len(said.unreadable) > _NAMED else ""
        console.print(f"{count(len(said.unreadable), 'image')} left out{rest}", style="red")
    return 1 if said.unreadable else 0


def _of_labelled(found: list[Prediction]) -> Iterator[str]:
    """How often it is right of images in folders that are called as classes are, and what it takes for what."""
    labelled = [prediction for prediction in found if prediction.label]
    if not labelled:
        return
    wrong = Counter((one.label, one.class_name) for one in labelled if one.label != one.class_name)
    top1 = 1 - wrong.total() / len(labelled)
    yield f"top-1 {top1:.4f} over the {count(len(labelled), 'image')} in folders named as classes"
    if wrong:
        taken = ", ".join(f"{label} as {name} ({number})" for (label, name), number in wrong.most_common(3))
        yield f"most often wrong: {taken}"


@contextmanager
def _open(out: Path) -> Iterator[TextIO]:
    """The output file, opened to append before minutes of predictions, so that it raises UserError before, not after.

    If an error is raised inside, a file that existed before keeps its content, and a new one is deleted.
    """
    check_writable(out.parent)
    with writing():
        if out.is_dir():
            raise UserError(f"{out}: is a folder; expected a file to write, such as predictions.csv")
        before = out.exists()
        out.parent.mkdir(parents=True, exist_ok=True)
        file = out.open("a", encoding="utf-8")
    try:
        with file:
            yield file
    except BaseException:
        if not before:
            out.unlink(missing_ok=True)
        raise
