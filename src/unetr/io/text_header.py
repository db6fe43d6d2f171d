"""What the two formats with a header of text (NRRD, MHA) have in common: lines, numbers, and LPS instead of RAS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from unetr.errors import InputError

# ITK's millimetres run left, posterior, superior.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LONGEST_HEADER = 1 << 20


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
    try:
        numbers = [float(part) for part in text.split()]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise InputError(f"{path}: its {name} is '{text[:60]}'; expected {count} numbers")
    return numbers


def field_whole_numbers(path: Path, fields: Mapping[str, str], name: str) -> list[int]:
    """The field's whole numbers, at least one. Raises InputError."""
    text = fields.get(name, "")
    try:
        numbers = [int(part) for part in text.split()]
    except ValueError:
        numbers = []
    if not numbers:
        raise InputError(f"{path}: its {name} is '{text[:60]}'; expected whole numbers")
    return numbers
