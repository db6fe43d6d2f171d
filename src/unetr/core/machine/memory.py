"""How much memory this process has and may still get. Where the system does not say, there is taken to be plenty.

In a container, or in a job of a cluster, a control group's limit counts as well: beyond it the process is killed,
however much memory the machine has.
"""

from __future__ import annotations

from pathlib import Path

from unetr.core.machine import system

# Of the memory that is free, the share that a job takes without being told: the rest is for what nobody counted.
SHARE_OF_FREE = 0.8
# What is said to be free where the system does not say.
PLENTY_BYTES = 2**62
# Where the process cannot be asked: interpreter and libraries.
_PROCESS = 400 * 10**6


def gigabytes(count: int) -> str:
    """For people, e.g. "3.20 GB"; GB are 10^9 bytes."""
    return f"{count / 10**9:.2f} GB"


def resident_bytes() -> int:
    """Memory that this process has now."""
    return system.resident_bytes() or _PROCESS


def peak_bytes() -> int:
    """The most memory that this process has had; 0 where the system does not say."""
    return system.peak_bytes() or 0


def free_bytes(root: Path = system.ROOT) -> int:
    """Memory to be had without swapping or being killed for it; PLENTY_BYTES where the system does not say."""
    free = system.available_bytes(root)
    return PLENTY_BYTES if free is None else free
