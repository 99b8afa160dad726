"""The cache of decoded images on a full disk and in too little memory; what is said while it is built; who keeps it."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import experiments.training.preparing
import trainer.data
from experiments.datasets.digits import Digits
from experiments.training.resident import resident_data
from orchestrator.output import plain_console
from trainer import decoders
from trainer.cache import decoded
from trainer.data import Data, Source
from trainer.decoding import decode_array
from trainer.errors import UserError

CPU = torch.device("cpu")

# 100 images of 32 pixels need 307 kB
BUILD = """
import os, resource, sys
import numpy as np
from pathlib import Path
from trainer import decoders
from trainer.cache import decoded
from trainer.data import Source
from trainer.errors import UserError

limit, reserves, decoders.MANY, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
if not int(reserves):
    del os.posix_fallocate
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
seen = []
try:
    decoded(Source(np.zeros((100, 8, 8, 3), np.uint8), None, (), {}), 32, Path(folder), lambda *done: seen.append(done))
except UserError as error:
    print(error)
print(len(seen), [name for name in os.listdir(folder + "/decoded") if name != "lock"])
"""


def on_a_small_disk(command: list[str], folder: Path) -> list[str]:
    """The command in a mount namespace of its own, where `folder` is a file system of 256 kB."""
    script = f'mount -t tmpfs -o size=256k none "{folder}" && exec "$@"'
    mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", *mapped, "sh", "-c", script, "sh", *command]


def can_mount(folder: Path) -> bool:
    try:
        return subprocess.run(on_a_small_disk(["true"], folder), capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


class TestTheDisk:
    @pytest.mark.parametrize(("reserves", "many"), [(True, 1000), (False, 1000), (False, 1)])
    @pytest.mark.parametrize("what", ["limit", "disk"])
    def test_without_room_it_says_so_and_leaves_nothing(
        self, what: str, reserves: bool, many: int, tmp_path: Path
    ) -> None:
        limit = 100_000 if what == "limit" else 0
        command = [sys.executable, "-c", BUILD, str(limit), str(int(reserves)), str(many), str(tmp_path)]
        if what == "disk":
            if not can_mount(tmp_path):
                pytest.skip("may not mount a file system")
            command = on_a_small_disk(command, tmp_path)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        message, left = done.stdout.splitlines()
        count, _, files = left.partition(" ")
        assert message.startswith(f"{tmp_path}/decoded: no room for the decoded images (")
        assert "): 0.3 MB needed, " in message
        assert (" 0.3 MB free; " in message) == (what == "disk")
        assert message.endswith("make room, or set ABLATE_CACHE to a folder elsewhere")
        assert files == "[]"
        assert count == "0" or not reserves, "before anything is decoded, where the system can reserve room"

    @pytest.mark.parametrize("place", ["a file", "a file/below", "/proc"])
    def test_a_folder_that_cannot_be_written_is_named(self, place: str, tmp_path: Path) -> None:
        Path("a file").touch()
        source = Source(np.zeros((2, 8, 8, 3), np.uint8), np.zeros(2, np.int64), ("x",), {})
        with pytest.raises(UserError, match="can't hold the decoded images") as caught:
            decoded(source, 4, Path(place))
        assert str(caught.value).startswith(f"{place}/decoded: ")
        assert "\n" not in str(caught.value)

    def test_a_disk_without_room_for_the_folder_itself_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(self: Path, *arguments: object, **named: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

        source = Source(np.zeros((2, 8, 8, 3), np.uint8), np.zeros(2, np.int64), ("x",), {})
        monkeypatch.setattr(Path, "mkdir", full)
        with pytest.raises(UserError, match="decoded: no room for the decoded images"):
            decoded(source, 4, tmp_path / "cache")


TRAIN = """
import os, resource, sys, torch
import numpy as np
from pathlib import Path
from trainer.cache import _header, _seal, cache_file
from trainer.data import Source, load
from trainer.draws import Draws

folder, count, side = Path.cwd(), 1500, 256
(folder / "x.png").touch()
images = [folder / "x.png"] * count
file = cache_file(images, side, folder, squash=False)
file.parent.mkdir()
header = _header((count, side, side, 3))
file.write_bytes(header)
with file.open("r+b") as handle:
    handle.seek(len(header) + count * side * side * 3)
    handle.write(_seal(file, 0))
os.utime(file, (0, 0))

torch.set_num_threads(1)
(taken,) = (int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, ((taken << 10) + (80 << 20), resource.RLIM_INFINITY))
source = Source(images, np.zeros(count, np.int64), ("x",), {"train": np.arange(count)})
data = load(source, side, (0.0,) * 3, (1.0,) * 3, folder, torch.device("cpu"))
print(sum(len(batch.images) for batch in data.train_batches(10, Draws(0))))
try:
    data.images.clone()
except RuntimeError as error:
    print("can't allocate memory" in str(error))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="limits memory as Linux counts it")
def test_a_data_set_of_several_times_the_memory_trains(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRAIN], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.stdout, done.stderr) == ("1500\nTrue\n", "")


class TestArrays:
    def source(self, size: int) -> Source:
        images = np.random.default_rng(0).integers(0, 255, (3, size, size, 3), dtype=np.uint8)
        return Source(images, np.zeros(3, np.int64), ("x",), {})

    def test_of_the_right_size_they_are_used_as_they_are(self, tmp_path: Path) -> None:
        source = self.source(8)
        assert decoded(source, 8, tmp_path / "cache") is source.images
        assert not (tmp_path / "cache").exists()

    def test_of_another_they_are_resized_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = self.source(8)
        larger = decoded(source, 32, tmp_path / "cache")
        assert (larger.shape, larger.dtype) == ((3, 32, 32, 3), np.uint8)
        assert np.array_equal(larger[1], decode_array(np.asarray(source.images[1]), 32))
        monkeypatch.setattr(decoders, "decode_array", lambda *args: pytest.fail("resized again"))
        assert np.array_equal(decoded(self.source(8), 32, tmp_path / "cache"), larger)

    def test_others_of_their_shape_are_kept_beside_them(self, tmp_path: Path) -> None:
        first, second = self.source(8), self.source(8)
        np.asarray(second.images)[0, 0, 0, 0] += 1
        for source in (first, second, first):
            decoded(source, 32, tmp_path / "cache")
        assert len(list((tmp_path / "cache" / "decoded").glob("*.npy"))) == 2


def shown(size: int, *, terminal: bool) -> str:
    """What a terminal, or a file, shows of digits of this size being decoded."""
    console = plain_console(file=io.StringIO(), force_terminal=terminal, width=120)
    trial = SimpleNamespace(id="1", seed=0, recipe=SimpleNamespace(dataset=Digits(image_size=size)))
    plan: Any = SimpleNamespace(trials=[trial])
    experiments.training.preparing.prepare_data(plan, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


class TestTheDisplay:
    @pytest.fixture(autouse=True)
    def _own_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("TERM", "xterm")

    def test_where_there_is_no_terminal_a_line_says_what_takes_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(experiments.training.preparing, "LONG", 1000.0)
        assert shown(9, terminal=False) == ""
        monkeypatch.setattr(experiments.training.preparing, "LONG", 0.0)
        assert shown(10, terminal=False) == "digits: decoding 1,797 images ...\n"

    def test_a_terminal_gets_a_bar_with_a_count(self) -> None:
        text = shown(9, terminal=True)
        assert "digits: decoding 1,797 images" in text
        assert "1797/1797" in text

    @pytest.mark.parametrize("terminal", [False, True])
    def test_of_a_cache_that_is_there_nothing_is_said(self, terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(experiments.training.preparing, "LONG", 0.0)
        assert shown(9, terminal=False) != ""
        assert shown(9, terminal=terminal) == ""

    def test_waiting_for_another_process_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(experiments.training.preparing, "LONG", 0.0)
        console = plain_console(file=io.StringIO())
        with experiments.training.preparing._display(console, "digits") as progress:
            progress(0, 1797)
        line = "digits: waiting for another process that decodes 1,797 images ...\n"
        assert console.file.getvalue() == line  # type: ignore[attr-defined]


class TestResidentData:
    def test_it_is_kept_for_the_next_trial_and_dropped_before_another_is_loaded(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = resident_data(Digits(image_size=8), 0, CPU)
        assert resident_data(Digits(image_size=8), 0, CPU) is first
        pixels = weakref.ref(first)
        del first
        original = trainer.data.load

        def load(*args: Any, **settings: Any) -> Data:
            assert pixels() is None, "two data sets in memory at once"
            return original(*args, **settings)

        monkeypatch.setattr(trainer.data, "load", load)
        assert resident_data(Digits(image_size=9), 0, CPU).image_size == 9

    @pytest.mark.parametrize("other", [("there", "1"), ("here", "2")], ids=["another folder", "other images"])
    def test_it_is_not_taken_for_others_under_the_same_settings(
        self, other: tuple[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # what is on the disk is what each asks for
        asked = iter(["1", other[1]])
        monkeypatch.setattr(Digits, "fingerprint", lambda _: next(asked))
        first = resident_data(Digits(image_size=8), 0, CPU, ("here", "1"))
        assert resident_data(Digits(image_size=8), 0, CPU, ("here", "1")) is first
        assert resident_data(Digits(image_size=8), 0, CPU, other) is not first


UNMAPPED = """
import resource, sys
import numpy as np
from pathlib import Path
from trainer.cache import decoded
from trainer.data import Source
from trainer.errors import UserError

images = np.zeros((3000, 64, 64, 3), np.uint8)
source = Source(images, np.zeros(3000, np.int64), ("a",), {"train": np.arange(3000)})
decoded(source, 128, Path(sys.argv[1]))
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 50_000_000,) * 2)
try:
    decoded(source, 128, Path(sys.argv[1]), lambda done, total: print("built again"))
except UserError as error:
    print(error)
"""


def test_a_file_that_can_not_be_mapped_is_left_alone(tmp_path: Path) -> None:
    """147 MB beside what is mapped already, where 50 are allowed."""
    done = subprocess.run([sys.executable, "-c", UNMAPPED, tmp_path], capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert "the 147.5 MB of decoded images can't be mapped (Cannot allocate memory); expected as much" in line
    assert len([*(tmp_path / "decoded").glob("*.npy")]) == 1


def test_arrays_of_negative_strides_can_be_trained_on(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    for view in (images[..., ::-1], images[:, ::-1], images[::-1], np.asfortranarray(images)):
        source = Source(view, np.zeros(5, np.int64), ("a",), {"train": np.arange(5)})
        data = trainer.data.load(source, 8, (0.5,) * 3, (0.5,) * 3, tmp_path, CPU)
        assert np.array_equal(data.images.permute(0, 2, 3, 1).numpy(), view)
