"""Which images train and validate, and the fingerprint that says whether they are the same ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from experiments import catalog
from experiments.datasets._split import stratified
from experiments.datasets.digits import Digits
from experiments.datasets.image_folder import ImageFolder
from experiments.training.fingerprint import content_digest
from trainer.errors import UserError

OLD = (1_000_000_000, 1_000_000_000)
"""Times of access and change, in seconds, of a file that nobody is writing."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("ABLATE_CACHE", str(folder))
    return folder


def fails(act: Callable[[], object]) -> str:
    """The message of the UserError that `act` raises, a single line."""
    with pytest.raises(UserError) as caught:
        act()
    message = str(caught.value)
    assert "\n" not in message
    return message


def class_folders(top: Path, **counts: int) -> Path:
    """Below `top`, a folder of each name with so many images, no two of them alike."""
    for c, (name, count) in enumerate(counts.items()):
        (top / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.new("RGB", (8, 8), (40 * c, 10 * i, 90)).save(top / name / f"{i}.png")
    return top


class TestSplit:
    LABELS: NDArray[np.int64] = np.repeat(np.arange(4), [50, 10, 2, 1])[np.random.default_rng(0).permutation(63)]

    def test_each_class_is_divided_by_the_fraction(self) -> None:
        train, val = stratified(self.LABELS, 0.8, seed=0)
        assert np.bincount(self.LABELS[train]).tolist() == [40, 8, 1, 1]
        assert np.bincount(self.LABELS[val]).tolist() == [10, 2, 1]
        assert sorted([*train, *val]) == list(range(63))
        assert np.array_equal(train, np.sort(train))

    @pytest.mark.parametrize("fraction", [0.01, 0.99])
    def test_both_sides_have_an_image_of_every_class_that_has_two(self, fraction: float) -> None:
        for side in stratified(self.LABELS, fraction, seed=0):
            assert set(self.LABELS[side]) >= {0, 1, 2}

    def test_a_seed_decides(self) -> None:
        one, again, other = (stratified(self.LABELS, 0.8, seed)[0] for seed in (1, 1, 2))
        assert np.array_equal(one, again)
        assert not np.array_equal(one, other)

    def test_the_classes_are_drawn_apart(self) -> None:
        labels = np.repeat([0, 1], [30, 30])
        more = np.concatenate([labels, np.zeros(30, np.int64)])
        train, train_of_more = (stratified(x, 0.8, 0)[0] for x in (labels, more))
        ones_of_more = train_of_more[(train_of_more >= 30) & (train_of_more < 60)]
        assert np.array_equal(train[train >= 30], ones_of_more)
        assert not np.array_equal(train[train < 30], train[train >= 30] - 30)

    def test_one_split_for_all_trials_or_one_each(self) -> None:
        fixed, each = Digits(), Digits(split_seed="trial")
        splits = [dataset.read(seed).splits["val"] for dataset in (fixed, each) for seed in (0, 1)]
        assert np.array_equal(splits[0], splits[1])
        assert np.array_equal(splits[0], splits[2])
        assert not np.array_equal(splits[2], splits[3])

    @pytest.mark.parametrize("value", ["trail", -1, 2**63, 1.5, True, None])
    def test_another_split_seed_is_refused_in_one_line(self, value: object) -> None:
        with pytest.raises(ValueError, match=r"expected an integer from 0, below 2\^63, or 'trial'") as caught:
            catalog.parse("datasets", {"kind": "digits", "split_seed": value})
        assert "\n" not in str(caught.value)


class TestThreeSplits:
    def test_a_test_split_that_leaves_nothing_to_validate_with_is_refused(self, tmp_path: Path) -> None:
        folder = class_folders(tmp_path / "images", a=4, b=3)
        data = ImageFolder(path=folder, train_fraction=0.1, test_fraction=0.8)
        assert fails(lambda: data.read(0)) == (
            "dataset.test_fraction: got 0.8, which of 4 images, the most that a class has, leaves one to train on and none "
            "to validate with; expected a smaller one"
        )

    def test_one_class_that_is_large_enough_is_enough(self, tmp_path: Path) -> None:
        folder = class_folders(tmp_path / "images", a=9, b=3)
        source = ImageFolder(path=folder, train_fraction=0.1, test_fraction=0.8).read(0)
        counts = {split: np.bincount(source.labels[rows]).tolist() for split, rows in source.splits.items()}
        assert counts == {"train": [1, 1], "val": [1], "test": [7, 2]}


class TestFingerprint:
    def test_it_is_of_the_content_wherever_it_lies(self, tmp_path: Path) -> None:
        here, there = (ImageFolder(path=class_folders(tmp_path / x, cat=2, dog=2)) for x in ("a", "b/c"))
        assert here.fingerprint() == there.fingerprint()

    def test_a_changed_byte_changes_it(self, tmp_path: Path) -> None:
        dataset = ImageFolder(path=class_folders(tmp_path / "a", cat=2, dog=2))
        before = dataset.fingerprint()
        file = dataset.files()[0]
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        assert dataset.fingerprint() != before

    def test_a_changed_label_changes_it(self, tmp_path: Path) -> None:
        dataset = ImageFolder(path=class_folders(tmp_path / "a", cat=2, dog=2))
        before = dataset.fingerprint()
        (tmp_path / "a/cat/1.png").rename(tmp_path / "a/dog/2.png")
        assert dataset.fingerprint() != before

    def test_other_names_for_the_same_files_are_other_data(self, tmp_path: Path) -> None:
        store = class_folders(tmp_path / "store", x=2)
        for file in (store / "x").iterdir():
            os.utime(file, OLD)
        digests = []
        for top, names in (("a", ("cat/0.png", "dog/1.png")), ("b", ("dog/0.png", "cat/1.png"))):
            files = [tmp_path / top / name for name in names]
            for file, target in zip(files, sorted((store / "x").iterdir()), strict=True):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.symlink_to(target)
            digests.append(content_digest(files))
        assert digests[0] != digests[1]

    def test_settled_files_are_read_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = class_folders(tmp_path, x=1) / "x" / "0.png"
        os.utime(file, OLD)
        # nobody can set back the time of that
        monkeypatch.setattr("experiments.training.fingerprint.SETTLED", 0.0)
        digest = content_digest([file])
        monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("read again"))
        assert content_digest([file]) == digest

    def test_a_file_that_went_away_is_named(self, tmp_path: Path) -> None:
        assert "gone.png" in fails(lambda: content_digest([tmp_path / "gone.png"]))
