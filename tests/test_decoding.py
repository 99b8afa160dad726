"""Image files of every mode, and arrays, to pixels."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from torchvision.transforms.v2 import functional

from trainer.decoding import decode_array, decode_file
from trainer.errors import UserError

GREY = np.array([[0, 80, 160, 255]] * 4, dtype=np.uint8)


def saved(image: Image.Image, file: Path, **options: Any) -> NDArray[np.uint8]:
    image.save(file, **options)
    return decode_file(file, min(image.size))


def png(levels: np.ndarray, bits: int, *clear: int) -> bytes:
    """A PNG such as Pillow does not write: so many bits a channel, a clear colour; levels: [H, W] or [H, W, 3]."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = levels.shape[:2]
    # the highest bit first; a row ends with a byte
    digits = (levels.reshape(height, -1, 1) >> np.arange(bits)[::-1]) & 1
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in digits.astype(np.uint8))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2 if levels.ndim == 3 else 0, 0, 0, 0))
        + chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def tiff(levels: np.ndarray, bits: int) -> bytes:
    """A grey TIFF of so many bits a pixel, rows of whole bytes, the highest bit first; levels: [H, W]."""
    height, width = levels.shape
    digits = (levels.reshape(height, -1, 1) >> np.arange(bits)[::-1]) & 1
    pixels = b"".join(np.packbits(row).tobytes() for row in digits.astype(np.uint8))
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory


class TestModes:
    def test_twelve_bits(self, tmp_path: Path) -> None:
        levels = np.array([[0, 1000, 2048, 4095]] * 4)
        (tmp_path / "12.tif").write_bytes(tiff(levels, 12))
        pixels = decode_file(tmp_path / "12.tif", 4)
        assert np.array_equal(pixels[..., 1], np.round(levels * 255 / 4095))

    def test_fractions_by_another_suffix(self, tmp_path: Path) -> None:
        fractions = np.array([[0, 0.25, 0.5, 1]] * 4, dtype="<f4")
        (tmp_path / "map.pgm").write_bytes(b"Pf\n4 4\n-1.0\n" + fractions.tobytes())
        assert np.array_equal(decode_file(tmp_path / "map.pgm", 4)[..., 0], np.round(fractions * 255))

    def test_grey(self, tmp_path: Path) -> None:
        pixels = saved(Image.fromarray(GREY), tmp_path / "l.png")
        assert np.array_equal(pixels, np.repeat(GREY[..., None], 3, axis=2))

    def test_one_bit(self, tmp_path: Path) -> None:
        pixels = saved(Image.fromarray(GREY).convert("1", dither=Image.Dither.NONE), tmp_path / "1.png")
        assert np.array_equal(pixels[..., 0], np.array([[0, 0, 255, 255]] * 4))

    @pytest.mark.parametrize("top", [65535, 200])
    def test_sixteen_bits(self, top: int, tmp_path: Path) -> None:
        deep = np.linspace(0, top, 16).reshape(4, 4).astype(np.uint16)
        pixels = saved(Image.fromarray(deep), tmp_path / "16.png")
        assert np.array_equal(pixels[..., 2], np.round(deep / 257).astype(np.uint8))

    @pytest.mark.parametrize("top", [250, 300, 65535])
    def test_sixteen_bits_of_a_pgm_are_as_deep_as_it_says(self, top: int, tmp_path: Path) -> None:
        """Each image on the same scale, whatever its largest value."""
        for depth in (65535, 1023):
            value = min(top, depth)
            (tmp_path / "x.pgm").write_bytes(b"P5 4 4 %d\n" % depth + np.full((4, 4), value, ">u2").tobytes())
            assert (decode_file(tmp_path / "x.pgm", 4) == round(255 * value / depth)).all(), depth

    @pytest.mark.parametrize("top", [1.0, 0.2])
    def test_fractions(self, top: float, tmp_path: Path) -> None:
        floats = (np.linspace(0, top, 16).reshape(4, 4)).astype(np.float32)
        pixels = saved(Image.fromarray(floats), tmp_path / "f.tiff")
        assert np.array_equal(pixels[..., 0], np.linspace(0, 255 * top, 16).reshape(4, 4).round())

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            (np.full((4, 4), 1.5, np.float32), "fractions from 0 to 1.5, expected 0 to 1"),
            (np.full((4, 4), -0.5, np.float32), "fractions from -0.5 to 0, expected 0 to 1"),
            (np.full((4, 4), 7, np.int32), "32-bit or signed integers, of which no one says how deep they are"),
        ],
    )
    def test_numbers_whose_range_nothing_tells(self, values: np.ndarray, reason: str, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=reason):
            saved(Image.fromarray(values), tmp_path / "f.tiff")

    def test_white_is_zero(self, tmp_path: Path) -> None:
        deep = np.array([[0, 257 * 10], [257 * 100, 65535]], dtype=np.uint16)
        pixels = saved(Image.fromarray(deep), tmp_path / "i.tiff", tiffinfo={262: 0})
        assert pixels[..., 0].tolist() == [[255, 245], [155, 0]]

    def test_sixteen_bits_with_transparency(self, tmp_path: Path) -> None:
        """A grey level, or a colour, of the file is clear (PNG's chunk tRNS, which has 16 bits here)."""
        grey = np.array([[257 * 10, 257 * 20]] * 2, dtype=np.uint16)
        pixels = saved(Image.fromarray(grey), tmp_path / "l.png", transparency=257 * 20)
        assert pixels[..., 0].tolist() == [[10, 255]] * 2
        (tmp_path / "rgb.png").write_bytes(png(np.array([[[257, 514, 771], [5140, 257, 257]]] * 2), 16, 257, 514, 771))
        assert decode_file(tmp_path / "rgb.png", 2).tolist() == [[[255, 255, 255], [20, 1, 1]]] * 2

    @pytest.mark.parametrize("side", [16, 20, 116, 150, 160])
    def test_a_clear_colour_whatever_the_size_and_wherever_the_pixels_begin(self, side: int, tmp_path: Path) -> None:
        colours = np.full((side, side, 3), (255, 0, 255), np.uint8)
        colours[side // 4 : -side // 4, side // 4 : -side // 4] = 0
        expected = np.where((colours == 0).all(2, keepdims=True), 0, 255).repeat(3, axis=2)
        for comment in range(0, 300, 1 if side == 16 else 60):
            text = PngInfo()
            text.add_text("Comment", "x" * comment)
            pixels = saved(Image.fromarray(colours), tmp_path / "k.png", transparency=(255, 0, 255), pnginfo=text)
            assert np.array_equal(pixels, expected), comment

    @pytest.mark.parametrize("bits", [1, 2, 4, 8])
    def test_a_clear_level_of_few_bits(self, bits: int, tmp_path: Path) -> None:
        most = 2**bits - 1
        (tmp_path / "g.png").write_bytes(png(np.array([[0, most, most // 2, 0]] * 4), bits, most // 2))
        row = [0 if most // 2 else 255, 255, 255, 0 if most // 2 else 255]
        assert decode_file(tmp_path / "g.png", 4)[..., 0].tolist() == [row] * 4

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_values_that_are_no_numbers_are_named(self, value: float, tmp_path: Path) -> None:
        floats = np.full((4, 4), 7, dtype=np.float32)
        floats[2, 2] = value
        with pytest.raises(UserError, match="no finite numbers"):
            saved(Image.fromarray(floats), tmp_path / "f.tiff")

    def test_transparency_lies_over_white(self, tmp_path: Path) -> None:
        rgba = np.zeros((2, 2, 4), dtype=np.uint8)
        rgba[0, 0] = (200, 0, 0, 255)
        rgba[0, 1] = (200, 0, 0, 0)
        rgba[1, 0] = (200, 0, 0, 51)
        pixels = saved(Image.fromarray(rgba), tmp_path / "rgba.png")
        assert pixels.tolist() == [[[200, 0, 0], [255, 255, 255]], [[244, 204, 204], [255, 255, 255]]]

    def test_grey_with_transparency(self, tmp_path: Path) -> None:
        la = np.array([[[10, 255], [10, 0]]] * 2, dtype=np.uint8)
        pixels = saved(Image.fromarray(la), tmp_path / "la.png")
        assert pixels[..., 1].tolist() == [[10, 255], [10, 255]]

    @pytest.mark.parametrize("transparency", [1, bytes([255, 0])])
    def test_palette_with_transparency(self, transparency: int | bytes, tmp_path: Path) -> None:
        image = Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8))
        image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
        pixels = saved(image, tmp_path / "p.png", transparency=transparency)
        assert pixels.tolist() == [[[255, 0, 0], [255, 255, 255]], [[0, 0, 255], [255, 255, 255]]]

    def test_palette(self, tmp_path: Path) -> None:
        image = Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8))
        image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
        pixels = saved(image, tmp_path / "p.gif")
        assert pixels.tolist() == [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 255, 0]]]

    def test_cmyk(self, tmp_path: Path) -> None:
        pixels = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "cmyk.jpg", quality=100)
        assert np.abs(pixels.astype(int) - (255, 0, 0)).max() <= 3

    def test_a_camera_held_on_its_side(self, tmp_path: Path) -> None:
        upright = np.zeros((6, 4, 3), dtype=np.uint8)
        upright[0, 0] = 255
        exif = Image.Exif()
        exif[0x0112] = 6  # shown after a quarter turn clockwise
        image = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
        image.save(tmp_path / "side.png", exif=exif)
        assert image.size == (6, 4)
        pixels = decode_file(tmp_path / "side.png", 4)
        assert not pixels.any()
        crop = Image.fromarray(np.ascontiguousarray(np.rot90(upright[:4])))
        crop.save(tmp_path / "square.png", exif=exif)
        assert np.array_equal(decode_file(tmp_path / "square.png", 4), upright[:4])

    @pytest.mark.parametrize("orientation", range(10))
    @pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff"])
    def test_every_orientation_is_turned_as_pillow_turns_it(self, kind: str, orientation: int, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5).save(tmp_path / f"x.{kind}", exif=exif)
        with Image.open(tmp_path / f"x.{kind}") as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        assert np.array_equal(decode_file(tmp_path / f"x.{kind}", 4), expected)

    def test_tags_that_nobody_can_write_again_do_not_matter(self, tmp_path: Path) -> None:
        entry = b"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"
        width_in_letters = b"\x00\x01\x02\x00\x02\x00\x00\x00a\x00\x00\x00"
        exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x02\x00" + width_in_letters + entry + b"\x00" * 4
        image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
        image.save(tmp_path / "plain.jpg", quality=95)
        image.save(tmp_path / "x.jpg", exif=exif, quality=95)
        turned = np.rot90(decode_file(tmp_path / "plain.jpg", 4), -1)
        assert np.array_equal(decode_file(tmp_path / "x.jpg", 4), turned)


class TestGeometry:
    def test_the_central_square_is_kept(self, tmp_path: Path) -> None:
        pixels = saved(Image.fromarray(np.arange(18, dtype=np.uint8).reshape(2, 9) * 10), tmp_path / "wide.png")
        assert pixels[..., 0].tolist() == [[30, 40], [120, 130]]

    def test_squashed_all_of_it_is_kept(self, tmp_path: Path) -> None:
        halves = np.zeros((8, 200), dtype=np.uint8)
        halves[:, 100:] = 255
        Image.fromarray(halves).save(tmp_path / "wide.png")
        pixels = decode_file(tmp_path / "wide.png", 4, squash=True)
        assert pixels[:, [0, 3], 0].tolist() == [[0, 255]] * 4
        expected = functional.resize(Image.open(tmp_path / "wide.png").convert("RGB"), [6, 6], antialias=True)
        assert np.array_equal(decode_file(tmp_path / "wide.png", 6, squash=True), np.asarray(expected))

    @pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 1), (2, 500), (500, 2), (1, 20_000), (31, 33)])
    def test_tiny_and_elongated_images_fill_the_square(self, size: tuple[int, int], tmp_path: Path) -> None:
        Image.new("RGB", size, (9, 99, 199)).save(tmp_path / "x.png")
        pixels = decode_file(tmp_path / "x.png", 32)
        assert pixels.shape == (32, 32, 3)
        assert (pixels == (9, 99, 199)).all()

    def test_an_elongated_image_keeps_its_middle(self, tmp_path: Path) -> None:
        strip = np.zeros((2, 1000), dtype=np.uint8)
        strip[:, 490:510] = 255
        assert (saved(Image.fromarray(strip), tmp_path / "strip.png") == 255).all()


class TestUnreadable:
    def test_it_is_named_in_one_line(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "cut.jpg")
        (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:2000])
        (tmp_path / "text.png").write_text("not\nan image")
        (tmp_path / "empty.png").write_bytes(b"")
        for name in ("cut.jpg", "text.png", "empty.png", "missing.png"):
            with pytest.raises(UserError) as caught:
                decode_file(tmp_path / name, 8)
            message = str(caught.value)
            assert message.startswith(f"{tmp_path / name}: ")
            assert "\n" not in message
            assert "0x" not in message
            assert ("(empty file)" in message) == (name == "empty.png")


@pytest.mark.parametrize("squash", [False, True])
def test_an_array_becomes_what_a_file_of_it_does(squash: bool, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (9, 14, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    assert np.array_equal(decode_array(pixels, 6, squash), decode_file(tmp_path / "x.png", 6, squash))
