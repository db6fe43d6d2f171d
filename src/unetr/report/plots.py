"""Curves of a training run and distributions of scores, as PNG with a transparent ground and grey text.

Knows CSV logs by column name and Results; what a log lacks is left out of the picture.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetr.core.colours import class_colour
from unetr.core.text.untrusted import untrusted
from unetr.draw.drawing import Axes, Figure, FigureCanvasAgg, FuncFormatter, MaxNLocator
from unetr.evaluation.results import Results
from unetr.printable import printable

Columns = dict[str, NDArray[np.float64]]

# Readable on white and on the page's dark ground.
_INK = "#78838f"
_MAIN = "#2f81d6"
_DPI = 120
_LONGEST_NAME = 28
_LOSSES = {"loss": _MAIN, "dice_loss": "#E8601C", "cross_entropy": "#00A176"}


def read_log(path: Path | None) -> Columns:
    """Columns of numbers by name from a CSV log: all of one length, NaN where a cell is empty or no number.

    No path, no file or an empty file: no columns. A last line that is still being written counts as far as it goes.
    """
    if path is None or not path.is_file():
        return {}
    with untrusted(path, "a log of a training"), path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv.DictReader(line.replace("\0", "") for line in file))
    names = [name for name in (rows[0] if rows else {}) if name]
    return {name: np.array([_number(row[name]) for row in rows]) for name in names}


def training_curves_png(training: Columns, validation: Columns, timing: Columns) -> bytes | None:
    """Losses, Dice of validation, and learning rate with the share of waiting, against the step; None without data."""
    panels: list[Callable[[Axes], None]] = []
    losses = {name: training[name] for name in _LOSSES if name in training}
    dice = {name: values for name, values in validation.items() if name.startswith(("mean_dice", "dice_"))}
    if "step" in training and losses:
        panels.append(partial(_loss_panel, steps=training["step"], losses=losses))
    if "step" in validation and dice:
        panels.append(partial(_dice_panel, steps=validation["step"], dice=dice))
    if "step" in training and "learning_rate" in training:
        panels.append(partial(_rate_panel, training=training, timing=timing))
    if not panels:
        return None
    figure, grid = figure_with_panels(len(panels), 3.6 * len(panels) + 0.4, 3.0)
    for draw, axes in zip(panels, grid, strict=True):
        draw(axes)
        axes.set_xlabel("step", color=_INK)
    return png_of(figure)


def distributions_png(results: Results, metrics: Mapping[str, str]) -> bytes | None:
    """Per class a box (quartiles, whiskers to 1.5 times their distance) and a point per case, one panel per metric.

    metrics: name of a metric -> label of its axis. None when nothing is scored.
    """
    labels = [summary.label for summary in results.classes]
    if not labels:
        return None
    figure, grid = figure_with_panels(len(metrics), 3.6 * len(metrics) + 0.4, max(1.6, 0.8 + 0.36 * len(labels)))
    for column, ((metric, axis_label), axes) in enumerate(zip(metrics.items(), grid, strict=True)):
        for row, label in enumerate(labels):
            values = np.array([getattr(score, metric) for score in results.scores if score.label == label])
            _box_and_points(axes, row, values[~np.isnan(values)], class_colour(row))
        axes.set_ylim(len(labels) - 0.4, -0.6)
        names = [printable(label, _LONGEST_NAME) for label in labels] if column == 0 else [""] * len(labels)
        axes.set_yticks(range(len(labels)), names)
        for text in axes.get_yticklabels():
            text.set_parse_math(False)
        axes.set_xlabel(axis_label, color=_INK)
        axes.grid(axis="x", color=_INK, alpha=0.25)
    return png_of(figure)


def smoothed(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Centred moving mean over `window` values, fewer at the ends; NaN values are left out."""
    kernel = np.ones(window)
    defined = ~np.isnan(values)
    sums = np.convolve(np.where(defined, values, 0.0), kernel, mode="full")
    numbers = np.convolve(defined.astype(float), kernel, mode="full")
    start = (window - 1) // 2
    sums, numbers = sums[start : start + len(values)], numbers[start : start + len(values)]
    means: NDArray[np.float64] = np.full(len(values), np.nan)
    np.divide(sums, numbers, out=means, where=numbers > 0)
    return means


def _loss_panel(axes: Axes, steps: NDArray[np.float64], losses: Columns) -> None:
    for name, values in losses.items():
        colour = _LOSSES[name]
        window = max(1, len(values) // 50)
        if window > 1:
            axes.plot(steps, values, color=colour, alpha=0.2, linewidth=0.8)
        axes.plot(steps, smoothed(values, window), color=colour, linewidth=1.6, label=name.replace("_", " "))
    axes.set_title("training loss", color=_INK, fontsize=10)
    legend(axes)


def _dice_panel(axes: Axes, steps: NDArray[np.float64], dice: Columns) -> None:
    classes = [name for name in dice if name != "mean_dice"]
    for position, name in enumerate(classes):
        label = printable(name.removeprefix("dice_"), _LONGEST_NAME)
        axes.plot(steps, dice[name], color=class_colour(position), linewidth=1.2, marker=".", label=label)
    if "mean_dice" in dice:
        axes.plot(steps, dice["mean_dice"], color=_MAIN, linewidth=2, marker="o", markersize=3.5, label="mean")
    axes.set_title("validation Dice", color=_INK, fontsize=10)
    if len(classes) <= 8:
        legend(axes)


def _rate_panel(axes: Axes, training: Columns, timing: Columns) -> None:
    axes.plot(training["step"], training["learning_rate"], color=_MAIN, linewidth=1.6)
    if "seconds" in timing and "wait_seconds" in timing:
        total, wait = np.nansum(timing["seconds"]), np.nansum(timing["wait_seconds"])
        if total > 0:
            note = f"{wait / total:.1%} of the time\nwaiting for data"
            axes.text(0.98, 0.97, note, color=_INK, fontsize=8, ha="right", va="top", transform=axes.transAxes)
    axes.set_title("learning rate", color=_INK, fontsize=10)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:.1e}"))


def _box_and_points(axes: Axes, row: int, values: NDArray[np.float64], colour: str) -> None:
    if not values.size:
        axes.text(0.5, row, "undefined", color=_INK, ha="center", va="center", transform=axes.get_yaxis_transform())
        return
    # Points are spread over the row in the order of the golden ratio: even, and the same in every run.
    offsets = (np.arange(values.size) * 0.618034) % 1 - 0.5
    axes.scatter(values, row + 0.5 * offsets, s=9, color=colour, alpha=0.55, linewidths=0, zorder=2)
    line = {"color": _INK, "linewidth": 1.3}
    axes.boxplot(
        [values],
        positions=[row],
        orientation="horizontal",
        widths=0.6,
        showfliers=False,
        boxprops=line,
        whiskerprops=line,
        capprops=line,
        medianprops={**line, "linewidth": 2.2},
        manage_ticks=False,
        zorder=3,
    )


def figure_with_panels(panels: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """An empty figure of so many panels beside each other, of this size in inches at least."""
    figure = Figure(figsize=(max(width, 4.4), height), layout="constrained", facecolor="none")
    FigureCanvasAgg(figure)
    grid = list(figure.subplots(1, panels, squeeze=False)[0])
    for axes in grid:
        axes.set_facecolor("none")
        axes.tick_params(colors=_INK, labelsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        for side, spine in axes.spines.items():
            spine.set_color(_INK)
            spine.set_visible(side in ("left", "bottom"))
    return figure, grid


def legend(axes: Axes) -> None:
    """Names of the lines, as they are written: no name is read as mathematics."""
    # Given one by one: of its own accord matplotlib leaves out names that start with an underscore.
    lines = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_child")]
    legend = axes.legend(handles=lines, frameon=False, fontsize=8, labelcolor=_INK)
    for text in legend.get_texts():
        text.set_parse_math(False)


def png_of(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, transparent=True)
    return buffer.getvalue()


def _number(cell: str | Sequence[str] | None) -> float:
    try:
        return float(cell) if isinstance(cell, str) else math.nan
    except ValueError:
        return math.nan
