"""What differs between operating systems, asked in one place: memory, owners of files, signals, flushing to disk.

The rest of the package is the same on Linux, macOS and Windows, and uses nothing that one of them lacks.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

ROOT = Path("/")
# Flags of `os.open`, 0 where the system has none. A link is not followed; a pipe that somebody put there is not waited
# for; line ends are not translated.
NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)
BINARY: int = getattr(os, "O_BINARY", 0)

# How the system, or a person by Windows' Ctrl-Break, asks a process to end. Ctrl-C comes as SIGINT everywhere.
STOP_SIGNALS: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGBREAK") if hasattr(signal, name)
)

_NICE = 10
_OTHERS_MAY_WRITE = 0o022
_OTHERS_MAY_ANYTHING = 0o077
_REPARSE_POINT = 0x400  # Windows' junctions, which are links by another name


def available_cores() -> int:
    """Cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resident_bytes() -> int | None:
    """Memory that this process has now; on macOS, the most that it has had."""
    if sys.platform == "win32":
        return _of_windows("resident")
    return _kilobytes(ROOT / "proc/self/status", "VmRSS") or _most_resident()


def resident_bytes_of(child: subprocess.Popen[bytes]) -> int | None:
    """Memory that a child has now; None where the system does not tell (macOS), or it has ended."""
    if sys.platform == "win32":
        return _of_windows("resident", int(getattr(child, "_handle", 0)))
    return _kilobytes(ROOT / f"proc/{child.pid}/status", "VmRSS") or None


def lower_priority() -> None:
    """Lets other processes go first where both have work. Windows is told by whoever starts this one."""
    if sys.platform != "win32":
        os.nice(_NICE)


def peak_bytes() -> int | None:
    """The most memory that this process has had."""
    if sys.platform == "win32":
        return _of_windows("peak_resident")
    return _kilobytes(ROOT / "proc/self/status", "VmHWM") or _most_resident()


def available_bytes(root: Path = ROOT) -> int | None:
    """The least of what the machine and the control groups around this process can still give; macOS does not say.

    root: where Linux' folders `proc` and `sys` lie.
    """
    if sys.platform == "win32":
        from unetr.core.machine.win32 import available_bytes

        return available_bytes()
    of_machine = _kilobytes(root / "proc/meminfo", "MemAvailable")
    return min((*([of_machine] if of_machine else []), *_left_by_groups(root)), default=None)


def ended(child: subprocess.Popen[bytes]) -> tuple[int, int | None] | None:
    """The exit code of a child (the negative signal that ended it) and the most memory that it had, in bytes.

    None while it runs.
    """
    if sys.platform == "win32":
        code = child.poll()
        return None if code is None else (code, _of_windows("peak_resident", int(getattr(child, "_handle", 0))))
    pid, status, usage = os.wait4(child.pid, os.WNOHANG)
    if not pid:
        return None
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, usage.ru_maxrss * _MAXRSS_UNIT


def allow_open_files(wanted: int) -> int:
    """How many files and connections this process may have open: `wanted`, or fewer where the system does not allow it.

    Raises the process's own limit where it is lower. Windows has none.
    """
    if sys.platform == "win32":
        return wanted
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft in (resource.RLIM_INFINITY, -1) or soft >= wanted:
        return wanted
    more = wanted if hard in (resource.RLIM_INFINITY, -1) else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
    except (OSError, ValueError):  # macOS has a limit below what it tells
        return soft
    return more


def is_private(found: os.stat_result) -> bool:
    """Whether a file is this user's, and only theirs to write. On Windows the place's access list sees to that."""
    if sys.platform == "win32":
        return not getattr(found, "st_file_attributes", 0) & _REPARSE_POINT
    return found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_MAY_WRITE


def is_mine_to_fill(folder: Path) -> bool:
    """As root with another's HOME, nothing is left in there that they could not remove."""
    return sys.platform == "win32" or not (os.geteuid() == 0 and folder.stat().st_uid != 0)


def close_to_others(folder: Path) -> None:
    """Takes from others what they may do in a folder of this user's. Raises OSError."""
    if sys.platform != "win32" and folder.stat().st_mode & _OTHERS_MAY_ANYTHING:
        folder.chmod(0o700)


def flush_to_disk(path: Path) -> None:
    """Returns when the contents of a file, or the names in a folder, would outlast a power cut. Raises OSError."""
    flags = os.O_RDONLY
    if sys.platform == "win32":
        if stat.S_ISDIR(path.stat().st_mode):  # Windows opens no folder; NTFS keeps a journal of names
            return
        flags = os.O_RDWR  # and flushes only what may be written
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def has_unread(handle: int) -> bool:
    """Whether bytes have come to a socket that nobody has read yet. Windows is not asked: it says no."""
    if sys.platform == "win32":
        return False
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(0))


_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


def _most_resident() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def _of_windows(figure: str, handle: int | None = None) -> int | None:
    from unetr.core.machine.win32 import process_memory

    found = process_memory(handle)
    return None if found is None else int(getattr(found, figure))


def _left_by_groups(root: Path) -> Iterator[int]:
    """For each control group around this process that has a limit, how much of it is left, files' pages not counted.

    Both versions of Linux's interface; a container sees its own group at the top, under whichever name it has outside.
    """
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, group = line.split(":", 2)
        if not controllers:
            top, limit, used, droppable = "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            top, limit, used = "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            droppable = "total_inactive_file"
        else:
            continue
        inner = Path(group.lstrip("/"))
        for folder in (root / top / above for above in (inner, *inner.parents)):
            most, held = _number(folder / limit), _number(folder / used)
            if most is not None and held is not None:
                yield max(0, most - held + _field(folder / "memory.stat", droppable))


def _number(path: Path) -> int | None:
    """None where there is no such file, or no limit ("max")."""
    text = "".join(_lines(path))
    return int(text) if text.isdigit() else None


def _kilobytes(path: Path, name: str) -> int:
    return 1024 * _field(path, f"{name}:")


def _field(path: Path, name: str) -> int:
    """The number behind a name; 0 where there is none."""
    return next((int(line.split()[1]) for line in _lines(path) if line.split()[:1] == [name]), 0)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
