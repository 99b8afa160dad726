"""The driver's files for nodes that don't see them: what a trial needs goes there, what it leaves comes back."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from trainer.files import CHECKPOINT, written_whole
from trainer.recorder import Epoch, Recorder

TRIES = 5
"""How often a folder is read that changes while it is read."""

_NOT_SENT = (".part", "lock")


class Files(Protocol):
    """What a node may ask for."""

    def read(self, file: str) -> bytes | None:
        """The file's content; None where there is none."""

    def folder(self, folder: str) -> dict[str, bytes]:
        """What an earlier attempt left in a trial's folder, by name."""

    def write(self, folder: str, files: Mapping[str, bytes], names: list[str]) -> None:
        """Put `files` into a trial's folder. names: of everything that the folder holds on the node."""


class Desk:
    """Files, on the machine of the driver. Doing anything twice does no harm."""

    def read(self, file: str) -> bytes | None:
        """See Files."""
        with suppress(FileNotFoundError):
            return Path(file).read_bytes()
        return None

    def folder(self, folder: str) -> dict[str, bytes]:
        """See Files."""
        return {file.name: file.read_bytes() for file in listed(Path(folder))}

    def write(self, folder: str, files: Mapping[str, bytes], names: list[str]) -> None:
        """See Files."""
        place = Path(folder)
        # as training writes them: a checkpoint stands for an epoch whose journal and weights are there
        for name in sorted(files, key=lambda name: name == CHECKPOINT):
            with written_whole(place / name) as draft:
                draft.write_bytes(files[name])
        for file in place.glob("selected-*.pt"):
            if file.name not in names:
                file.unlink(missing_ok=True)


def listed(folder: Path) -> list[Path]:
    """The files of a trial's folder that another attempt, elsewhere, can use."""
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.endswith(_NOT_SENT))


class Mirror:
    """Keeps the driver's copy of a trial's folder up to date, beside training; a Recorder that passes epochs on."""

    def __init__(self, folder: Path, target: str, files: Files, recorder: Recorder) -> None:
        self.folder = folder
        self.target = target
        self.files = files
        self.recorder = recorder
        self.sent: dict[str, tuple[int, int]] = self._stats()
        self.thread = ThreadPoolExecutor(1, "mirror")
        self.sending: Future[None] | None = None

    def epoch(self, number: int, metrics: Epoch) -> None:
        """Send what is new, unless the former epoch is still on its way."""
        if self.sending is None or self.sending.done():
            self.sending = self.thread.submit(self._send)
        self.recorder.epoch(number, metrics)

    def close(self) -> None:
        """Send the rest; raises what keeps it from arriving."""
        self.thread.shutdown()
        self._send()

    def _send(self) -> None:
        for _ in range(TRIES):
            stats = self._stats()
            new = {}
            for name in stats:
                if stats[name] != self.sent.get(name):
                    with suppress(FileNotFoundError):
                        new[name] = (self.folder / name).read_bytes()
            # a checkpoint that was replaced meanwhile may need weights that were not read
            if self._stats().get(CHECKPOINT) == stats.get(CHECKPOINT):
                self.files.write(self.target, new, list(stats))
                self.sent = {name: stat for name, stat in stats.items() if name in new or name in self.sent}
                return

    def _stats(self) -> dict[str, tuple[int, int]]:
        found = {}
        for file in listed(self.folder):
            with suppress(FileNotFoundError):
                stat = file.stat()
                found[file.name] = (stat.st_mtime_ns, stat.st_size)
        return found
