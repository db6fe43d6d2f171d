"""The colours of classes and series: the same in every picture, on the page and in DICOM."""

from __future__ import annotations

from collections.abc import Iterable

# Okabe and Ito's colours, which people with colour-blindness can tell apart, without black, brightened for grey scans;
# then further hues for data sets with many classes. Repeats after the last.
CLASS_COLOURS = (
    "#E69F00", "#56B4E9", "#00B383", "#F0E442", "#3D8BFF", "#E8601C", "#CC79A7", "#9BE564",
    "#B07CFF", "#FF6F91", "#2FD6D6", "#C9A227", "#8FA8FF", "#FF9E80", "#5FCB5F", "#D65DB1",
)  # fmt: skip


def class_colour(position: int) -> str:
    """The colour, #RRGGBB, of the class at this position (0 = first foreground class)."""
    return CLASS_COLOURS[position % len(CLASS_COLOURS)]


def label_colours(values: Iterable[int]) -> dict[int, str]:
    """Label value -> its colour, #RRGGBB, by its place among the values. The background, 0, has none."""
    return {value: class_colour(position) for position, value in enumerate(sorted(set(values) - {0}))}


def rgb255(colour: str) -> tuple[int, int, int]:
    """#RRGGBB as three numbers 0..255."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def rgb(colour: str) -> tuple[float, float, float]:
    """#RRGGBB as three numbers 0..1."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue
