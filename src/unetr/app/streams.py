"""Where a command's own words go, and where those of its libraries go: nowhere, unless they are asked for.

Warnings, logs, prints and what native code writes all end in the two standard streams. While a command runs, these lead
nowhere, and its own words take copies of them that only this module knows. So no library can show a person a path of
the machine, or spoil the JSON on standard output, in whichever way it speaks.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import IO, TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_USUAL_WIDTH = 80


@dataclass(slots=True)
class _Own:
    """This command's streams while it runs, and the console of its progress bar while that is on the screen."""

    out: TextIO | None = None
    err: TextIO | None = None
    bar: Console | None = None


_own = _Own()


def own_out() -> TextIO:
    """Where results go: standard output."""
    return _own.out or sys.stdout


def own_err() -> TextIO:
    """Where everything else goes that is for people: standard error."""
    return _own.err or sys.stderr


def screen_width(stream: TextIO) -> int | None:
    """Letters in a line of the terminal behind a stream; None for a file or a pipe."""
    if not stream.isatty():
        return None
    try:
        return int(os.environ.get("COLUMNS", "")) or _USUAL_WIDTH
    except ValueError:
        pass
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_WIDTH
    except (OSError, ValueError):
        return _USUAL_WIDTH


def show_bar(console: Console | None) -> None:
    """From now on, lines go above the bar of this console; None: there is no bar."""
    _own.bar = console


def bar_is_shown() -> bool:
    """Whether a progress bar is on the screen now."""
    return _own.bar is not None and _own.bar.is_terminal


def say_line(text: str) -> None:
    """A line on standard error, above the progress bar where there is one."""
    if bar_is_shown() and _own.bar is not None:
        from rich.text import Text

        _own.bar.print(Text(text), soft_wrap=True)
    else:
        print(text, file=own_err(), flush=True)


@contextmanager
def only_own_words(*, shown: bool = False) -> Iterator[None]:
    """While it lasts, only `own_out` and `own_err` reach the terminal. shown: everything does, as without it.

    What goes wrong leaves with the streams as they were, so that a traceback is seen.
    """
    if shown:
        yield
        return
    before = (sys.stdout, sys.stderr)
    for stream in before:
        _flush(stream)
    own = (_apart(sys.stdout), _apart(sys.stderr))
    _own.out, _own.err = own
    kept = {number: os.dup(number) for number in (1, 2) if _is_open(number)}
    for number in kept:
        os.dup2(_nowhere().fileno(), number)
    sys.stdout = sys.stderr = _nowhere()
    try:
        yield
    finally:
        for stream, old in zip(own, before, strict=True):
            _flush(stream)
            if stream is not old and stream is not _nowhere():
                with suppress(OSError):
                    stream.close()
        _own.out = _own.err = _own.bar = None
        sys.stdout, sys.stderr = before
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)


@cache
def _nowhere() -> TextIO:
    # Never closed: a library's log handler keeps it, as it would have kept the standard stream.
    return open(os.devnull, "w", encoding="utf-8", errors="replace")  # noqa: PTH123


def _apart(stream: TextIO) -> TextIO:
    """The stream by a way of its own, where it is one of the process; itself where a program has put its own there."""
    if not (isinstance(stream, io.TextIOWrapper) and _number(stream) in (1, 2)):
        return stream or _nowhere()
    handle: IO[bytes] = os.fdopen(os.dup(stream.fileno()), "wb")
    return io.TextIOWrapper(handle, stream.encoding, stream.errors, line_buffering=stream.line_buffering)


def _number(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _flush(stream: TextIO | None) -> None:
    # Its reader may have gone, or the disk behind it be full; whoever writes next is told.
    if stream is not None:
        with suppress(OSError, ValueError):
            stream.flush()
