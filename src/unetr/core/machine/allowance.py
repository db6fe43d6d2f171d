"""The allowance: what a file may take of memory is asked for before it is taken, and refused where it cannot be had.

The limit is a whole process's, given by `memory_limit`; without one, what is free counts. Files that are read in
several threads at once know of each other: one that fits alone waits until the others are read.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unetr.core.machine.memory import free_bytes, gigabytes, resident_bytes
from unetr.errors import InputError

_FLOAT = 4
# What nobody counts of a step: pieces of streams, fragments of the allocator.
_SMALL_THINGS = 8 * 10**6
_PATIENCE_S = 600.0


class DoesNotFitError(InputError):
    """A file that would take more memory than may be had. claim: what its header says, None for what is no scan."""

    def __init__(self, message: str, claim: Claim | None = None, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.claim = claim


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """What a scan's header says is to come, before any of it is read.

    shape: voxels along X, Y, Z. dtype: of the numbers as stored. rescaled: they become float32. affine: voxel -> RAS
    mm, None where there is none. beside_bytes: what reading takes beside the voxels.
    """

    shape: tuple[int, int, int]
    channels: int
    dtype: np.dtype[Any]
    rescaled: bool = False
    affine: np.ndarray[Any, Any] | None = None
    beside_bytes: int = 0

    @property
    def numbers(self) -> int:
        """Voxels times channels."""
        return math.prod(self.shape) * self.channels

    def reading_bytes(self) -> int:
        """The most that reading takes: the stored numbers, the rescaled ones, and a mark for those not finite."""
        per_number = self.dtype.itemsize + _FLOAT * self.rescaled + (self.rescaled or self.dtype.kind == "f")
        return self.numbers * per_number + self.beside_bytes

    def kept_bytes(self) -> int:
        """What is there when it has been read."""
        return self.numbers * (_FLOAT if self.rescaled else self.dtype.itemsize)


Further = Callable[[Claim], int]
"""What will be taken while the voxels of a claim are there, beyond them."""


@dataclass(frozen=True, slots=True)
class _Allowance:
    """limit: of the whole process. most: of what may still be taken where other work runs beside. reads: within
    `reading`, at whose end what was granted is given back."""

    limit: int | None = None
    most: int | None = None
    further: Further | None = None
    reads: bool = False


_FREE = _Allowance()
_ALLOWANCE: ContextVar[_Allowance] = ContextVar("allowance", default=_FREE)


class _Readers:
    """The threads that are reading now, and what each was granted."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.granted: dict[int, int] = {}

    def of_others(self) -> int:
        return sum(taken for thread, taken in self.granted.items() if thread != threading.get_ident())


_READERS = _Readers()


@contextmanager
def memory_limit(limit_bytes: int | None, *, most_bytes: int | None = None) -> Iterator[None]:
    """Within, files of this thread are read with this limit of the whole process; None for what is free.

    most_bytes: what reading may take at most, since other work goes on beside it.
    """
    token = _ALLOWANCE.set(_Allowance(limit_bytes, most_bytes, _ALLOWANCE.get().further, _ALLOWANCE.get().reads))
    try:
        yield
    finally:
        _ALLOWANCE.reset(token)


@contextmanager
def reading(further: Further | None = None) -> Iterator[None]:
    """Around the reading of one file; what it was granted is given back at the end."""
    before = _ALLOWANCE.get()
    token = _ALLOWANCE.set(_Allowance(before.limit, before.most, _larger(before.further, further), True))
    try:
        yield
    finally:
        _ALLOWANCE.reset(token)
        with _READERS.changed:
            _READERS.granted.pop(threading.get_ident(), None)
            _READERS.changed.notify_all()


def _larger(first: Further | None, second: Further | None) -> Further | None:
    """What follows is done one after the other, so that the larger counts."""
    if first is None or second is None:
        return first or second
    return lambda claim: max(first(claim), second(claim))


def admit_scan(path: Path | str, claim: Claim) -> None:
    """Asks for what reading a scan, and what is known to follow, will take. Raises DoesNotFitError."""
    further = _ALLOWANCE.get().further
    least = claim.reading_bytes()
    if further is not None:
        least = max(least, claim.kept_bytes() + further(claim))
    sizes = "×".join(str(size) for size in (*claim.shape, *([claim.channels] if claim.channels > 1 else [])))
    admit(path, least, f"for {sizes} voxels of {8 * claim.dtype.itemsize} bits", claim)


def admit(source: Path | str, needed: int, what: str, claim: Claim | None = None, held: int = 0) -> None:
    """Asks for `needed` bytes beyond what the process has. Raises DoesNotFitError.

    what: for whom, in the message. held: what was granted before and is still there.
    """
    with _READERS.changed:
        if _READERS.of_others() and threading.get_ident() not in _READERS.granted and needed <= _left_bytes():
            # It fits alone: the others are read first.
            _READERS.changed.wait_for(lambda: _fits(needed) or not _READERS.of_others(), _PATIENCE_S)
        most = _ALLOWANCE.get().most
        if not _fits(needed) or (most is not None and needed + held > most):
            limited = _ALLOWANCE.get().limit is not None
            raise DoesNotFitError(_refusal(source, needed, what), claim, hint="memory_limit" if limited else None)
        if _ALLOWANCE.get().reads:
            _READERS.granted[threading.get_ident()] = needed


def _fits(needed: int) -> bool:
    return needed + _SMALL_THINGS <= _left_bytes() - _READERS.of_others()


def _left_bytes() -> int:
    asked = _ALLOWANCE.get()
    return free_bytes() if asked.limit is None else min(free_bytes(), asked.limit - resident_bytes())


def _refusal(source: Path | str, needed: int, what: str) -> str:
    limit = _ALLOWANCE.get().limit
    if limit is None:
        return (
            f"{source}: needs {gigabytes(needed)} of memory {what}, more than the {gigabytes(max(0, free_bytes()))} "
            "that are free; close other programs, use a larger machine, or crop or resample the scan"
        )
    return (
        f"{source}: needs at least {gigabytes(resident_bytes() + needed)} of memory {what}, more than the limit of "
        f"{gigabytes(limit)}; allow more, or crop or resample the scan"
    )
