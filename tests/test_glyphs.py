"""Rendered characters: the same bytes everywhere, and never half of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from batches import a_recipe
from PIL import Image

from experiments.datasets.glyphs import CHARACTERS, FONTS, Glyphs, font_files
from experiments.language.validation import Problem
from experiments.recipe import parse_recipe
from trainer.decoding import decode_file
from trainer.errors import UserError


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


class TestGlyphs:
    def test_two_renderings_have_the_same_bytes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        contents = []
        for folder in ("one", "two"):
            monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / folder))
            glyphs = Glyphs(per_class=1, source_width=60, source_height=40)
            glyphs.prepare(lambda line: None)
            contents.append([file.read_bytes() for file in glyphs.files()])
        assert contents[0] == contents[1]
        assert len(set(contents[0])) == 62

    def test_sizes_vary_and_every_image_shows_something(self) -> None:
        glyphs = Glyphs(per_class=1)
        glyphs.prepare(lambda line: None)
        sizes = []
        for file in glyphs.files():
            with Image.open(file) as image:
                sizes.append(image.size)
        widths, heights = zip(*sizes, strict=True)
        assert len(set(widths)) > 30
        assert 225 <= min(widths) < 270 < 330 < max(widths) <= 375
        assert 150 <= min(heights) < 180 < 220 < max(heights) <= 250
        for file in glyphs.files():
            assert decode_file(file, 64).std(axis=(0, 1)).max() > 5, file

    def test_more_images_leave_the_first_ones_as_they_were(self) -> None:
        small = {"source_width": 20, "source_height": 20}
        few, more, other = (
            Glyphs(per_class=1, **small),
            Glyphs(per_class=2, **small),
            Glyphs(per_class=1, render_seed=1, **small),
        )
        for glyphs in (few, more, other):
            glyphs.prepare(lambda line: None)
        firsts = [(glyphs.folder() / "upper_Q" / "00000.jpg").read_bytes() for glyphs in (few, more, other)]
        assert firsts[0] == firsts[1] != firsts[2]

    def test_a_broken_rendering_is_never_used(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from experiments.datasets import glyphs as module

        glyphs = Glyphs(per_class=1, source_width=20, source_height=20)
        render, rendered = module.render, []

        def interrupted(*args: object) -> None:
            render(*args)  # type: ignore[arg-type]
            rendered.append(args)
            if len(rendered) == 5:
                raise KeyboardInterrupt

        monkeypatch.setattr(module, "render", interrupted)
        with pytest.raises(KeyboardInterrupt):
            glyphs.prepare(lambda line: None)
        assert glyphs.files() == []
        assert glyphs.fingerprint() is None
        assert list((cache / "glyphs").iterdir()) == []

    def test_another_builder_may_be_first(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from experiments.datasets import glyphs as module

        glyphs = Glyphs(per_class=1, source_width=20, source_height=20)
        render = module.render

        def raced(*args: object) -> None:
            monkeypatch.setattr(module, "render", render)
            glyphs.prepare(lambda line: None)
            render(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(module, "render", raced)
        glyphs.prepare(lambda line: None)
        assert len(glyphs.files()) == 62
        assert list((cache / "glyphs").iterdir()) == [glyphs.folder()]

    @pytest.mark.parametrize(
        ("settings", "least"), [({"per_class": 1}, 2), ({"per_class": 2, "test_fraction": 0.1}, 3)]
    )
    def test_a_split_without_images_is_refused(self, settings: dict[str, Any], least: int) -> None:
        few = f"got per_class {least - 1}, expected at least {least}: one image for each split"
        with pytest.raises(Problem, match=few):
            parse_recipe(a_recipe({}) | {"dataset": {"kind": "glyphs", **settings}})
        parse_recipe(a_recipe({}) | {"dataset": {"kind": "glyphs", **settings, "per_class": least}})

    def test_the_class_names_differ_by_more_than_case(self) -> None:
        assert len({name.lower() for name in CHARACTERS}) == len(set(CHARACTERS.values())) == 62

    def test_every_font_draws_every_character(self) -> None:
        from matplotlib.ft2font import FT2Font

        for file in font_files():
            glyphs = FT2Font(str(file)).get_charmap()
            assert all(ord(character) in glyphs for character in CHARACTERS.values()), file

    def test_a_missing_font_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        spec = SimpleNamespace(origin=str(tmp_path / "matplotlib" / "__init__.py"))
        monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
        message = fails(lambda: Glyphs(per_class=1).prepare(lambda line: None))
        assert f"{tmp_path}/matplotlib/mpl-data/fonts/ttf/{FONTS[0]}.ttf: missing" in message
