"""Which of a NIfTI header's two affines counts where they disagree: sform and qform may be two frames of space.

A choice for everything that is read within `taking`, since it is a person's word on a whole dataset, or a model's plan.
It reaches threads that are given work by `core.machine.parallel.with_choices`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Transform = Literal["qform", "sform"]

_TAKEN: ContextVar[Transform | None] = ContextVar("transform", default=None)


@contextmanager
def taking(transform: Transform | None) -> Iterator[None]:
    """Within, this affine counts where a header's two disagree; None leaves it as it was."""
    token = _TAKEN.set(transform or _TAKEN.get())
    try:
        yield
    finally:
        _TAKEN.reset(token)


def taken() -> Transform | None:
    """What counts now; None: a header whose affines disagree is refused."""
    return _TAKEN.get()
