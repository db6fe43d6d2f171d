"""One file that arrived: its name, whether the same is there already, and why it is not taken."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path

from unetr.errors import InputError, MachineError
from unetr.io.dicom.series.head import Head, read_head

_DIGITS = 32
_PIECE = 1 << 20
# Of one instance with other bytes each time: more is an attack, or a sender gone mad.
_MOST_VARIANTS = 8


class TooMuchError(MachineError):
    """The series itself is beyond a limit: trying again is of no use."""


class NotAsSaidError(InputError):
    """The file is another object than its sender announced."""


class Taken(StrEnum):
    """What was made of one file: kept, there already, there with other bytes (and kept), or nothing that is needed."""

    NEW = "new"
    SAME = "same"
    OTHER = "other"
    IGNORED = "ignored"


def placed(part: Path, head: Head, folder: Path) -> Taken:
    """Moves the part to its name in the folder, unless the same instance with the same content is there."""
    name = digest(head.instance)
    for number in range(1, _MOST_VARIANTS + 1):
        path = folder / (f"{name}.dcm" if number == 1 else f"{name}-{number}.dcm")
        if not path.exists():
            part.replace(path)
            return Taken.NEW if number == 1 else Taken.OTHER
        if _same(part, head, path):
            return Taken.SAME
    raise TooMuchError("the same instance came with other content too often")


def _same(part: Path, head: Head, path: Path) -> bool:
    """Whether both hold one data set in one transfer syntax; who wrote the file's meta header does not count."""
    other = read_head(path)
    if other.transfer_syntax != head.transfer_syntax:
        return False
    with part.open("rb") as one, path.open("rb") as two:
        one.seek(head.starts)
        two.seek(other.starts)
        while True:
            left, right = one.read(_PIECE), two.read(_PIECE)
            if left != right:
                return False
            if not left:
                return True


def digest(*uids: str) -> str:
    """What stands for UIDs in names and in the database."""
    return hashlib.sha256("\n".join(uids).encode()).hexdigest()[:_DIGITS]
