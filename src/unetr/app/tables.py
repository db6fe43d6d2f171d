"""Tables in plain text: as wide as their contents, and on a narrow screen folded at words, or a block for each row."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from itertools import zip_longest

_GAP = "  "
# A column of text that keeps this many letters when it is folded can still be read.
_NARROWEST = 28
_NUMBER = re.compile(r"[-+]?[\d.]*(e[-+]?\d+)?")


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """The lines of a table, whose columns of numbers are aligned right.

    width: letters of the screen, None for a file or a pipe, where no line is folded. On a screen that is too narrow
    the widest column of text is folded at words; where that does not help, each row becomes a block of lines.
    """
    widths = [max(map(_length, column)) for column in zip(header, *rows, strict=True)]
    if width is None or _total(widths) <= width:
        return _grid(header, rows, widths)
    text = [index for index in range(len(header)) if not _numbers(rows, index)]
    widest = max(text, key=lambda index: widths[index], default=0)
    left = width - (_total(widths) - widths[widest])
    if text and left >= max(_NARROWEST, _length(header[widest])):
        widths[widest] = left
        return _grid(header, rows, widths)
    return _blocks(header, rows, width)


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    right = [_numbers(rows, index) for index in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return _GAP + _GAP.join(map(_padded, cells, widths, right)).rstrip()

    lines = [line(header), line(["─" * width for width in widths])]
    for row in rows:
        pieces = [_folded(cell, width) for cell, width in zip(row, widths, strict=True)]
        height = max(map(len, pieces))
        lines += [line([piece[k] if k < len(piece) else "" for piece in pieces]) for k in range(height)]
    return lines


def _blocks(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The first cell of a row, and below it the others that are not empty, each behind its heading."""
    widest = min(max(map(_length, header[1:])), width // 2 - len(_GAP))
    lines = []
    for first, *others in rows:
        lines += ["", *(_GAP + piece for piece in _folded(f"{header[0]} {first}".strip(), width - len(_GAP)))]
        for name, cell in zip(header[1:], others, strict=True):
            heads = _folded(name, widest)
            pieces = _folded(cell, max(1, width - widest - 3 * len(_GAP))) if cell else []
            lines += [
                f"{2 * _GAP}{_padded(head, widest, False)}{_GAP}{piece}".rstrip()
                for head, piece in zip_longest(heads, pieces, fillvalue="")
                if cell
            ]
    return lines[1:]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * len(widths)


def _folded(cell: str, width: int) -> list[str]:
    """In lines of at most so many letters, between words where that can be."""
    if _length(cell) <= width:
        return [cell]
    # Letters of double width: a line of half as many always fits.
    most = width if _length(cell) == len(cell) else width // 2
    return textwrap.wrap(cell, max(1, most), break_on_hyphens=False) or [""]


def _padded(cell: str, width: int, right: bool) -> str:
    blank = " " * max(0, width - _length(cell))
    return blank + cell if right else cell + blank


def _numbers(rows: Sequence[Sequence[str]], index: int) -> bool:
    cells = [row[index] for row in rows]
    return index > 0 and all(_NUMBER.fullmatch(cell) for cell in cells)


def _length(text: str) -> int:
    """Letters of a terminal, where some take two."""
    from rich.cells import cell_len

    return len(text) if text.isascii() else cell_len(text)
