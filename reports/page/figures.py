"""Drawn figures put into the page: as SVG that its style reaches, with a point for every number.

The drawing is read as XML and only known shapes of it are copied, so that nothing in it can act; declarations of style
become attributes, which the page's Content-Security-Policy lets through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from markupsafe import Markup

from ..figures import FigureData
from ..numbers import NOTHING
from .views import Field, Head, View

if TYPE_CHECKING:
    import pandas as pd

_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_SHAPES = {"svg", "g", "defs", "path", "use", "text", "tspan", "clipPath", "rect", "circle", "image", "line"}
_ATTRIBUTES = {
    "viewBox", "id", "d", "x", "y", "x1", "y1", "x2", "y2", "r", "cx", "cy", "width", "height", "transform",
    "clip-path", "preserveAspectRatio",
}  # fmt: skip
_STYLES = {
    "fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray",
    "stroke-dashoffset", "stroke-linecap", "stroke-linejoin", "opacity", "text-anchor", "font-size", "font-weight",
    "font-style",
}  # fmt: skip
_FONT = {"font-size": r"[\d.]+px", "font-weight": "bold|[6-9]00", "font-style": "italic|oblique"}
_SCALE = 1.5
"""Pixels a point: letters of 8 pt, which is the size in a paper, have 12 px."""

_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


@dataclass(frozen=True)
class Drawn:
    """A figure as the page shows it."""

    id: str
    title: str
    says: str
    svg: Markup | None
    """None where there is nothing to draw."""

    numbers: View


def drawn_figure(figure: FigureData, folder: Path) -> Drawn:
    """A figure with its drawing, which is in `folder`, and its numbers."""
    id = f"figure-{figure.id}"
    svg = None if figure.empty else inline_figure(folder / "figures" / f"{figure.id}.svg", id, figure.data)
    return Drawn(id, figure.title, figure.describe(), svg, _numbers(id, figure.data))


def _numbers(id: str, data: pd.DataFrame) -> View:
    """What the CSV beside the drawing holds."""
    data = data.drop(columns="gid", errors="ignore")
    heads = [Head(str(name), data[name].dtype.kind in "iuf") for name in data]
    rows = [
        [
            Field(_shown(value), float(value)) if head.numeric and value == value else Field(_shown(value))
            for head, value in zip(heads, row, strict=True)
        ]
        for row in data.itertuples(index=False)
    ]
    return View(f"{id}-numbers", "Numbers", heads, rows)


def inline_figure(file: Path, prefix: str, data: pd.DataFrame) -> Markup:
    """The drawing with ids of its own (`prefix`), and the numbers of `data` as points where its column `gid` says."""
    drawing = ElementTree.parse(file).getroot()
    copy = _copied(drawing, prefix)
    assert copy is not None, f"{file} is no SVG"
    width = float(copy.get("viewBox", "0 0 400 300").split()[2])
    copy.attrib |= {"width": f"{width * _SCALE:.0f}"}
    copy.attrib.pop("height", None)
    _without_paper(copy)
    points = list(_points(drawing, data)) if "gid" in data else []
    if points:
        layer = ElementTree.SubElement(copy, "g", {"class": "points"})
        for x, y, text in points:
            point = ElementTree.SubElement(layer, "circle", {"cx": f"{x:.2f}", "cy": f"{y:.2f}", "r": "5"})
            ElementTree.SubElement(point, "title").text = text
    return Markup(ElementTree.tostring(copy, encoding="unicode"))


def _copied(element: ElementTree.Element, prefix: str) -> ElementTree.Element | None:
    name = element.tag.removeprefix(_SVG) if isinstance(element.tag, str) else ""
    if name not in _SHAPES:
        return None
    kept = {key: value for key, value in element.attrib.items() if key in _ATTRIBUTES}
    kept |= _declarations(element.get("style", ""))
    if "id" in kept:
        kept["id"] = f"{prefix}-{kept['id']}"
    for key, value in kept.items():
        kept[key] = re.sub(r"url\(#", f"url(#{prefix}-", value)
    target = element.get(f"{_XLINK}href", "")
    if target.startswith("#"):
        kept["href"] = f"#{prefix}-{target[1:]}"
    elif name == "image" and target.startswith("data:image/png;base64,"):
        kept["href"] = target
    copy = ElementTree.Element(name, kept)
    copy.text = element.text
    for child in element:
        if (inner := _copied(child, prefix)) is not None:
            inner.tail = child.tail
            copy.append(inner)
    return copy


def _declarations(style: str) -> dict[str, str]:
    """A style attribute as presentation attributes; of the shorthand `font` its size, weight and slant."""
    kept: dict[str, str] = {}
    for declaration in filter(None, map(str.strip, style.split(";"))):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font":
            words = value.split("'")[0].split()
            kept |= {name: word for word in words for name, form in _FONT.items() if re.fullmatch(form, word)}
        elif name in _STYLES:
            kept[name] = value
    return kept


def _without_paper(svg: ElementTree.Element) -> None:
    """The white ground of figure and panels is left to the page."""
    for path in svg.iter("path"):
        if path.get("fill") == "#ffffff" and "stroke" not in path.attrib:
            path.set("fill", "none")


def _points(drawing: ElementTree.Element, data: pd.DataFrame) -> Iterator[tuple[float, float, str]]:
    """Where each row of the data is drawn, and what it says."""
    elements = {element.get("id"): element for element in drawing.iter() if element.get("id")}
    words = [column for column in data.columns if column != "gid"]
    for gid, rows in data.groupby(data["gid"].astype(str), sort=False):
        places = list(_places(elements[str(gid)])) if gid in elements else []
        if len(rows) == 1 and len(places) > 1:
            xs, ys = zip(*places, strict=True)
            places = [((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)]
        if len(places) != len(rows):
            continue
        for (x, y), row in zip(places, rows[words].to_dict("records"), strict=True):
            yield x, y, ", ".join(f"{word} {_shown(value)}" for word, value in row.items() if value == value)


def _places(element: ElementTree.Element) -> Iterator[tuple[float, float]]:
    """The places of an element: where markers are used, else the vertices of its path, in the drawing's units."""
    uses = [use for use in element.iter(f"{_SVG}use") if use.get("x")]
    for use in uses:
        yield float(use.get("x", "0")), float(use.get("y", "0"))
    if uses:
        return
    for path in element.iter(f"{_SVG}path"):
        numbers = [float(number) for number in re.findall(_NUMBER, path.get("d", ""))]
        yield from zip(numbers[::2], numbers[1::2], strict=False)


def _shown(value: object) -> str:
    if value is None or value != value:
        return NOTHING
    return f"{value:.4g}" if isinstance(value, float) else str(value)
