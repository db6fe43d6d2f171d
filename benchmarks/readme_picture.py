"""Draws the README's picture: a real scan, what the shipped model finds in it, and that in three dimensions.

    uv run python benchmarks/readme_picture.py docs/hippocampus.png

The scan comes with the package and was not trained on. Scan and picture: CC-BY-SA 4.0, from the Medical Segmentation
Decathlon (Antonelli et al., Nature Communications 13, 4128, 2022).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetr.core.colours import class_colour, rgb
from unetr.core.observer import Observer
from unetr.draw.drawing import Axes, Figure, FigureCanvasAgg
from unetr.draw.overlay import VIEWS, busiest_slices, grey_range, ras_view, view_slice
from unetr.io import read_volume
from unetr.jobs.demo.shipped_scan import segment_shipped_scan

Floats = NDArray[np.float64]
GROUND, INK, SOFT = "#111417", "#f2f4f7", "#9aa5b1"
CLASSES = {1: "anterior", 2: "posterior"}
COLOURS = {value: np.array(rgb(class_colour(value - 1))) for value in CLASSES}
FINER = 5  # voxels of the three-dimensional picture for one of the scan
SAGITTAL = VIEWS[2]


def solid_png(labels: NDArray[np.uint8], turn_degrees: tuple[float, float]) -> Floats:
    """RGBA [rows, columns, 4] of the labels' smoothed surface, lit from above left. turn_degrees: about S, then R."""
    room = int(np.linalg.norm(labels.shape) / 2)
    padded = np.pad(labels, [(room - n // 2, room - n // 2) for n in labels.shape])
    fields = []
    for value in CLASSES:
        field = ndimage.zoom(ndimage.gaussian_filter((padded == value).astype(float), 0.8), FINER, order=1)
        field = ndimage.rotate(field, turn_degrees[0], axes=(0, 1), reshape=False, order=1)
        fields.append(ndimage.rotate(field, turn_degrees[1], axes=(0, 2), reshape=False, order=1))
    inside = ndimage.gaussian_filter(np.sum(fields, axis=0), 2.5)
    # The viewer looks along the first axis: columns are the second axis, rows the third.
    hit = (inside > 0.5).argmax(axis=0)
    found = (inside > 0.5).any(axis=0)
    rows, columns = np.indices(hit.shape)
    normal = -np.stack([gradient[hit, rows, columns] for gradient in np.gradient(inside)])
    normal /= np.linalg.norm(normal, axis=0) + 1e-9
    light = np.array([-0.72, 0.32, 0.62])
    lit = np.clip(np.tensordot(light / np.linalg.norm(light), normal, 1), 0, 1)
    first = fields[0][hit, rows, columns] >= fields[1][hit, rows, columns]
    colour = np.where(first[..., None], COLOURS[1], COLOURS[2])
    shaded = np.clip(colour * (0.42 + 0.6 * lit[..., None]) + 0.35 * lit[..., None] ** 24, 0, 1)
    picture = np.concatenate([shaded, ndimage.gaussian_filter(found.astype(float), 0.7)[..., None]], axis=2)
    used = np.argwhere(found)
    (top, left), (bottom, right) = used.min(0) - 4, used.max(0) + 5
    return np.asarray(picture[top:bottom, left:right].transpose(1, 0, 2)[::-1, ::-1])


def draw_slice(axes: Axes, image: Floats, prediction: Floats | None, truth: Floats | None) -> None:
    """A slice, smoothly enlarged; the prediction filled, the truth as a dashed line."""
    low, high = grey_range(image)
    finer = ndimage.zoom(image.astype(float), 8, order=3, mode="nearest", grid_mode=True)
    rows, columns = image.shape
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    axes.imshow(finer, cmap="gray", vmin=low, vmax=high * 1.05, extent=extent)
    grid = [np.linspace(-0.5, n - 0.5, n * 8) for n in (columns, rows)]
    for labels, style in ((prediction, "fill"), (truth, "line")):
        for value, colour in COLOURS.items() if labels is not None else ():
            field = ndimage.zoom((labels == value).astype(float), 8, order=1, mode="nearest", grid_mode=True)
            field = ndimage.gaussian_filter(field, 3)
            if style == "fill":
                axes.contourf(*grid, field, levels=[0.5, 9], colors=[(*colour, 0.5)])
                axes.contour(*grid, field, levels=[0.5], colors=[tuple(colour)], linewidths=2.2)
            else:
                axes.contour(*grid, field, levels=[0.5], colors=["white"], linewidths=1.3, linestyles=[(0, (4, 3))])
    axes.set_xlim(-0.5, columns - 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        segment_shipped_scan(Path(folder), Observer())
        scan, prediction, truth = (
            ras_view(read_volume(Path(folder) / f"{name}.nii.gz"))[0][0] for name in ("scan", "prediction", "truth")
        )
    where = busiest_slices(prediction > 0)
    image, found, by_hand = (view_slice(volume, SAGITTAL, where) for volume in (scan, prediction, truth))
    figure = Figure(figsize=(12.8, 3.2), facecolor=GROUND)
    FigureCanvasAgg(figure)
    texts = ("MRI scan", "Segmented by the model (dashed: by hand)", "In 3D")
    for column, (left, width) in enumerate(((0.012, 0.32), (0.34, 0.32), (0.675, 0.315))):
        axes = figure.add_axes((left, 0.105, width, 0.77))
        axes.set_axis_off()
        if column < 2:
            draw_slice(axes, image, *((found, by_hand) if column else (None, None)))
        else:
            axes.imshow(solid_png(prediction, (28.0, -14.0)), interpolation="lanczos")
        figure.text(left + 0.004, 0.94, texts[column], color=INK, fontsize=11.5, va="center")
    for x, (value, name) in zip((0.675, 0.745), CLASSES.items(), strict=True):
        figure.text(x, 0.05, f"■ {name}", color=tuple(COLOURS[value]), fontsize=10.5, va="center")
    credit = (
        "T1 MRI of one hippocampus, 1 mm: Medical Segmentation Decathlon, CC-BY-SA 4.0; not among the training cases"
    )
    figure.text(0.016, 0.05, credit, color=SOFT, fontsize=9, va="center")
    figure.savefig(out, dpi=125, facecolor=GROUND)


if __name__ == "__main__":
    main()
