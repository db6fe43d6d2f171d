"""How results, tables and lines for people are written: to the terminal, to a file, or as JSON to machines."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

from unetr.app.streams import own_out, say_line
from unetr.core.text.printable import printable, printable_json

# A table that goes to a file or a pipe has no terminal to fit into.
_PIPED_WIDTH = 140


def write_out(text: str) -> None:
    """Text as it is on standard output; nowhere when its reader went away, as `head` does: the command goes on."""
    out = own_out()
    try:
        out.write(text)
        out.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


def write_line(text: str) -> None:
    """A line for people on standard output; names of files and labels in it are made safe to show."""
    write_out(f"{printable(text)}\n")


def print_json(data: Any) -> None:
    """One JSON document on standard output; JSON has no NaN, so undefined numbers are null."""
    text = json.dumps(defined(data), indent=1, ensure_ascii=False, allow_nan=False)
    write_out(printable_json(text) + "\n")


def defined(data: Any) -> Any:
    """The same data with null for numbers that are not finite."""
    if isinstance(data, dict):
        return {key: defined(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [defined(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table for people; columns of numbers are aligned right. As wide as the terminal, or as its contents.

    Nothing in it is markup, and everything is made safe to show.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [list(row) for row in rows]
    table = Table(title=Text(printable(title)), title_justify="left", box=SIMPLE_HEAD)
    for index, column in enumerate(header):
        numbers = index > 0 and all(_is_number(row[index]) for row in cells)
        table.add_column(Text(printable(column)), justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(file=own_out(), width=None if own_out().isatty() else _PIPED_WIDTH)
    with console.capture() as capture:
        console.print(table)
    # Without the blanks that fill up the lines.
    write_out("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))


def _is_number(cell: str) -> bool:
    return not cell or cell[0].isdigit() or cell.startswith("-")


def number(value: float, digits: int) -> str:
    """A table's cell: so many digits after the point, "-" for what is undefined."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def counted(count: int, noun: str) -> str:
    """A number with its noun: 1 case, 2 cases."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def say(text: str) -> None:
    """A line for people, on standard error, so that standard output stays clean for results. Made safe to show."""
    say_line(printable(text))
