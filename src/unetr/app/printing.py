"""How results, tables and lines for people are written: to the terminal, to a file, or as JSON to machines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from unetr.app.streams import bar_is_shown, own_out, say_line, screen_width
from unetr.app.tables import table_lines
from unetr.core.text.numbers import defined
from unetr.printable import printable, printable_json


def write_out(text: str) -> None:
    """Text as it is on standard output; nowhere when its reader went away, as `head` does: the command goes on."""
    out = own_out()
    try:
        out.write(text)
        out.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


def write_line(text: str) -> None:
    """A line for people on standard output; names of files and labels in it are made safe to show.

    Where a progress bar is on the same screen, above it.
    """
    if own_out().isatty() and bar_is_shown():
        say(text)
    else:
        write_out(f"{printable(text)}\n")


def print_json(data: Any) -> None:
    """One JSON document on standard output; JSON has no NaN, so undefined numbers are null."""
    text = json.dumps(defined(data), indent=1, ensure_ascii=False, allow_nan=False)
    write_out(printable_json(text) + "\n")


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table for people, under its title and with an empty line below; see `table_lines`. Made safe to show."""
    cells = [[printable(cell) for cell in row] for row in rows]
    lines = [printable(title), "", *table_lines([printable(name) for name in header], cells, screen_width(own_out()))]
    text = "".join(f"{line}\n" for line in lines)
    write_out(f"{text}\n" if _shows_lines() else f"{text}\n".replace("─", "-"))


def _shows_lines() -> bool:
    return (own_out().encoding or "").lower().startswith("utf")


def say(text: str) -> None:
    """A line for people, on standard error, so that standard output stays clean for results. Made safe to show."""
    say_line(printable(text))
