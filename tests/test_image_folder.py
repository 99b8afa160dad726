"""Image folders in both layouts, and what is said about those that can't be used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.datasets.image_folder import ImageFolder
from trainer.errors import UserError
from trainer.settings import digest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))


def fails(act: Callable[[], object]) -> str:
    """The message of the UserError that `act` raises, a single line."""
    with pytest.raises(UserError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def fill(top: Path, **counts: int) -> Path:
    """Below `top`, a folder of each name with so many images."""
    for name, count in counts.items():
        (top / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.new("RGB", (8, 8), (i, 0, 0)).save(top / name / f"{i:02d}.png")
    return top


def prepare(folder: Path, **settings: object) -> None:
    ImageFolder(path=folder, **settings).prepare(lambda line: pytest.fail(f"said {line!r}"))


class TestOneFolder:
    def test_it_is_split_class_by_class(self, tmp_path: Path) -> None:
        source = ImageFolder(path=fill(tmp_path / "pets", dog=10, cat=5)).read(0)
        assert source.classes == ("cat", "dog")
        assert {split: np.bincount(source.labels[i]).tolist() for split, i in source.splits.items()} == {
            "train": [4, 8],
            "val": [1, 2],
        }

    def test_a_test_fraction_keeps_images_apart(self, tmp_path: Path) -> None:
        folder = fill(tmp_path / "pets", dog=20, cat=10)
        source = ImageFolder(path=folder, train_fraction=0.6, test_fraction=0.2).read(0)
        assert {split: np.bincount(source.labels[i]).tolist() for split, i in source.splits.items()} == {
            "train": [6, 12],
            "val": [2, 4],
            "test": [2, 4],
        }
        assert sorted(np.concatenate(list(source.splits.values()))) == list(range(30))

    def test_files_are_found_as_torchvision_finds_them(self, tmp_path: Path) -> None:
        from torchvision.datasets import ImageFolder as Loader

        folder = fill(tmp_path / "pets", dog=3, Cat=2, cat=2)
        fill(folder / "dog" / "puppies", small=2)
        (folder / "dog" / "00.png").rename(folder / "dog" / "LOUD.PNG")
        (folder / "dog" / "notes.txt").write_text("not an image")
        (tmp_path / "elsewhere").mkdir()
        fill(tmp_path / "elsewhere", x=1)
        (folder / "dog" / "linked").symlink_to(tmp_path / "elsewhere" / "x")
        ours, theirs = ImageFolder(path=folder).read(0), Loader(str(folder))
        assert ours.classes == tuple(theirs.classes) == ("Cat", "cat", "dog")
        mine = {(str(file), int(label)) for file, label in zip(ours.images, ours.labels, strict=True)}
        assert mine == set(theirs.samples)

    def test_hidden_names_are_left_out(self, tmp_path: Path) -> None:
        folder = fill(tmp_path / "pets", cat=2, dog=2)
        fill(folder, **{".thumbnails": 3})
        (folder / "cat" / "._00.png").write_text("what a Mac leaves on other disks")
        assert len(ImageFolder(path=folder).files()) == 4

    def test_a_link_back_up_is_not_followed_for_ever(self, tmp_path: Path) -> None:
        folder = fill(tmp_path / "pets", cat=2, dog=2)
        (folder / "cat" / "again").symlink_to(folder / "cat")
        assert len(ImageFolder(path=folder).files()) == 4

    def test_a_class_may_be_called_train(self, tmp_path: Path) -> None:
        source = ImageFolder(path=fill(tmp_path / "vehicles", bus=2, train=2)).read(0)
        assert source.classes == ("bus", "train")


class TestSplitBeforehand:
    @pytest.mark.parametrize("val", ["val", "valid", "validation"])
    def test_the_folders_are_the_splits(self, val: str, tmp_path: Path) -> None:
        fill(tmp_path / "train", cat=3, dog=2)
        fill(tmp_path / val, cat=1, dog=2)
        fill(tmp_path / "test", dog=1)
        source = ImageFolder(path=tmp_path).read(0)
        assert source.classes == ("cat", "dog")
        assert list(source.splits) == ["train", "val", "test"]
        for split, folder, labels in (
            ("train", "train", [0, 0, 0, 1, 1]),
            ("val", val, [0, 1, 1]),
            ("test", "test", [1]),
        ):
            files = [Path(source.images[i]) for i in source.splits[split]]
            assert {file.parent.parent.name for file in files} == {folder}
            assert source.labels[source.splits[split]].tolist() == labels

    def test_a_test_folder_without_classes_is_left_alone(self, tmp_path: Path) -> None:
        for split in ("train", "val"):
            fill(tmp_path / split, cat=2, dog=2)
        fill(tmp_path, test=3)
        source = ImageFolder(path=tmp_path).read(0)
        assert sorted(source.splits) == ["train", "val"]
        assert source.classes == ("cat", "dog")
        assert len(source.images) == 8

    def test_a_class_that_is_not_trained_on_is_named(self, tmp_path: Path) -> None:
        fill(tmp_path / "train", cat=1, dog=1)
        fill(tmp_path / "val", cat=1, dgo=1)
        message = fails(lambda: prepare(tmp_path))
        assert f"{tmp_path}/val/dgo: a class that {tmp_path}/train lacks" in message

    def test_a_class_without_images_is_named(self, tmp_path: Path) -> None:
        fill(tmp_path / "train", cat=1, dog=1)
        fill(tmp_path / "val", cat=1, dog=0)
        assert f"{tmp_path}/val/dog: a class without images" in fails(lambda: prepare(tmp_path))

    def test_settings_of_a_split_would_have_no_effect(self, tmp_path: Path) -> None:
        fill(tmp_path / "train", cat=1, dog=1)
        fill(tmp_path / "val", cat=1, dog=1)
        prepare(tmp_path)
        message = fails(lambda: prepare(tmp_path, train_fraction=0.5, split_seed=1))
        assert f"{tmp_path}: is split into train, val already" in message
        assert "train_fraction" in message
        assert "split_seed" in message

    @pytest.mark.parametrize(
        ("folders", "said"),
        [(("train", "test"), "expected val/"), (("train", "val", "valid"), "val/ and valid/, expected one")],
    )
    def test_other_sets_of_folders_are_refused(self, folders: tuple[str, ...], said: str, tmp_path: Path) -> None:
        for name in folders:
            fill(tmp_path / name, cat=1, dog=1)
        message = fails(lambda: prepare(tmp_path))
        assert str(tmp_path) in message
        assert said in message


class TestUnusable:
    def test_no_such_folder(self, tmp_path: Path) -> None:
        dataset = ImageFolder(path=tmp_path / "nowhere")
        assert dataset.files() == []
        assert dataset.fingerprint() is None
        assert dataset.num_classes() is None
        for act in (lambda: prepare(tmp_path / "nowhere"), lambda: dataset.read(0)):
            message = fails(act)
            assert f"{tmp_path}/nowhere: no such folder, expected a folder per class" in message

    def test_no_such_folder_but_one_that_is_called_alike(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "photos").mkdir()
        monkeypatch.chdir(tmp_path)
        assert fails(lambda: prepare(Path("photo"))).endswith("; did you mean 'photos'?")
        assert fails(lambda: prepare(Path("images"))).endswith(f"; the path leads from the working folder, {tmp_path}")

    def test_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "pets.zip").write_text("")
        assert f"{tmp_path}/pets.zip: is a file" in fails(lambda: prepare(tmp_path / "pets.zip"))

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "pets").mkdir()
        assert ImageFolder(path=tmp_path / "pets").fingerprint() is None
        assert ImageFolder(path=tmp_path / "pets").num_classes() is None
        assert f"{tmp_path}/pets: holds no class folders" in fails(lambda: prepare(tmp_path / "pets"))

    def test_one_class(self, tmp_path: Path) -> None:
        message = fails(lambda: prepare(fill(tmp_path / "pets", cat=3)))
        assert f"{tmp_path}/pets: holds one class, cat, expected two or more" in message

    def test_a_class_without_images(self, tmp_path: Path) -> None:
        folder = fill(tmp_path / "pets", cat=2, dog=0)
        (folder / "dog" / "readme.txt").write_text("")
        assert f"{folder}/dog: a class without images" in fails(lambda: prepare(folder))

    def test_too_few_images_to_split(self, tmp_path: Path) -> None:
        folder = fill(tmp_path / "pets", cat=1, dog=1)
        assert f"{folder}: no class has 2 images" in fails(lambda: prepare(folder))
        fill(folder, cat=2)
        prepare(folder)
        assert "no class has 3 images" in fails(lambda: prepare(folder, test_fraction=0.1))

    def test_a_link_to_nothing(self, tmp_path: Path) -> None:
        folder = fill(tmp_path / "pets", cat=2, dog=2)
        (folder / "cat" / "lost.png").symlink_to(tmp_path / "nowhere.png")
        assert f"{folder}/cat/lost.png: a link to a file that does not exist" in fails(lambda: prepare(folder))

    def test_another_number_of_classes(self, tmp_path: Path) -> None:
        folder = fill(tmp_path / "pets", cat=2, dog=2)
        prepare(folder, classes=2)
        message = fails(lambda: prepare(folder, classes=3))
        assert f"{folder}: holds 2 classes" in message
        assert "classes: 3" in message


class TestPlanning:
    def test_the_number_of_classes_needs_no_images_if_given(self, tmp_path: Path) -> None:
        assert ImageFolder(path=tmp_path / "nowhere", classes=37).num_classes() == 37
        assert ImageFolder(path=fill(tmp_path / "pets", cat=1, dog=1)).num_classes() == 2
        fill(tmp_path / "split" / "train", cat=1, dog=1, hen=1)
        fill(tmp_path / "split" / "val", cat=1)
        assert ImageFolder(path=tmp_path / "split").num_classes() == 3

    def test_the_name_stands_for_the_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "pets").mkdir()
        monkeypatch.chdir(tmp_path / "pets")
        paths = ("/here/pets", "/there/pets/", ".", "~/pets")
        identities = [ImageFolder(path=Path(path)).identity() for path in paths]
        identities.append(ImageFolder(path=Path("/x"), name="pets", classes=2).identity())
        assert all(identity == {"kind": "image_folder", "name": "pets"} for identity in identities)
        assert digest(ImageFolder(path=Path("/here/birds")).identity()) != digest(identities[0])

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"train_fraction": 0.8, "test_fraction": 0.2}, "expected a sum below 1"),
            ({"stored_size": 100, "image_size": 224}, "expected at least the image_size, 224"),
        ],
    )
    def test_settings_that_contradict_each_other(self, settings: dict[str, float], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            ImageFolder(path=Path("x"), **settings)

    def test_links_to_folders_above_add_nothing(self, tmp_path: Path) -> None:
        folder = fill(tmp_path / "pets", cat=2, dog=3)
        (folder / "cat" / "all").symlink_to("..")
        (folder / "cat" / "me").symlink_to(".")
        (folder / "dog" / "everything").symlink_to("/")
        source = ImageFolder(path=folder).read(0)
        assert np.bincount(source.labels).tolist() == [2, 3]

    @pytest.mark.parametrize("above", [".", "..", "/"])
    def test_a_link_to_a_folder_above_is_no_class(self, above: str, tmp_path: Path) -> None:
        folder = fill(tmp_path / "pets", cat=2, dog=3)
        (folder / "all").symlink_to(above)
        assert f"{folder}/all: a link to a folder that holds it" in fails(lambda: prepare(folder))
        assert len(ImageFolder(path=folder).files()) == 5

    @pytest.mark.parametrize("name", ["loop.jpg", "loop"])
    def test_links_that_lead_nowhere(self, name: str, tmp_path: Path) -> None:
        folder = fill(tmp_path / "pets", cat=2, dog=2)
        (folder / "cat" / name).symlink_to(name)
        assert f"{folder}/cat/{name}: a link that can't be followed (" in fails(lambda: prepare(folder))

    def test_names_that_are_not_utf_8(self, tmp_path: Path) -> None:
        folder = fill(tmp_path / "pets", cat=2, dog=2)
        bad = os.fsdecode(b"\xff\xe9.png")
        (folder / "cat" / "00.png").rename(folder / "cat" / bad)
        assert f"{folder}/cat: the name \\xff\\xe9.png in it is not UTF-8" in fails(lambda: prepare(folder))

    def test_files_of_other_kinds(self, tmp_path: Path) -> None:
        folder = fill(tmp_path / "pets", cat=2, dog=0)
        Image.new("L", (4, 4)).save(folder / "dog" / "0.gif")
        message = fails(lambda: prepare(folder))
        assert f"{folder}/dog: a class without images (it holds 0.gif), expected files of .jpg, " in message

    def test_splits_in_other_words(self, tmp_path: Path) -> None:
        for name in ("Train", "Val"):
            fill(tmp_path / "pets" / name, cat=1, dog=1)
        assert f"{tmp_path}/pets: holds Train/, Val/, expected a folder per class" in fails(
            lambda: prepare(tmp_path / "pets")
        )

    def test_where_results_would_come(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = fill(tmp_path / "pets", cat=2, dog=2)
        for inside in (folder, folder / "cat"):
            monkeypatch.chdir(inside)
            assert f"{folder}: the working folder is in it" in fails(lambda: prepare(folder))

    @pytest.mark.parametrize("name", ["x" * 300, "~nobody-of-this-name/pets"])
    def test_paths_that_can_not_be(self, name: str) -> None:
        assert name in fails(lambda: prepare(Path(name)))


class TestNotes:
    """What a user should know of a folder that can be trained on."""

    def of(self, folder: Path, **settings: object) -> list[str]:
        return ImageFolder(path=folder, **settings).notes()

    def test_the_size_alone_where_nothing_is_odd(self, tmp_path: Path) -> None:
        folder = written_apart(tmp_path, train={"a": 6, "b": 6}, val={"a": 2, "b": 3})
        assert self.of(folder) == ["12 training, 5 validation images of 2 classes, 6 training images each"]
        fill(tmp_path / "alone", a=1)
        assert self.of(tmp_path / "alone") == [], "it can't be trained on, which `prepare` says"

    def test_classes_that_lack_images(self, tmp_path: Path) -> None:
        folder = written_apart(tmp_path, train={"a": 6, "b": 1}, val={"a": 2})
        assert self.of(folder)[1:] == [
            "1 class (b) without validation images",
            "1 class (b) with a single training image",
        ]

    def test_what_is_left_alone(self, tmp_path: Path) -> None:
        folder = written_apart(tmp_path, train={"a": 2, "b": 2}, val={"a": 1, "b": 1})
        for place in ("train/a/1.gif", "train/b/2.gif", "val/a/notes", "train/a/.hidden", "train/loose.png"):
            (folder / place).write_bytes(place.encode())
        assert self.of(folder)[1:] == [
            "3 files left alone, as their endings are of no images: .gif, none",
            "1 image beside the folders of classes left alone, such as loose.png",
        ]

    def test_images_that_are_trained_on_as_well(self, tmp_path: Path) -> None:
        folder = written_apart(tmp_path, train={"a": 3, "b": 3}, val={"a": 2, "b": 2})
        for name in ("0", "1"):
            (folder / "val/a" / f"{name}.png").write_bytes((folder / "train/a" / f"{name}.png").read_bytes())
        (line,) = self.of(folder)[1:]
        assert line.startswith("2 of 4 images outside of training are trained on as well, byte by byte: ")
        assert line.endswith(f"{folder}/val/a/0.png is {folder}/train/a/0.png")

    def test_an_image_of_two_classes(self, tmp_path: Path) -> None:
        folder = written_apart(tmp_path, train={"a": 3, "b": 3}, val={"a": 2, "b": 2})
        (folder / "train/b/1.png").write_bytes((folder / "train/a/0.png").read_bytes())
        (line,) = self.of(folder)[1:]
        one, other = folder / "train/a/0.png", folder / "train/b/1.png"
        assert line == f"1 image in several classes, byte by byte: {one} is {other}"


def written_apart(tmp_path: Path, **splits: dict[str, int]) -> Path:
    """A folder that is split beforehand, in which no two images are the same."""
    shade = iter(range(256))
    for split, classes in splits.items():
        for name, number in classes.items():
            place = tmp_path / "split" / split / name
            place.mkdir(parents=True)
            for i in range(number):
                Image.new("RGB", (8, 8), (next(shade), 0, 0)).save(place / f"{i}.png")
    return tmp_path / "split"
