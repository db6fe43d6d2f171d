"""How this process gets its memory from the system. Knows the C library's allocator, no network."""

from __future__ import annotations

import ctypes
import sys

# glibc's malloc.h: what mallopt(3) calls M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_MAX.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER_TRIM = 2**31 - 1
_GROW_BY_BYTES = 1 << 28


def keep_freed_memory() -> bool:
    """Makes the process keep freed memory for its next allocation; returns whether the C library can (glibc can).

    By default every large tensor is new memory from the system, which is zeroed page by page as it is first touched: a
    sixth to a third of a training step on a CPU. To be called once, by whoever starts a long computation on a CPU; the
    process then never becomes smaller than it once was.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER_TRIM), (_TOP_PAD, _GROW_BY_BYTES))
    return all(mallopt(option, value) == 1 for option, value in settings)
