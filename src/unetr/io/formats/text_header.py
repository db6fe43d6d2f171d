"""What the two formats with a header of text (NRRD, MHA) have in common: lines, numbers, and LPS instead of RAS."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from unetr.errors import InputError

# ITK's millimetres run left, posterior, superior.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LONGEST_HEADER = 1 << 20
# Plain numbers in ASCII: Python's own also know underscores and the digits of every script, and have no end.
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,5})?")
_NO_NUMBER = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE | re.ASCII)
# No field has more parts than this.
_MOST_PARTS = 1000


def header_lines(path: Path, handle: IO[bytes], what: str) -> Iterator[str]:
    """The header's lines without their ends; the caller stops at the last. Raises InputError where they run out."""
    left = _LONGEST_HEADER
    while left > 0:
        line = handle.readline(left)
        left -= len(line)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{path}: is not {what} or damaged: its header is not text") from None
        if not text.endswith("\n"):
            raise InputError(f"{path}: is not {what} or truncated: its header has no end")
        yield text.rstrip("\r\n")
    raise InputError(f"{path}: is not {what}: its header is longer than {_LONGEST_HEADER} bytes")


def field_numbers(path: Path, fields: Mapping[str, str], name: str, count: int) -> list[float]:
    """The field's numbers, which may be NaN or infinite. Raises InputError unless there are `count`."""
    text = fields.get(name, "")
    parts = text.split(maxsplit=_MOST_PARTS)
    if len(parts) != count or not all(_NUMBER.fullmatch(part) or _NO_NUMBER.fullmatch(part) for part in parts):
        raise InputError(f"{path}: its {name} is '{text[:60]}'; expected {count} numbers")
    return [float(part) for part in parts]


def field_whole_numbers(path: Path, fields: Mapping[str, str], name: str) -> list[int]:
    """The field's whole numbers, at least one. Raises InputError."""
    text = fields.get(name, "")
    parts = text.split(maxsplit=_MOST_PARTS)
    if not parts or not all(map(_WHOLE.fullmatch, parts)):
        raise InputError(f"{path}: its {name} is '{text[:60]}'; expected whole numbers of at most 15 digits")
    return [int(part) for part in parts]
