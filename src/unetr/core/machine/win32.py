"""What Windows says about memory. Called on Windows alone, by `system.py`; elsewhere every answer is None."""

from __future__ import annotations

import ctypes
from ctypes import wintypes
from typing import Any


class MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of sysinfoapi.h; sizes in bytes."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load_percent", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("available", ctypes.c_uint64),
        ("total_page_file", ctypes.c_uint64),
        ("available_page_file", ctypes.c_uint64),
        ("total_virtual", ctypes.c_uint64),
        ("available_virtual", ctypes.c_uint64),
        ("available_extended", ctypes.c_uint64),
    )


class ProcessMemory(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS of psapi.h; sizes in bytes."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("page_faults", ctypes.c_uint32),
        ("peak_resident", ctypes.c_size_t),
        ("resident", ctypes.c_size_t),
        ("peak_paged_pool", ctypes.c_size_t),
        ("paged_pool", ctypes.c_size_t),
        ("peak_nonpaged_pool", ctypes.c_size_t),
        ("nonpaged_pool", ctypes.c_size_t),
        ("page_file", ctypes.c_size_t),
        ("peak_page_file", ctypes.c_size_t),
    )


def available_bytes() -> int | None:
    """Memory that the machine can give without swapping."""
    kernel = _kernel()
    status = MemoryStatus(length=ctypes.sizeof(MemoryStatus))
    if kernel is None or not kernel.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(status.available)


def process_memory(handle: int | None = None) -> ProcessMemory | None:
    """Of the process behind a handle, also of one that has ended; of this process without one."""
    kernel = _kernel()
    if kernel is None:
        return None
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    process = wintypes.HANDLE(kernel.GetCurrentProcess() if handle is None else handle)
    found = ProcessMemory(length=ctypes.sizeof(ProcessMemory))
    if not kernel.K32GetProcessMemoryInfo(process, ctypes.byref(found), found.length):
        return None
    return found


def _kernel() -> Any:
    """kernel32; None where there is none."""
    libraries = getattr(ctypes, "windll", None)
    return None if libraries is None else libraries.kernel32
