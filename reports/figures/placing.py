"""Labels beside points, none over another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .style import INK, lay_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

_RINGS = (4, 9, 15, 22, 30, 40)
"""Distances in points (1/72 inch) from a point at which its label is tried, the nearest first."""

_CLEAR = 2.5
"""Points (1/72 inch) around an obstacle that are kept free."""

_LEADER = 15
"""Beyond this distance in points, a thin line joins a label to its point."""

_DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))

Place = tuple[float, float]


def place_labels(
    axis: Axes,
    points: Sequence[Place],
    labels: Sequence[str],
    obstacles: Sequence[tuple[Place, Place]],
    *,
    fontsize: float,
    always: bool = False,
) -> bool:
    """Write each label near its point, over no other label and no obstacle, all inside the axes.

    `points` are in data coordinates, and so are `obstacles`, given by two opposite corners. If a label finds no place,
    nothing is written and False returned; with `always` it is written at the nearest place. Computes the figure's
    layout.
    """
    figure = axis.figure.get_figure(root=True)
    assert figure is not None
    lay_out(figure)
    pixels = figure.dpi / 72
    inside = axis.get_window_extent()
    taken = [_padded(axis, corners, _CLEAR * pixels) for corners in obstacles]
    found: list[Place] = []
    for point, label in zip(points, labels, strict=True):
        size = _size(axis, label, fontsize)
        x, y = axis.transData.transform(point)
        boxes = [_box(x, y, place, size) for place in _places(size, pixels)]
        free = (box for box in boxes if _within(box, inside) and not any(box.overlaps(other) for other in taken))
        box = next(free, boxes[0] if always else None)
        if box is None:
            return False
        taken.append(box)
        found.append(((box.x0 - x) / pixels, (box.y0 - y) / pixels))
    for point, label, place in zip(points, labels, found, strict=True):
        far = max(map(abs, place)) > _LEADER
        arrow: Any = {"arrowstyle": "-", "color": INK, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2} if far else None
        text = axis.annotate(
            label, point, place, textcoords="offset points", fontsize=fontsize, va="bottom", arrowprops=arrow, zorder=6
        )
        text.set_in_layout(False)
    return True


def _size(axis: Axes, label: str, fontsize: float) -> Place:
    """Width and height of a label in pixels."""
    text = axis.annotate(label, (0.5, 0.5), xycoords="axes fraction", fontsize=fontsize, va="bottom")
    box = text.get_window_extent()
    text.remove()
    return box.width, box.height


def _places(size: Place, pixels: float) -> Iterator[Place]:
    """Where a label's lower left corner may be, in pixels from its point; the nearest ring first."""
    width, height = size
    for ring in _RINGS:
        for right, up in _DIRECTIONS:
            x = ring * pixels if right > 0 else -width - ring * pixels if right < 0 else -width / 2
            y = ring * pixels if up > 0 else -height - ring * pixels if up < 0 else -height / 2
            yield x, y


def _box(x: float, y: float, place: Place, size: Place) -> Bbox:
    from matplotlib.transforms import Bbox

    return Bbox.from_bounds(x + place[0], y + place[1], *size)


def _padded(axis: Axes, corners: tuple[Place, Place], by: float) -> Bbox:
    from matplotlib.transforms import Bbox

    (x0, y0), (x1, y1) = axis.transData.transform(corners)
    return Bbox([[min(x0, x1) - by, min(y0, y1) - by], [max(x0, x1) + by, max(y0, y1) + by]])


def _within(box: Bbox, outer: Bbox) -> bool:
    return bool(outer.x0 <= box.x0 and box.x1 <= outer.x1 and outer.y0 <= box.y0 and box.y1 <= outer.y1)
