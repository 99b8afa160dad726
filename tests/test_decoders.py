"""Many images are decoded by processes of their own: the same pixels and errors, whatever becomes of those processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

from trainer import children, decoders
from trainer.cache import decoded
from trainer.data import Source
from trainer.decoders import Images, Target, decode_into
from trainer.errors import UserError

COUNT = 100
SIZE = 4


def arrays() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (COUNT, 6, 5, 3), np.uint8)


def written(images: Images, file: Path, progress: Callable[[int, int], None] = lambda *done: None) -> NDArray[np.uint8]:
    """The pixels of the images as they stand in `file`, behind 10 bytes of something else."""
    file.write_bytes(b"0123456789")
    decode_into(Target(file, 10, SIZE, squash=False), images, progress)
    found = file.read_bytes()
    assert found[:10] == b"0123456789"
    return np.frombuffer(found[10:], np.uint8).reshape(-1, SIZE, SIZE, 3)


def state_of(process: int) -> tuple[str, int]:
    """A process's state, a letter, and its parent; `X` where it is gone."""
    try:
        state, parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return "X", 0
    return state, int(parent)


def children_of(parent: int) -> list[int]:
    processes = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return sorted(process for process in processes if state_of(process)[1] == parent)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many images as any are enough for processes, of which there are three."""
    monkeypatch.setattr(decoders, "MANY", 1)
    monkeypatch.setattr(decoders, "cores", lambda: 3)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes as Linux shows them")
@pytest.mark.usefixtures("many")
class TestApart:
    @pytest.mark.parametrize("kind", ["files", "arrays"])
    def test_the_pixels_are_those_of_threads(self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        images: Any = arrays()
        if kind == "files":
            images = [tmp_path / f"{i}.png" for i in range(COUNT)]
            for file, pixels in zip(images, arrays(), strict=True):
                Image.fromarray(pixels).save(file)
        monkeypatch.setattr(decoders, "MANY", COUNT + 1)
        by_threads = written(images, tmp_path / "threads")
        monkeypatch.setattr(decoders, "MANY", COUNT)
        for here in ("decode_file", "decode_array"):
            monkeypatch.setattr(decoders, here, lambda *args: pytest.fail("decoded in this process"))
        seen: list[int] = []
        assert np.array_equal(
            written(images, tmp_path / "processes", lambda done, total: seen.append(done)), by_threads
        )
        assert seen == [*range(8, COUNT, 8), COUNT]

    def test_errors_are_those_of_the_images_in_their_order(self, tmp_path: Path) -> None:
        files = [tmp_path / f"{i}.png" for i in range(30)]
        for file in files:
            Image.new("RGB", (4, 4)).save(file)
        for i in (28, 9, 10, 1):
            files[i].write_bytes(b"")
        source = Source(files, None, (), {})
        with pytest.raises(UserError) as caught:
            decoded(source, SIZE, tmp_path / "cache")
        parts = str(caught.value).split("; ")
        assert [part.split(": ")[0] for part in parts[:3]] == [f"{tmp_path}/{i}.png" for i in (1, 9, 10)]
        assert parts[3] == "1 more can't be decoded either"

    def test_a_format_that_a_plugin_taught_this_process(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Grey(ImageFile.ImageFile):
            format = "GREY"

            def _open(self) -> None:
                self._mode, self._size = "L", (SIZE, SIZE)
                self.tile = [ImageFile._Tile("raw", (0, 0, SIZE, SIZE), 4, "L")]

        # else what Pillow registers at the first image would be forgotten with this format
        Image.init()
        monkeypatch.setattr(Image, "ID", [*Image.ID])
        monkeypatch.setattr(Image, "OPEN", {**Image.OPEN})
        Image.register_open("GREY", Grey, lambda start: start.startswith(b"GREY"))
        files = [tmp_path / f"{i}.grey" for i in range(COUNT)]
        for i, file in enumerate(files):
            file.write_bytes(b"GREY" + bytes([i]) * SIZE * SIZE)
        assert written(files, tmp_path / "grey")[:, 0, 0, 0].tolist() == list(range(COUNT))

    def test_processes_that_are_killed_are_replaced_by_this_one(self, tmp_path: Path) -> None:
        def kill(done: int, total: int) -> None:
            for process in children_of(os.getpid()):
                os.kill(process, signal.SIGKILL)

        pixels = written(arrays(), tmp_path / "killed", kill)
        assert np.array_equal(pixels, written(arrays(), tmp_path / "whole"))

    @pytest.mark.parametrize(
        "code", ["raise SystemExit(1)", "import sys; sys.stdin.buffer.read(100); print('no pickle')"]
    )
    def test_and_so_are_those_that_cannot_start(
        self, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = written(arrays(), tmp_path / "whole")
        monkeypatch.setattr(children, "_CALL", code)
        assert np.array_equal(written(arrays(), tmp_path / "alone"), whole)

    def test_and_so_are_those_that_the_system_refuses(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        whole, start, started = written(arrays(), tmp_path / "whole"), children.start, []

        def refused(*arguments: Any) -> subprocess.Popen[bytes]:
            if started:
                raise BlockingIOError("Resource temporarily unavailable")
            started.append(start(*arguments))
            return started[0]

        monkeypatch.setattr(children, "start", refused)
        assert np.array_equal(written(arrays(), tmp_path / "fewer"), whole)
        assert started[0].returncode is not None, "the one that was started has been ended"

    def test_a_sequence_of_the_plugins_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Lazy(Sequence[Path]):
            def __init__(self, files: list[Path]) -> None:
                self.files, self.key = files, lambda: None

            def __len__(self) -> int:
                return len(self.files)

            def __getitem__(self, index: Any) -> Any:
                return Lazy(self.files[index]) if isinstance(index, slice) else self.files[index]

        files = [tmp_path / f"{i}.png" for i in range(30)]
        for i, file in enumerate(files):
            Image.new("RGB", (4, 4), (i, 0, 0)).save(file)
        monkeypatch.setattr(decoders, "decode_file", lambda *args: pytest.fail("decoded in this process"))
        assert written(Lazy(files), tmp_path / "lazy")[:, 0, 0, 0].tolist() == list(range(30))

    def test_none_is_left_and_an_interrupt_goes_through(self, tmp_path: Path) -> None:
        before = children_of(os.getpid())

        def interrupt(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            written(arrays(), tmp_path / "x", interrupt)
        written(arrays(), tmp_path / "x")
        assert children_of(os.getpid()) == before


KILLED = """
import time
from pathlib import Path
import numpy as np
from trainer import decoders

decoders.MANY, decoders.cores = 1, lambda: 3
def wait(done, total):
    print(done, flush=True)
    time.sleep(600)
Path("pixels").touch()
decoders.decode_into(decoders.Target(Path("pixels"), 0, 4, False), np.zeros((10**5, 8, 8, 3), np.uint8), wait)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes as Linux shows them")
def test_they_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED], cwd=tmp_path, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"8\n"
        processes = children_of(parent.pid)
        assert len(processes) == 3
        parent.kill()
    end = time.monotonic() + 20
    while any(state_of(process)[0] not in "XZ" for process in processes):
        assert time.monotonic() < end
        time.sleep(0.05)
