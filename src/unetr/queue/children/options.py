"""What a service may be told, and what it tells of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """most_waiting: jobs, beyond which more are refused. memory_limit_bytes: of each of the two child processes; None
    for what the machine has free. retention_s: after which results and scans are removed. cancel_s: how long an engine
    may take to stop before it is ended."""

    most_waiting: int = 32
    lease_s: float = 30.0
    memory_limit_bytes: int | None = None
    retention_s: float = 24 * 3600.0
    cancel_s: float = 10.0
    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Windows of the job that runs."""

    done: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """engine: whether its process lives. no_room: whether a result waits for room on the disk. restarts: of engine and
    reader. last_error: the kind of the last one that was no scan's fault, "" for none. free_bytes: of the queue's
    disk."""

    engine: bool
    no_room: bool
    restarts: int
    waiting: int
    oldest_waiting_s: float
    free_bytes: int
    last_error: str
