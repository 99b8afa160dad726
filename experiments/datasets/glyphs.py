"""Letters and digits in the fonts that matplotlib carries: they stand in for photographs, without a download.

Files of varying size in a folder per class, so that reading them costs what reading photographs costs. No
network can name every image: `s` is a small `S`; in some fonts `O` and `0`, or `I` and `l`, are one shape.
"""

from __future__ import annotations

import importlib.util
import io
import math
import string
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from trainer.data import Source
from trainer.draws import Draws
from trainer.errors import UserError
from trainer.settings import digest

from ..options import Dataset
from ..training.folders import cache_folder
from ._folders import class_folders, drafted, flatten, images_below, images_by_class, put_in_place
from ._split import SplitSettings

if TYPE_CHECKING:
    from ..recipe import Recipe

RENDERER = 1
"""Raised by hand when the same settings would now be drawn as other images."""

CHARACTERS = {
    **{f"digit_{c}": c for c in string.digits},
    **{f"lower_{c}": c for c in string.ascii_lowercase},
    **{f"upper_{c}": c for c in string.ascii_uppercase},
}
"""Class name to character; the names differ by more than case, because some file systems ignore it."""

# by name, because the files alone don't tell: cmex10, cmsy10 and LastResort map letters to other shapes
FONTS = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-BoldOblique", "-Oblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-BoldOblique", "-Oblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-BoldItalic", "-Italic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "BolIta", "Italic")),
    *("cmb10", "cmmi10", "cmr10", "cmss10", "cmti10", "cmtt10"),
)
"""Fonts below matplotlib's mpl-data/fonts/ttf that draw all of CHARACTERS."""


class Glyphs(SplitSettings, Dataset):
    """62 characters as JPEG files: random font, size, place, angle and colours; rendered once per machine."""

    kind: Literal["glyphs"] = "glyphs"

    image_size: PositiveInt = 64
    """Side of the square images that the network sees, in pixels."""

    per_class: PositiveInt = 60
    """Images of each character."""

    source_width: int = Field(default=300, ge=16)
    """Mean width of the files' images, in pixels; each is drawn from 0.75 to 1.25 times that."""

    source_height: int = Field(default=200, ge=16)
    """Mean height of the files' images, likewise."""

    render_seed: int = Field(default=0, ge=0)
    """Draws the images; another seed renders another data set."""

    def check(self, recipe: Recipe) -> None:  # noqa: D102
        least = 2 if self.test_fraction == 0.0 else 3
        if self.per_class < least:
            raise ValueError(f"got per_class {self.per_class}, expected at least {least}: one image for each split")

    def num_classes(self) -> int:  # noqa: D102
        return len(CHARACTERS)

    def prepare(self, say: Callable[[str], None]) -> None:  # noqa: D102
        if self.folder().is_dir():
            return
        say(f"glyphs: rendering {len(CHARACTERS) * self.per_class} images to {self.folder()}/")
        self._render()

    def files(self) -> list[Path]:  # noqa: D102
        folder = self.folder()
        if not folder.is_dir():
            return []
        return [file for name in class_folders(folder) for file in images_below(folder / name)]

    def read(self, split_key: int) -> Source:  # noqa: D102
        self.prepare(lambda line: None)
        classes = list(CHARACTERS)
        files, labels = flatten(images_by_class(self.folder(), classes), classes)
        return Source(files, labels, tuple(classes), self.split(labels, split_key))

    def folder(self) -> Path:
        """Where the images are or will be; each release of Pillow or matplotlib renders its own."""
        libraries = [version("pillow"), version("matplotlib")]
        settings = [self.per_class, self.source_width, self.source_height, self.render_seed]
        return cache_folder() / "glyphs" / digest([RENDERER, *settings, *libraries])

    def _render(self) -> None:
        fonts = [font.read_bytes() for font in font_files()]
        place = self.folder()
        with drafted(place) as draft:
            for name, character in CHARACTERS.items():
                (draft / name).mkdir()
                # keyed by class and image: a larger `per_class` leaves the first images as they were
                draws = Draws(self.render_seed).uniform(f"glyph {name}", np.arange(self.per_class), 14)
                for i, row in enumerate(draws):
                    size = (_between(row[0], self.source_width), _between(row[1], self.source_height))
                    render(character, size, fonts, row[2:], draft / name / f"{i:05d}.jpg")
            put_in_place(draft, place)


def font_files() -> list[Path]:
    """The files of FONTS, found without importing matplotlib; raises UserError naming one that is missing."""
    package = importlib.util.find_spec("matplotlib")
    home = Path(package.origin).parent if package and package.origin else Path("matplotlib")
    files = [home / "mpl-data" / "fonts" / "ttf" / f"{name}.ttf" for name in FONTS]
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: missing, expected there by the data set 'glyphs'; reinstall matplotlib")
    return files


def render(character: str, size: tuple[int, int], fonts: list[bytes], draws: NDArray[np.float64], file: Path) -> None:
    """Draw a character on an image of size (width, height) and save it.

    `draws` [12], uniform in (0, 1), decide on font, height, angle, colours and place.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = io.BytesIO(fonts[int(draws[0] * len(fonts))])
    square = min(size)
    height = round((0.35 + 0.45 * draws[1]) * square)
    # the basic layout, because the other one depends on a library that not every Pillow carries
    face = ImageFont.truetype(font, height, layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = face.getbbox(character)
    mask = Image.new("L", (math.ceil(right - left), math.ceil(bottom - top)))
    ImageDraw.Draw(mask).text((-left, -top), character, fill=255, font=face)
    mask = mask.rotate((draws[2] - 0.5) * 50.0, resample=Image.Resampling.BICUBIC, expand=True)
    paper, ink = _colours(draws[3:10])
    image = Image.new("RGB", size, paper)
    # anywhere in the central square, which is what decoding keeps
    x, y = (
        round((room - square) / 2 + draw * (square - extent))
        for room, extent, draw in zip(size, mask.size, draws[10:12], strict=True)
    )
    image.paste(ink, (x, y), mask)
    image.save(file, "JPEG", quality=90)


def _between(draw: float, mean: int) -> int:
    return round(mean * (0.75 + 0.5 * draw))


def _colours(draws: NDArray[np.float64]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Paper and ink as RGB: a light colour by the first three draws, a dark one by the next; the last says which."""
    light = [int(150 + 106 * draw) for draw in draws[:3]]
    dark = [int(106 * draw) for draw in draws[3:6]]
    paper, ink = (light, dark) if draws[6] < 0.5 else (dark, light)
    return (paper[0], paper[1], paper[2]), (ink[0], ink[1], ink[2])
