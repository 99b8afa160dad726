"""Every data set, read from small real folders in its own layout."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import catalog
from experiments.datasets import cifar10
from experiments.datasets._folders import drafted
from experiments.datasets.caltech101 import Caltech101
from experiments.datasets.cifar10 import Cifar10
from experiments.datasets.digits import Digits
from experiments.datasets.glyphs import Glyphs
from experiments.datasets.image_folder import ImageFolder
from experiments.options import Dataset
from experiments.training.preparing import put_in_place
from trainer.decoding import decode_file
from trainer.errors import UserError

Paint = tuple[int, int, int]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("ABLATE_CACHE", str(folder))
    return folder


def silent(line: str) -> None:
    raise AssertionError(f"said {line!r} where nothing is to be done")


def fails(act: Callable[[], object]) -> str:
    """The message of the UserError that `act` raises, a single line."""
    with pytest.raises(UserError) as caught:
        act()
    message = str(caught.value)
    assert "\n" not in message
    return message


def paint(file: Path, colour: Paint = (200, 30, 30), size: tuple[int, int] = (8, 8)) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(file)
    return file


def class_folders(top: Path, **counts: int) -> Path:
    """Below `top`, a folder of each name with so many images, no two of them alike."""
    for c, (name, count) in enumerate(counts.items()):
        (top / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            paint(top / name / f"{i}.png", (40 * c, 10 * i, 90))
    return top


def caltech_folder(root: Path, categories: int = 101, images: int = 2) -> Path:
    """torchvision's layout of Caltech-101; images are copies of one file a category."""
    top = root / "caltech101" / "101_ObjectCategories"
    for c in range(categories):
        first = paint(top / f"category_{c:03d}" / "image_0001.jpg", (2 * c, 100, 255 - 2 * c))
        for i in range(1, images):
            (first.parent / f"image_{i + 1:04d}.jpg").write_bytes(first.read_bytes())
    paint(top / "BACKGROUND_Google" / "image_0001.jpg")
    (top / "BACKGROUND_Google" / "tmp").write_text("a stray file of the real archive")
    (top / ".DS_Store").write_text("")
    return root


def cifar_folder(root: Path, monkeypatch: pytest.MonkeyPatch, per_batch: int = 20) -> Path:
    """torchvision's layout of CIFAR-10 with fewer images; its checksums are those of the real files."""
    from torchvision.datasets import CIFAR10

    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    labels = [i % 10 for i in range(per_batch)]
    for b, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        planes = np.zeros((per_batch, 3, 1024), dtype=np.uint8)
        planes[:, 0, 1] = b + 1  # red of the second pixel in the first row
        planes[:, 2, 32] = np.arange(per_batch)  # blue of the first pixel in the second row
        batch = {"data": planes.reshape(per_batch, 3072), "labels": labels}
        (folder / name).write_bytes(pickle.dumps(batch))
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    monkeypatch.setattr(CIFAR10, "train_list", [(name, None) for name, _ in CIFAR10.train_list])
    monkeypatch.setattr(CIFAR10, "test_list", [(name, None) for name, _ in CIFAR10.test_list])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": None})
    return root


def make(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """A small instance of a data set whose data are in place."""
    if kind == "caltech101":
        return Caltech101(root=caltech_folder(tmp_path / "data"))
    if kind == "cifar10":
        return Cifar10(root=cifar_folder(tmp_path / "data", monkeypatch))
    if kind == "image_folder":
        return ImageFolder(path=class_folders(tmp_path / "pets", cat=5, dog=10))
    if kind == "glyphs":
        glyphs = Glyphs(per_class=2, source_width=24, source_height=16)
        glyphs.prepare(lambda line: None)
        return glyphs
    return Digits()


class TestContract:
    """What holds of every data set; a new one is covered once `make` knows it."""

    @pytest.fixture(params=catalog.kinds("datasets"))
    def dataset(self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
        return make(request.param, tmp_path, monkeypatch)

    def test_images_labels_classes_and_splits_fit_together(self, dataset: Dataset) -> None:
        dataset.prepare(silent)
        source = dataset.read(0)
        assert len(source.images) == len(source.labels)
        assert source.labels.dtype == np.int64
        assert set(source.labels) == set(range(len(source.classes)))
        assert len(source.classes) == dataset.num_classes()
        assert list(source.splits)[:2] == ["train", "val"]
        everything = np.concatenate(list(source.splits.values()))
        assert sorted(everything) == list(range(len(source.labels)))
        assert all(len(indices) and indices.dtype == np.int64 for indices in source.splits.values())

    def test_reading_twice_gives_the_same(self, dataset: Dataset) -> None:
        one, two = dataset.read(3), dataset.read(3)
        assert np.array_equal(np.asarray(one.images), np.asarray(two.images))
        for split in one.splits:
            assert np.array_equal(one.splits[split], two.splits[split])

    def test_the_identity_knows_no_path(self, dataset: Dataset, tmp_path: Path) -> None:
        assert str(tmp_path) not in repr(dataset.identity())
        assert dataset.identity()["kind"] == catalog.kind_of(type(dataset))

    def test_the_fingerprint_is_a_digest_of_the_files(self, dataset: Dataset) -> None:
        assert dataset.files() == dataset.files()
        fingerprint = dataset.fingerprint()
        assert fingerprint is not None
        assert len(fingerprint) == 32
        assert fingerprint == dataset.fingerprint()


def test_planning_imports_none_of_the_heavy_libraries(tmp_path: Path) -> None:
    code = f"""
import sys
from experiments import catalog
for settings in ({{"kind": "digits"}}, {{"kind": "cifar10"}}, {{"kind": "caltech101"}}, {{"kind": "glyphs"}},
                 {{"kind": "image_folder", "path": {str(tmp_path)!r}}}):
    dataset = catalog.parse("datasets", settings)
    dataset.num_classes(), dataset.identity(), dataset.files(), dataset.fingerprint()
print(sorted({{"torch", "torchvision", "sklearn", "matplotlib", "PIL", "scipy"}} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


class TestDigits:
    def test_the_arrays_are_scikit_learns(self) -> None:
        from sklearn.datasets import load_digits

        source, original = Digits().read(0), load_digits()
        assert isinstance(source.images, np.ndarray)
        assert source.images.shape == (1797, 8, 8, 3)
        assert source.images.dtype == np.uint8
        assert source.images.max() == 255
        assert np.array_equal(np.round(source.images[..., 1] * (16 / 255)), original.images)
        assert np.array_equal(source.labels, original.target)
        assert [len(source.splits[split]) for split in ("train", "val")] == [1438, 359]

    def test_a_missing_package_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert Digits().fingerprint() is None
        assert "scikit-learn" in fails(lambda: Digits().prepare(silent))


class TestCifar10:
    def test_the_official_test_images_validate(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = Cifar10(root=cifar_folder(tmp_path, monkeypatch)).read(0)
        assert isinstance(source.images, np.ndarray)
        assert source.images.shape == (120, 32, 32, 3)
        assert source.images[100, 0, 1].tolist() == [6, 0, 0]
        assert source.images[103, 1, 0].tolist() == [0, 0, 3]
        assert source.labels[100:103].tolist() == [0, 1, 2]
        assert source.classes[9] == "truck"
        assert source.splits["train"].tolist() == list(range(100))
        assert source.splits["val"].tolist() == list(range(100, 120))

    def test_a_part_of_the_training_images_validates(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = Cifar10(root=cifar_folder(tmp_path, monkeypatch), val_fraction=0.2).read(0)
        assert {split: len(indices) for split, indices in source.splits.items()} == {
            "train": 80,
            "val": 20,
            "test": 20,
        }
        assert source.splits["test"].tolist() == list(range(100, 120))
        assert np.bincount(source.labels[source.splits["val"]]).tolist() == [2] * 10

    def test_without_network_it_says_which_file_goes_where(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from torchvision.datasets import CIFAR10

        def away(self: object) -> None:
            raise OSError("<urlopen error [Errno -3] Temporary failure\nin name resolution>")

        monkeypatch.setattr(CIFAR10, "download", away)
        dataset = Cifar10(root=tmp_path / "data")
        said: list[str] = []
        assert dataset.files() == []
        assert dataset.fingerprint() is None
        message = fails(lambda: dataset.prepare(said.append))
        assert (
            f"put cifar-10-python.tar.gz (https://www.cs.toronto.edu/~kriz/cifar.html) into {tmp_path}/data/" in message
        )
        assert f"{tmp_path}/data/cifar-10-batches-py/" in message
        assert "name resolution" in message
        assert said == [f"cifar10: downloading to {tmp_path}/data/ (170 MB)"]
        assert "cifar-10-python.tar.gz" in fails(lambda: dataset.read(0))

    def test_a_damaged_file_is_told_from_a_missing_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        dataset = Cifar10(root=cifar_folder(tmp_path, monkeypatch))
        monkeypatch.undo()
        message = fails(lambda: dataset.read(0))
        assert f"{tmp_path}/cifar-10-batches-py: a file is incomplete or altered" in message


class TestCaltech101:
    def test_the_background_is_no_class(self, tmp_path: Path) -> None:
        dataset = Caltech101(root=caltech_folder(tmp_path, images=3))
        source = dataset.read(0)
        assert len(source.classes) == 101
        assert list(source.classes) == sorted(source.classes)
        assert "BACKGROUND_Google" not in source.classes
        assert len(source.images) == len(dataset.files()) == 303
        assert Path(source.images[4]).parent.name == source.classes[source.labels[4]]

    def test_it_agrees_with_torchvisions_loader(self, tmp_path: Path) -> None:
        from torchvision.datasets import Caltech101 as Loader

        root = caltech_folder(tmp_path, images=2)
        # torchvision takes every name in the folder for a category
        (root / "caltech101/101_ObjectCategories/.DS_Store").unlink()
        theirs, ours = Loader(str(root)), Caltech101(root=root, image_size=8).read(0)
        assert tuple(theirs.categories) == ours.classes
        for i in (0, 77, 201):
            image, label = theirs[i]
            assert label == ours.labels[i]
            assert np.array_equal(np.asarray(image), decode_file(Path(ours.images[i]), 8))

    def test_a_part_of_the_categories_is_a_mistake(self, tmp_path: Path) -> None:
        dataset = Caltech101(root=caltech_folder(tmp_path, categories=3, images=1))
        message = fails(lambda: dataset.prepare(silent))
        assert f"{tmp_path}/caltech101/101_ObjectCategories: holds 3 categories" in message
        assert "expected 101" in message
        assert message == fails(lambda: dataset.read(0))

    def test_an_empty_category_is_named(self, tmp_path: Path) -> None:
        dataset = Caltech101(root=caltech_folder(tmp_path, images=1))
        (tmp_path / "caltech101/101_ObjectCategories/category_007/image_0001.jpg").unlink()
        assert "category_007: a class without images" in fails(lambda: dataset.prepare(silent))

    @pytest.mark.parametrize("reason", [OSError("network\nunreachable"), RuntimeError("'gdown' is required")])
    def test_without_network_it_says_which_file_goes_where(
        self, reason: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from torchvision.datasets import Caltech101 as Loader

        def away(self: object) -> None:
            raise reason

        monkeypatch.setattr(Loader, "download", away)
        dataset = Caltech101(root=tmp_path / "data")
        said: list[str] = []
        assert dataset.fingerprint() is None
        message = fails(lambda: dataset.prepare(said.append))
        assert str(reason).split()[-1] in message
        assert "put caltech-101.zip" in message
        assert f"into {tmp_path}/data/caltech101/, or" in message
        assert f"{tmp_path}/data/caltech101/101_ObjectCategories/" in message
        assert said == [f"caltech101: downloading to {tmp_path}/data/caltech101/ (137 MB)"]
        assert not (tmp_path / "data").exists(), "nothing is left of the attempt"
        assert "put caltech-101.zip" in fails(lambda: dataset.read(0))

    def test_a_download_appears_whole_and_an_archive_put_there_is_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from torchvision.datasets import Caltech101 as Loader

        def unpack(self: Loader) -> None:
            assert (Path(self.root) / "caltech-101.zip").read_text() == "archive"
            caltech_folder(Path(self.root).parent, images=1)
            (Path(self.root) / "101_ObjectCategories" / ".DS_Store").unlink()
            assert dataset.files() == []

        monkeypatch.setattr(Loader, "download", unpack)
        place = tmp_path / "data" / "caltech101"
        place.mkdir(parents=True)
        (place / "caltech-101.zip").write_text("archive")
        dataset = Caltech101(root=tmp_path / "data")
        dataset.prepare(lambda line: None)
        dataset.prepare(silent)
        assert len(dataset.files()) == 101
        assert sorted(path.name for path in place.iterdir()) == ["101_ObjectCategories", "caltech-101.zip"]


def test_one_process_at_a_time_puts_a_data_set_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's loaders download to the archive's own name, which a second one would cut short."""
    downloads: list[str] = []

    def load(root: str, download: bool) -> None:
        assert not list(tmp_path.glob("*.gz")), "another one downloads"
        archive = tmp_path / "cifar-10-python.tar.gz"
        archive.touch()
        time.sleep(1.5)
        archive.unlink()
        (tmp_path / cifar10.FOLDER).mkdir()
        for name in cifar10.FILES:
            (tmp_path / cifar10.FOLDER / name).touch()
        downloads.append("one")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", load)
    said: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(put_in_place, Cifar10(root=tmp_path), said.append) for _ in range(2)]
        for one in both:
            one.result()
    assert downloads == ["one"]
    assert said[-1] == "cifar10: waiting for another process that puts it in place"


def test_a_draft_that_a_killed_process_left_is_deleted_a_day_later(tmp_path: Path) -> None:
    for name, hours in ((".glyphs-old", 25), (".glyphs-new", 23)):
        (tmp_path / name / "A").mkdir(parents=True)
        os.utime(tmp_path / name, (time.time() - 3600 * hours,) * 2)
    with drafted(tmp_path / "glyphs") as draft:
        assert {folder.name for folder in tmp_path.iterdir()} == {".glyphs-new", draft.name}
    assert [folder.name for folder in tmp_path.iterdir()] == [".glyphs-new"]
