"""A scan with its labels drawn over it, as PNG: three orthogonal slices, one row or truth above prediction.

Arrays are RAS-oriented: axis 0 runs to the patient's right, 1 to anterior, 2 to superior (`ras_view` turns a Volume).
Pictures follow the radiological convention: the viewer faces the patient or looks from the feet, so the patient's right
is on the left of the axial and coronal pictures; anterior is up in axial and left in sagittal pictures.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr.core.colours import label_colours, rgb
from unetr.core.space.geometry import orientation_of, place
from unetr.core.space.volume import Array, Volume
from unetr.draw.drawing import Axes, Figure, FigureCanvasAgg, Patch, withStroke
from unetr.printable import printable

Spacing = tuple[float, float, float]

WIDTH_INCHES = 10.2
_MOST_ROW_INCHES = 5.0
# Of zlib: a quarter larger than by its default, in a third of the time.
_COMPRESSION = 2
DPI = 110
GROUND = "#111417"
_FILL = 0.35
_MOST_IN_LEGEND = 30
_LEGEND_COLUMNS = 6
_LONGEST_NAME = 22


@dataclass(frozen=True, slots=True)
class View:
    """One of the three directions: the axis that it looks along, and what is at the picture's four edges."""

    name: str
    axis: int
    left: str
    right: str
    top: str
    bottom: str


VIEWS = (
    View("axial", 2, "R", "L", "A", "P"),
    View("coronal", 1, "R", "L", "S", "I"),
    View("sagittal", 0, "A", "P", "S", "I"),
)


def ras_view(volume: Volume) -> tuple[Array, Spacing]:
    """A volume's voxels [C, X, Y, Z], axes turned (not resampled) to right, anterior, superior; and their spacing."""
    source = orientation_of(volume.affine)
    opposite = {"R": "L", "A": "P", "S": "I"}
    axes = [next(i for i, letter in enumerate(source) if letter in target + opposite[target]) for target in "RAS"]
    x, y, z = (volume.spacing_mm[axis] for axis in axes)
    turned, _ = place(volume, "RAS", (x, y, z), "nearest")
    return turned.data, (x, y, z)


def overlay_png(
    image: Array,
    label: Array,
    spacing_mm: Spacing,
    names: Mapping[str, int],
    *,
    truth: Array | None = None,
    title: str = "",
) -> bytes:
    """See `overlay_figure`, as PNG."""
    figure = overlay_figure(image, label, spacing_mm, names, truth=truth, title=title)
    buffer = io.BytesIO()
    ground = figure.get_facecolor()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor=ground, pil_kwargs={"compress_level": _COMPRESSION})
    return buffer.getvalue()


def overlay_figure(
    image: Array,
    label: Array,
    spacing_mm: Spacing,
    names: Mapping[str, int],
    *,
    truth: Array | None = None,
    title: str = "",
) -> Figure:
    """Axial, coronal and sagittal slice through most of the label, classes filled and outlined, with a legend.

    image, label, truth: [X, Y, Z], RAS-oriented, one shape. names: class name -> value; value 0 is not drawn. With
    `truth` there are two rows, truth above prediction (`label`), and slices are chosen for both together.
    """
    shapes = {array.shape for array in (image, label, truth) if array is not None}
    if len(shapes) > 1 or image.ndim != 3:
        raise ValueError(f"image, label and truth must be [X, Y, Z] of one shape, got {sorted(shapes)}")
    colours = {value: rgb(colour) for value, colour in label_colours(names.values()).items()}
    values = list(colours)
    foreground = np.isin(label, values) if truth is None else np.isin(label, values) | np.isin(truth, values)
    where = busiest_slices(foreground)
    rows = [("", label)] if truth is None else [("truth", truth), ("prediction", label)]
    shown = _drawn_values([labels for _, labels in rows], where, values)
    figure, grid = _figure(len(rows), image.shape, spacing_mm, min(len(shown), _MOST_IN_LEGEND), title)
    limits = grey_range(image)
    for row, (name, labels) in enumerate(rows):
        for column, view in enumerate(VIEWS):
            axes = grid[row][column]
            _draw(axes, view_slice(image, view, where), view_slice(labels, view, where), limits, colours)
            axes.set_aspect(_pixel_aspect(view, spacing_mm))
            _annotate(axes, view, f"{name}  {view.name} {where[view.axis]}".strip())
    _legend(figure, names, colours, shown)
    return figure


def busiest_slices(foreground: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Along each axis, the slice with most foreground, nearest the middle of equals; the middle if there is none."""
    found = []
    for axis in range(3):
        counts = foreground.sum(axis=tuple(other for other in range(3) if other != axis))
        best = np.flatnonzero(counts == counts.max())
        found.append(int(best[np.argmin(np.abs(best - len(counts) // 2))]))
    return found[0], found[1], found[2]


def view_slice(volume: Array, view: View, where: tuple[int, int, int]) -> Array:
    """The slice as it is displayed: rows from the picture's top, columns from its left."""
    slice_2d: Array = np.take(volume, where[view.axis], axis=view.axis).T
    # Both remaining axes now run to R or A (columns) and to A or S (rows): every picture shows them reversed.
    return slice_2d[::-1, ::-1]


def grey_range(image: Array) -> tuple[float, float]:
    """Black and white points: percentiles 0.5 and 99.5 of the finite voxels."""
    finite = image[np.isfinite(image)] if image.dtype.kind == "f" else image
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, [0.5, 99.5]))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _drawn_values(labels: list[Array], where: tuple[int, int, int], values: list[int]) -> list[int]:
    found = {int(v) for array in labels for view in VIEWS for v in np.unique(view_slice(array, view, where))}
    return [value for value in values if value in found]


def _pixel_aspect(view: View, spacing_mm: Spacing) -> float:
    """Height over width of one pixel."""
    width, height = (spacing_mm[axis] for axis in range(3) if axis != view.axis)
    return height / width


def _figure(
    rows: int, shape: tuple[int, ...], spacing_mm: Spacing, in_legend: int, title: str
) -> tuple[Figure, list[list[Axes]]]:
    """A dark figure with all views at one scale, millimetres to inches, as tall as the tallest view."""
    size_mm = [n * s for n, s in zip(shape, spacing_mm, strict=True)]
    panels = [[size_mm[axis] for axis in range(3) if axis != view.axis] for view in VIEWS]
    widths, heights = zip(*panels, strict=True)
    row_inches = min(WIDTH_INCHES / sum(widths) * max(heights), _MOST_ROW_INCHES)
    top, bottom = 0.35 if title else 0.05, 0.1 + 0.24 * -(-in_legend // _LEGEND_COLUMNS)
    total = rows * row_inches + top + bottom
    figure = Figure(figsize=(WIDTH_INCHES, total), facecolor=GROUND)
    FigureCanvasAgg(figure)
    ratios = [max(width, 0.12 * sum(widths)) for width in widths]
    grid = figure.subplots(rows, 3, squeeze=False, gridspec_kw={"width_ratios": ratios})
    figure.subplots_adjust(0.005, bottom / total, 0.995, 1 - top / total, wspace=0.015, hspace=0.015)
    if title:
        # parse_math off: a file name with dollar signs is not a formula.
        figure.text(0.5, 1 - 0.18 / total, printable(title), color="white", ha="center", va="center", parse_math=False)
    return figure, [list(row) for row in grid]


def _draw(
    axes: Axes,
    image: Array,
    labels: Array,
    limits: tuple[float, float],
    colours: Mapping[int, tuple[float, float, float]],
) -> None:
    axes.set_axis_off()
    low, high = limits
    axes.imshow(image.astype(np.float32), cmap="gray", vmin=low, vmax=high, interpolation="bilinear")
    fill = np.zeros((*labels.shape, 4))
    for value, colour in colours.items():
        fill[labels == value] = (*colour, _FILL)
    axes.imshow(fill, interpolation="nearest")
    for value, colour in colours.items():
        edges = outline(labels == value)
        if edges:
            axes.plot(*_joined(edges), color=colour, linewidth=1.3, solid_capstyle="projecting")


def outline(mask: NDArray[np.bool_]) -> list[tuple[float, float, float, float]]:
    """Line segments (x0, y0, x1, y1) between pixels inside and outside, the picture's border included.

    Pixel centres are at whole numbers, x along columns; so the segments follow the pixels' edges exactly.
    """
    padded = np.pad(mask, 1)
    segments = []
    for y, x in np.argwhere(padded[:, 1:] != padded[:, :-1]):
        segments.append((x - 0.5, y - 1.5, x - 0.5, y - 0.5))
    for y, x in np.argwhere(padded[1:] != padded[:-1]):
        segments.append((x - 1.5, y - 0.5, x - 0.5, y - 0.5))
    return segments


def _joined(segments: list[tuple[float, float, float, float]]) -> tuple[list[float], list[float]]:
    """One broken line through all segments: a NaN lifts the pen."""
    nan = float("nan")
    return (
        [x for x0, _, x1, _ in segments for x in (x0, x1, nan)],
        [y for _, y0, _, y1 in segments for y in (y0, y1, nan)],
    )


def _annotate(axes: Axes, view: View, text: str) -> None:
    style: dict[str, Any] = {"color": "#d7dde3", "fontsize": 8, "transform": axes.transAxes, "parse_math": False}
    style["path_effects"] = [withStroke(linewidth=2, foreground=GROUND)]
    axes.text(0.02, 0.98, text, ha="left", va="top", **style)
    axes.text(0.01, 0.5, view.left, ha="left", va="center", **style)
    axes.text(0.99, 0.5, view.right, ha="right", va="center", **style)
    axes.text(0.5, 0.99, view.top, ha="center", va="top", **style)
    axes.text(0.5, 0.01, view.bottom, ha="center", va="bottom", **style)


def _legend(
    figure: Figure, names: Mapping[str, int], colours: Mapping[int, tuple[float, float, float]], shown: list[int]
) -> None:
    of_value = {value: printable(name, _LONGEST_NAME) for name, value in names.items()}
    patches = [Patch(color=colours[value], label=of_value[value]) for value in shown[:_MOST_IN_LEGEND]]
    if patches:
        columns = min(len(patches), _LEGEND_COLUMNS)
        legend = figure.legend(
            handles=patches, loc="lower center", ncols=columns, frameon=False, fontsize=9, labelcolor="white"
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
