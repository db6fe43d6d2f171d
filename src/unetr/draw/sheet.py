"""A result as one picture for a PACS: the labels over the scan, and below it what a table says in words and numbers.

Nothing in it names a patient: the picture's header does.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unetr.core.colours import class_colour
from unetr.core.space.volume import Array, Volume
from unetr.draw.drawing import Figure, FigureCanvasAgg
from unetr.draw.overlay import DPI, GROUND, WIDTH_INCHES, overlay_figure, ras_view
from unetr.printable import printable

_LINE_INCHES = 0.24
_COLUMNS = 2
_MOST_ROWS = 60
_LONGEST_NAME = 34
_LINE_CHARACTERS = 128
_MOST_WORDS = 12
_FAINT, _BRIGHT, _WARNING = "#9aa6b2", "#ffffff", "#ffb347"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What is told beside the picture. title: what made it. use: what it is for, and what it is not for.

    volumes_ml, confidence: by the labels' names; no confidence for what does not occur. words: the verdict in
    sentences; warned: whether they are warnings.
    """

    title: str
    use: str
    volumes_ml: Mapping[str, float]
    confidence: Mapping[str, float | None]
    words: Sequence[str]
    warned: bool


def sheet_pixels(scan: Volume, labels: Volume, sheet: Sheet) -> Array:
    """The picture, uint8 [rows, columns, 3], of labels [1, X, Y, Z] with names over the scan's first channel."""
    image, spacing_mm = ras_view(scan)
    names = {name: value for value, name in labels.label_names.items()}
    overlay = _pixels(overlay_figure(image[0], ras_view(labels)[0][0], spacing_mm, names))
    return np.vstack([_pixels(_head(sheet)), overlay, _pixels(_table(sheet, names))])


def _pixels(figure: Figure) -> Array:
    figure.set_dpi(DPI)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[:, :, :3])


class _Page:
    """A dark strip of lines of text."""

    def __init__(self, lines: float) -> None:
        self.figure = Figure(figsize=(WIDTH_INCHES, lines * _LINE_INCHES), facecolor=GROUND)
        self._lines = lines

    def text(self, line: float, x: float, words: str, colour: str = _BRIGHT, **style: object) -> None:
        """Writes on a line, counted from 0, at x from 0 to 1."""
        told: dict[str, Any] = {"fontsize": 9, "va": "center", "color": colour, "parse_math": False} | style
        self.figure.text(x, 1 - (line + 0.5) / self._lines, words, **told)


def _head(sheet: Sheet) -> Figure:
    page = _Page(2.6)
    page.text(0.3, 0.01, printable(sheet.title, 90), fontsize=12, fontweight="bold")
    page.text(1.5, 0.01, printable(sheet.use, 140), _WARNING, fontsize=11, fontweight="bold")
    return page.figure


def _table(sheet: Sheet, names: Mapping[str, int]) -> Figure:
    """Colour, name, volume and confidence of each label, in columns; then the verdict."""
    values = sorted(value for value in names.values() if value != 0)
    colours = {value: class_colour(position) for position, value in enumerate(values)}
    shown = list(sheet.volumes_ml)[:_MOST_ROWS]
    left_out = len(sheet.volumes_ml) - len(shown)
    words = _wrapped(sheet.words, left_out)
    rows = max(1, -(-len(shown) // _COLUMNS))
    page = _Page(rows + len(words) + 2.5)
    for column in range(min(_COLUMNS, max(1, len(shown)))):
        for x, told, align in ((0.035, "label", "left"), (0.33, "volume", "right"), (0.44, "confidence", "right")):
            page.text(0, column / _COLUMNS + x, told, _FAINT, ha=align)
    for index, name in enumerate(shown):
        line, x = index % rows + 1.0, (index // rows) / _COLUMNS
        sure = sheet.confidence.get(name)
        page.text(line, x + 0.012, "■", colours.get(names.get(name, -1), _FAINT), fontsize=11)
        page.text(line, x + 0.035, printable(name, _LONGEST_NAME))
        page.text(line, x + 0.33, f"{sheet.volumes_ml[name]:.2f} ml", ha="right")
        page.text(line, x + 0.44, "–" if sure is None else f"{100 * sure:.0f} %", ha="right")
    for index, line_ in enumerate(words):
        page.text(rows + 1.5 + index, 0.012, line_, _WARNING if sheet.warned else _BRIGHT)
    return page.figure


def _wrapped(sentences: Sequence[str], left_out: int) -> list[str]:
    """Lines of the verdict, as many as fit; the last one says what is left out."""
    lines = [f"{left_out} more labels are not in this table."] if left_out else []
    for sentence in sentences:
        lines += textwrap.wrap(printable(sentence), _LINE_CHARACTERS, subsequent_indent="   ")
    if len(lines) > _MOST_WORDS:
        lines = [*lines[: _MOST_WORDS - 1], "… and more, in the result's own file."]
    return lines
