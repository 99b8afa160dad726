"""What a worker is given and gives back: a trial, and what an attempt at it came to, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from trainer.recorder import Epoch

from . import catalog
from .plan import Trial


@dataclass(frozen=True)
class Job:
    """A trial as plain data, to be handed to a worker process."""

    id: str
    cell: str
    seed: int
    recipe: dict[str, Any]
    folder: str
    """Absolute; keeps the trial's journal, checkpoint and log."""

    working_folder: str
    """Absolute; what relative paths of the recipe refer to."""

    plugins: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    """Digest of each plugin's code, as it was imported where the job was made."""

    watched: str | None = None
    """The metric by whose course a search may end the trial early; None: it is never ended early."""

    teachers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Trial id of each teacher to its `recipe` and the path of its `weights`."""

    fingerprint: str = ""
    """Fingerprint of the images, as they were found where the job was made."""

    pretrained: str = ""
    """The file, where the job was made, of the weights that training starts from; empty: it starts from scratch."""

    def as_data(self) -> dict[str, Any]:
        """Plain data, for a worker in another process."""
        return asdict(self)


@dataclass(frozen=True)
class Result:
    """What one attempt at a trial came to."""

    status: Literal["finished", "failed", "interrupted", "pruned"]
    """pruned: a search ended it early, because it promised little."""

    history: list[Epoch] = field(default_factory=list)
    seconds: float = 0.0
    """Training and evaluation, over all attempts that the history comes from."""

    reason: str = ""
    """Why it failed, in one line."""

    again: bool = False
    """Of a failure: whether another attempt might end otherwise. A loss that diverged would do so again."""

    short_of_memory: bool = False
    """Of a failure: whether memory ran out, so that the trial may succeed with a larger share of the machine."""

    needed: float | None = None
    """The share of a GPU that it would have taken, where that is known."""

    log: str = ""
    """The trial's log file."""

    hardware: str = ""
    selected: int | None = None
    """The epoch whose weights are kept; None before training has ended."""

    final: Epoch = field(default_factory=dict)
    """Metrics of the test split with the kept weights."""

    weights: str | None = None
    """SHA-256 of the kept weights, which lie in the job's folder as `weights.safetensors`."""

    pretrained: str | None = None
    """Digest of the weights that training started from."""

    notes: tuple[str, ...] = ()
    """What its user should know although it has finished, a sentence each."""

    images: dict[str, int] = field(default_factory=dict)
    """Split to its number of images."""

    classes: tuple[str, ...] = ()
    """Class names (of a folder of images: its folders) by index."""

    params: int | None = None
    macs: int | None = None
    """See costs.Cost; measured by the worker, where torch is loaded and the number of classes is known."""

    peak_memory: int | None = None
    """Bytes of GPU memory that tensors took at most while it trained, resident data included; None on the CPU."""

    cores: int | None = None
    gpus: float | None = None
    """What the trial held of the machine while it trained; filled in by the driver."""

    def as_data(self) -> dict[str, Any]:
        """Plain data, for a driver in another process."""
        return asdict(self)


def make_job(
    trial: Trial,
    folder: Path,
    plugins: tuple[Path, ...],
    teachers: dict[str, dict[str, Any]] | None = None,
    watched: str | None = None,
    fingerprint: str = "",
) -> Job:
    """The job of a trial, for a worker; raises UserError where the weights that it starts from are gone."""
    start = trial.recipe.architecture.pretrained_file()
    return Job(
        id=trial.id,
        cell=trial.cell,
        seed=trial.seed,
        recipe=trial.recipe.as_data(),
        folder=str(folder.resolve()),
        working_folder=str(Path.cwd()),
        plugins=tuple(str(plugin) for plugin in plugins),
        codes=tuple(catalog.add_plugin(plugin) for plugin in plugins),
        watched=watched,
        teachers=teachers or {},
        fingerprint=fingerprint,
        pretrained=str(start.resolve()) if start else "",
    )
