"""The cache of decoded images: built once, by one process, and never read when it isn't whole."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL
import pytest
from numpy.typing import NDArray
from PIL import Image

from trainer import cache, decoders
from trainer.cache import cache_file, decoded
from trainer.data import Source
from trainer.decoding import decode_file
from trainer.errors import UserError


def source_of(images: list[Path] | NDArray[np.uint8]) -> Source:
    return Source(images, np.zeros(len(images), np.int64), ("x",), {"train": np.arange(len(images))})


def files_source(folder: Path, count: int) -> Source:
    files = [folder / f"{i}.png" for i in range(count)]
    for i, file in enumerate(files):
        Image.new("RGB", (4, 4), (i, 2 * i, 3 * i)).save(file)
    return source_of(files)


def kept(folder: Path) -> list[str]:
    """The files of the cache in `folder`, but for its lock."""
    return sorted({file.name for file in (folder / "decoded").glob("*")} - {"lock"})


class TestBuilding:
    def test_images_are_decoded_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = files_source(tmp_path, 5)
        seen: list[tuple[int, int]] = []
        monkeypatch.setattr(decoders, "cores", lambda: 2)
        first = decoded(source, 4, tmp_path / "cache", lambda done, total: seen.append((done, total)))
        assert first.shape == (5, 4, 4, 3)
        assert first[:, 0, 0].tolist() == [[i, 2 * i, 3 * i] for i in range(5)]
        assert seen == [(2, 5), (4, 5), (5, 5)]
        monkeypatch.setattr(decoders, "decode_file", lambda *args: pytest.fail("decoded again"))
        assert np.array_equal(decoded(source, 4, tmp_path / "cache"), first)
        (tmp_path / "link").symlink_to(tmp_path)
        linked = source_of([tmp_path / "link" / Path(file).name for file in source.images])
        assert np.array_equal(decoded(linked, 4, tmp_path / "cache"), first)

    def test_a_link_that_leads_to_another_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of one size, written at one moment, as by a program that unpacks an archive."""
        for name in ("one", "two"):
            (tmp_path / name).write_text("same")
        link, original = tmp_path / "link.png", os.stat
        moment = ["st_mtime_ns", "st_ctime_ns"]

        def coarse(file: Any, **more: Any) -> Any:
            found = original(file, **more)
            return SimpleNamespace(**{name: getattr(found, name) for name in dir(found)} | dict.fromkeys(moment, 7))

        names = []
        for target in ("one", "two"):
            link.unlink(missing_ok=True)
            link.symlink_to(target)
            with monkeypatch.context() as patched:
                patched.setattr(os, "stat", coarse)
                names.append(cache_file([link], 4, tmp_path / "cache", squash=False))
        assert names[0] != names[1]

    def test_by_all_cores_that_the_process_may_use(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        together = threading.Barrier(7)
        original = decode_file

        def meets(*args: Any) -> NDArray[np.uint8]:
            together.wait(timeout=20)
            return original(*args)

        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(7)))
        monkeypatch.setattr(decoders, "decode_file", meets)
        decoded(files_source(tmp_path, 7), 4, tmp_path / "cache")

    def test_it_is_a_npy_file_no_larger_than_the_pixels(self, tmp_path: Path) -> None:
        pixels = decoded(files_source(tmp_path, 100), 4, tmp_path / "cache")
        (name,) = kept(tmp_path / "cache")
        file = tmp_path / "cache" / "decoded" / name
        assert np.array_equal(np.load(file), pixels)
        assert file.stat().st_size == 100 * 4 * 4 * 3 + 128 + 16

    @pytest.mark.parametrize("change", ["time", "content", "content, with the time put back"])
    def test_another_state_of_the_files_takes_the_place_of_the_one_before(self, change: str, tmp_path: Path) -> None:
        source = files_source(tmp_path, 3)
        mapped = decoded(source, 4, tmp_path / "cache")
        before = kept(tmp_path / "cache")
        file = Path(source.images[1])
        if change == "time":
            os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
        else:
            state = file.stat()
            Image.new("RGB", (4, 4), (77, 78, 79)).save(file, compress_level=0 if change == "content" else 6)
            if change != "content":
                assert file.stat().st_size == state.st_size
                os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
        pixels = decoded(source, 4, tmp_path / "cache")
        assert pixels[1, 0, 0].tolist() == ([1, 2, 3] if change == "time" else [77, 78, 79])
        assert len(kept(tmp_path / "cache")) == 1
        assert kept(tmp_path / "cache") != before
        assert mapped[1, 0, 0].tolist() == [1, 2, 3], "a training goes on with what it has mapped"

    @pytest.mark.parametrize("change", ["decoder", "pillow"])
    def test_of_two_decoders_each_keeps_its_own_while_both_are_used(
        self, change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = files_source(tmp_path, 3)
        original = decode_file
        count: list[Path] = []
        monkeypatch.setattr(decoders, "decode_file", lambda file, *args: (count.append(file), original(file, *args))[1])

        def by(other: bool) -> Path:
            with monkeypatch.context() as patch:
                if other and change == "decoder":
                    patch.setattr(cache, "DECODER", 0)
                elif other:
                    patch.setattr(PIL, "__version__", "1.0")
                decoded(source, 4, tmp_path / "cache")
                return cache_file(source.images, 4, tmp_path / "cache", squash=False)

        mine, theirs = by(False), by(True)
        assert by(False) == mine
        assert by(True) == theirs
        assert len(count) == 6
        mtime = mine.stat().st_mtime
        os.utime(mine, (time.time() - cache.UNUSED - 60, mtime))
        by(True)
        assert mine.exists(), "nothing is deleted where nothing is built"
        theirs.unlink()
        by(True)
        assert kept(tmp_path / "cache") == [theirs.name]

    def test_other_settings_and_other_files_are_kept_beside_it(self, tmp_path: Path) -> None:
        source = files_source(tmp_path, 3)
        for size, squash in ((4, False), (2, False), (4, True)):
            assert decoded(source, size, tmp_path / "cache", squash=squash).shape == (3, size, size, 3)
        decoded(source_of(list(source.images[:2])), 4, tmp_path / "cache")
        assert len(kept(tmp_path / "cache")) == 4

    def test_a_file_that_changes_meanwhile_is_not_cached(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = files_source(tmp_path, 3)
        original = decode_file

        def changes(file: Path, *args: Any) -> NDArray[np.uint8]:
            pixels = original(file, *args)
            os.utime(file, ns=(0, 1))
            return pixels

        monkeypatch.setattr(decoders, "decode_file", changes)
        with pytest.raises(UserError, match=f"{tmp_path}: images changed while they were decoded"):
            decoded(source, 4, tmp_path / "cache")
        assert kept(tmp_path / "cache") == []

    def test_all_images_that_cannot_be_decoded_are_told_at_once(self, tmp_path: Path) -> None:
        source = files_source(tmp_path, 9)
        for i in (1, 3, 4, 6, 8):
            (tmp_path / f"{i}.png").write_bytes(b"")
        with pytest.raises(UserError) as caught:
            decoded(source, 4, tmp_path / "cache")
        parts = str(caught.value).split("; ")
        assert [part.split(": ")[0] for part in parts[:3]] == [f"{tmp_path}/{i}.png" for i in (1, 3, 4)]
        assert parts[3:] == ["2 more can't be decoded either", "copy them again, or take them away"]
        assert kept(tmp_path / "cache") == []

    def test_what_pillow_can_make_do_with_is_no_warning(self, tmp_path: Path) -> None:
        """Warnings are errors here; outside, each would be two lines in the midst of the progress bar."""
        source = files_source(tmp_path, 2)
        broken = b"Exif\0\0II*\0" + bytes([255] * 4)
        Image.new("RGB", (4, 4)).save(tmp_path / "0.png", "JPEG", exif=broken)
        with pytest.warns(UserWarning, match="Corrupt EXIF"):
            decode_file(tmp_path / "0.png", 4)
        assert decoded(source, 4, tmp_path / "cache").shape == (2, 4, 4, 3)

    @pytest.mark.parametrize("broken", ["text", "gone"])
    def test_an_image_that_cannot_be_read_leaves_no_cache(self, broken: str, tmp_path: Path) -> None:
        source = files_source(tmp_path, 5)
        bad = Path(source.images[3])
        bad.unlink()
        if broken == "text":
            bad.write_text("no image")
        with pytest.raises(UserError, match=bad.name):
            decoded(source, 4, tmp_path / "cache")
        assert kept(tmp_path / "cache") == []


def spoil(file: Path, how: str) -> None:
    pixels = np.load(file)
    other: dict[str, NDArray[Any]] = {
        "dtype": pixels.astype(np.int8),
        "shape": pixels.reshape(6, 2, 8, 3),
        "order": np.asfortranarray(pixels),
        "objects": np.array([{"a": 1}], dtype=object),
    }
    if how in other:
        with file.open("wb") as handle:
            np.save(handle, other[how], allow_pickle=True)
    elif how == "truncated":
        os.truncate(file, file.stat().st_size - 1)
    else:
        file.write_bytes({"longer": file.read_bytes() + b"\0", "empty": b"", "text": b"no array\n" * 500}[how])


class TestOnlyAWholeOneIsRead:
    @pytest.mark.parametrize(
        "how", ["truncated", "longer", "empty", "text", "dtype", "shape", "order", "objects", "missing"]
    )
    def test_what_is_not_a_cache_is_replaced(self, how: str, tmp_path: Path) -> None:
        source = files_source(tmp_path, 6)
        decoded(source, 4, tmp_path / "cache")
        file = cache_file(source.images, 4, tmp_path / "cache", squash=False)
        whole = file.read_bytes()
        file.unlink() if how == "missing" else spoil(file, how)
        assert decoded(source, 4, tmp_path / "cache")[:, 0, 0, 2].tolist() == [0, 3, 6, 9, 12, 15]
        # behind the pixels it says when it was written
        assert file.read_bytes()[:-16] == whole[:-16]

    @pytest.mark.parametrize("how", ["swapped", "renamed", "one byte", "zeros"])
    def test_what_is_of_the_right_size_but_another_is_replaced(self, how: str, tmp_path: Path) -> None:
        (tmp_path / "others").mkdir()
        mine, other = files_source(tmp_path, 6), files_source(tmp_path / "others", 6)
        for file in other.images:
            Image.new("RGB", (4, 4), (99, 99, 99)).save(file)
        for source in (mine, other):
            decoded(source, 4, tmp_path / "cache")
        file, another = (cache_file(source.images, 4, tmp_path / "cache", squash=False) for source in (mine, other))
        whole = file.read_bytes()
        if how == "swapped":
            file.write_bytes(another.read_bytes())
        elif how == "renamed":
            another.replace(file)
        elif how == "one byte":
            with file.open("r+b") as handle:
                handle.seek(-100, os.SEEK_END)
                handle.write(b"\xff")
        else:
            file.write_bytes(whole[:128] + bytes(len(whole) - 144) + whole[-16:])
        assert decoded(mine, 4, tmp_path / "cache")[:, 0, 0, 2].tolist() == [0, 3, 6, 9, 12, 15]

    def test_a_cache_that_may_only_be_read_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = files_source(tmp_path, 2)
        decoded(source, 4, tmp_path / "cache")

        def refused(*args: Any, **settings: Any) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "utime", refused)
        monkeypatch.setattr(cache, "_build", lambda *args: pytest.fail("built again"))
        assert decoded(source, 4, tmp_path / "cache").shape == (2, 4, 4, 3)

    def test_an_interrupted_one_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = files_source(tmp_path, 6)
        whole = decode_file

        def interrupted(file: Path, *args: Any) -> NDArray[np.uint8]:
            if file.name == "3.png":
                raise KeyboardInterrupt
            return whole(file, *args)

        monkeypatch.setattr(decoders, "decode_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            decoded(source, 4, tmp_path / "cache")
        assert kept(tmp_path / "cache") == []

    def test_nothing_can_write_to_it(self, tmp_path: Path) -> None:
        pixels = decoded(files_source(tmp_path, 2), 4, tmp_path / "cache")
        with pytest.raises(ValueError, match="read-only"):
            pixels[:] = 255


BUILDER = """
import os, time
from pathlib import Path
from trainer import cache, decoders
from trainer.data import Source

folder, original = Path.cwd(), decoders.decode_file

def held(*args):
    os.write(1, b"decodes\\n")
    while not (folder / "go").exists():
        time.sleep(0.01)
    return original(*args)

decoders.decode_file = held
source = Source([folder / f"{i}.png" for i in range(6)], None, (), {})
waits = lambda done, total: done or os.write(1, b"waits\\n")
print(cache.decoded(source, 4, folder / "cache", waits)[:, 0, 0, 2].tolist())
"""


class Builder:
    """A process that builds the cache in `folder`, or waits for it; its decoding goes on when `folder` has a `go`."""

    def __init__(self, folder: Path, number: int) -> None:
        self.log = folder / f"{number}.txt"
        with self.log.open("w") as log:
            self.process = subprocess.Popen([sys.executable, "-c", BUILDER], cwd=folder, stdout=log, stderr=log)

    def says(self) -> str:
        """Its first word."""
        for _ in range(6000):
            if words := self.log.read_text().split():
                return words[0]
            time.sleep(0.01)
        return "nothing"


@pytest.fixture
def builders(tmp_path: Path) -> Iterator[tuple[Builder, Builder]]:
    """Two of them; the first holds the lock and decodes, the second waits."""
    files_source(tmp_path, 6)
    first, second = Builder(tmp_path, 1), Builder(tmp_path, 2)
    try:
        by_word = {builder.says(): builder for builder in (first, second)}
        assert sorted(by_word) == ["decodes", "waits"]
        yield by_word["decodes"], by_word["waits"]
    finally:
        for builder in (first, second):
            builder.process.kill()
            builder.process.wait()


class TestProcesses:
    def test_one_decodes_and_the_other_gets_it(self, tmp_path: Path, builders: tuple[Builder, Builder]) -> None:
        (tmp_path / "go").touch()
        assert [builder.process.wait(timeout=60) for builder in builders] == [0, 0]
        pixels = "[0, 3, 6, 9, 12, 15]\n"
        assert [builder.log.read_text() for builder in builders] == ["decodes\n" * 6 + pixels, "waits\n" + pixels]

    def test_a_killed_one_neither_blocks_nor_leaves_anything(
        self, tmp_path: Path, builders: tuple[Builder, Builder]
    ) -> None:
        killed, waiting = builders
        killed.process.kill()
        killed.process.wait()
        (part,) = kept(tmp_path / "cache")
        assert part.endswith(".part")
        (tmp_path / "cache" / "decoded" / "of-other-files.part").write_bytes(b"left by another")
        (tmp_path / "go").touch()
        assert waiting.process.wait(timeout=60) == 0
        assert waiting.log.read_text() == "waits\n" + "decodes\n" * 6 + "[0, 3, 6, 9, 12, 15]\n"
        assert kept(tmp_path / "cache") == [part.replace(".part", ".npy")]
