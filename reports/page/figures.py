"""Puts drawn figures into the page, as SVG that the page's style applies to, with a point for every number.

A drawing is read as XML, and only known shapes are copied, so that nothing in it can run. Declarations of style become
attributes, which the page's Content-Security-Policy allows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
from markupsafe import Markup

from ..figures import FigureData
from ..numbers import NOTHING
from .views import ColumnHead, Field, View

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
"""Pixels per point: letters of 8 pt, the size in a paper, get 12 px."""

_COLUMN = 300
"""The greatest width in points of a figure for one column of a paper."""

_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


@dataclass(frozen=True)
class Drawn:
    """A figure as the page shows it."""

    id: str
    title: str
    says: str
    svg: Markup | None
    """None if there is nothing to draw."""

    numbers: View
    narrow: bool
    """Whether two figures of its width fit beside each other."""


def drawn_figure(figure: FigureData, folder: Path) -> Drawn:
    """A figure with its numbers and its drawing, which lies in the report's `folder`."""
    id = f"figure-{figure.id}"
    if figure.empty:
        return Drawn(id, figure.title, figure.describe(), None, _numbers(id, figure.data), narrow=True)
    drawing = ElementTree.parse(folder / "figures" / f"{figure.id}.svg").getroot()
    narrow = _size(drawing)[0] <= _COLUMN
    svg = inline_figure(drawing, id, figure.data)
    return Drawn(id, figure.title, figure.describe(), svg, _numbers(id, figure.data), narrow)


def _numbers(id: str, data: pd.DataFrame) -> View:
    """The numbers of a figure, as its CSV has them."""
    data = data.drop(columns="gid", errors="ignore")
    heads = [ColumnHead(str(name), data[name].dtype.kind in "iuf") for name in data]
    rows = [[_field(value) for value in row] for row in data.itertuples(index=False)]
    return View(f"{id}-numbers", "Numbers", heads, rows)


def _field(value: object) -> Field:
    return Field(_shown(value), float(value) if isinstance(value, Real) and not _is_none(value) else None)


def _size(drawing: ElementTree.Element) -> tuple[float, float]:
    """Width and height in points."""
    _, _, width, height = map(float, drawing.get("viewBox", "0 0 400 300").split())
    return width, height


def inline_figure(drawing: ElementTree.Element, prefix: str, data: pd.DataFrame) -> Markup:
    """The drawing, with `prefix` before all ids and each row of `data` as a point where its `gid` is drawn."""
    copy = _copied(drawing, prefix)
    assert copy is not None, f"{prefix} is no SVG"
    copy.attrib |= {"width": f"{_size(drawing)[0] * _SCALE:.0f}"}
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
    """A style attribute as presentation attributes; the shorthand `font` becomes size, weight and slant."""
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
    """Make the white background of figure and panels transparent, so that the page's own shows."""
    for path in svg.iter("path"):
        if path.get("fill") == "#ffffff" and "stroke" not in path.attrib:
            path.set("fill", "none")


def _points(drawing: ElementTree.Element, data: pd.DataFrame) -> Iterator[tuple[float, float, str]]:
    """x and y of each row of the data and the text for it, without rows whose place is not exactly known."""
    elements = {element.get("id"): element for element in drawing.iter() if element.get("id")}
    words = [name for name in data if name != "gid" and not (name == "cell" and "label" in data)]
    clips = {clip.get("id", ""): clip.find(f"{_SVG}rect") for clip in drawing.iter(f"{_SVG}clipPath")}
    by_element: dict[str, list[dict[Hashable, object]]] = {}
    # plain rows: to make a data frame for each of hundreds of lines would take longer than to draw them
    for gid, row in zip(data["gid"].astype(str), data[words].to_dict("records"), strict=True):
        by_element.setdefault(gid, []).append(row)
    for gid, rows in by_element.items():
        element = elements.get(gid)
        places = [] if element is None else _places(element, len(rows))
        for (x, y), row in zip(places, rows, strict=False):
            if element is not None and _is_inside(x, y, element, clips):
                yield x, y, _said({str(word): value for word, value in row.items()})


def _is_inside(
    x: float, y: float, element: ElementTree.Element, clips: Mapping[str, ElementTree.Element | None]
) -> bool:
    """Whether a point is inside its panel. Outside, its line is clipped and another panel's numbers may stand there."""
    clipped = re.search(r"url\(#([^)]+)\)", " ".join(path.get("clip-path", "") for path in element.iter()))
    panel = clips.get(clipped[1]) if clipped else None
    if panel is None:
        return True
    left, top, width, height = (float(panel.get(name, "0")) for name in ("x", "y", "width", "height"))
    return left - 1 <= x <= left + width + 1 and top - 1 <= y <= top + height + 1


def _places(element: ElementTree.Element, rows: int) -> list[tuple[float, float]]:
    """A place for each row, in the drawing's units: the vertices of a line, its markers, or the middle of a shape.

    Empty where their number is not that of the rows.
    """
    paths = [
        [float(number) for number in re.findall(_NUMBER, path.get("d", ""))]
        for path in element.findall(f"{_SVG}path") or element.iter(f"{_SVG}path")
    ]
    vertices = [(x, y) for numbers in paths for x, y in zip(numbers[::2], numbers[1::2], strict=False)]
    markers = [(float(use.get("x", 0)), float(use.get("y", 0))) for use in element.iter(f"{_SVG}use")]
    for places in (vertices, markers):
        if len(places) == rows:
            return places
    if rows == 1 and (places := markers or vertices):
        xs, ys = zip(*places, strict=True)
        return [((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)]
    return []


def _said(row: Mapping[str, object]) -> str:
    """`Model-A, top1, epoch 3, mean 0.9294`: words, and numbers with their names; empty fields are left out."""
    there = {word: value for word, value in row.items() if not _is_none(value)}
    return ", ".join(value if isinstance(value, str) else f"{word} {_shown(value)}" for word, value in there.items())


def _shown(value: object) -> str:
    if _is_none(value):
        return NOTHING
    if isinstance(value, bool | np.bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_none(value: object) -> bool:
    """Whether a field of a frame is empty: None, NaN or pandas' NA, which no comparison with == finds."""
    return value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and math.isnan(value))
