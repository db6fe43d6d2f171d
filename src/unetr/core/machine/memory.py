"""How much memory this process has and may still get. Linux says; elsewhere there is taken to be plenty.

In a container, or in a job of a cluster, a control group's limit counts as well: beyond it the process is killed,
however much memory the machine has.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

# Of the memory that is free, the share that a job takes without being told: the rest is for what nobody counted.
SHARE_OF_FREE = 0.8
# What is said to be free where the system does not say.
PLENTY_BYTES = 2**62
# Where the process cannot be asked: interpreter and libraries.
_PROCESS = 400 * 10**6
_ROOT = Path("/")


def gigabytes(count: int) -> str:
    """For people, e.g. "3.20 GB"; GB are 10^9 bytes."""
    return f"{count / 10**9:.2f} GB"


def resident_bytes() -> int:
    """Memory that this process has now."""
    return _kilobytes(_ROOT / "proc/self/status", "VmRSS") or _PROCESS


def peak_bytes() -> int:
    """The most memory that this process has had; 0 where the system does not say."""
    return _kilobytes(_ROOT / "proc/self/status", "VmHWM")


def free_bytes(root: Path = _ROOT) -> int:
    """Memory to be had without swapping or being killed for it; PLENTY_BYTES where the system does not say."""
    free = _kilobytes(root / "proc/meminfo", "MemAvailable") or PLENTY_BYTES
    return min((free, *_left_by_groups(root)))


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
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
