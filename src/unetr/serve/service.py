# ruff: noqa: D101, D102
"""For a moment: the queue's service as the routes use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from unetr.queue.folder import QueueFolder
from unetr.queue.record import JobRecord, ScanRecord, Settings
from unetr.queue.store import JobStore


@dataclass(frozen=True, slots=True)
class Received:
    path: Path
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    done: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedModel:
    name: str
    sha256: str
    title: str
    labels: Mapping[str, int]
    colours: Mapping[str, tuple[int, int, int]]
    channels: tuple[str, ...]
    regions: Mapping[str, tuple[int, ...]]
    spacing_mm: tuple[float, ...]
    licence: str
    metrics: Mapping[str, float]
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    engine_alive: bool
    engine_restarts: int
    waiting: int
    oldest_waiting_s: float | None
    free_bytes: int
    last_error: str | None = None


class Service(Protocol):
    folder: QueueFolder
    store: JobStore
    models: Mapping[str, OfferedModel]

    def new_incoming(self) -> Path: ...
    def keep_scan(self, files: Sequence[Received]) -> ScanRecord: ...
    def source(self, scan_id: str) -> Path | tuple[Path, ...]: ...
    def describe(self, scan_id: str, timeout_s: float = 60) -> Mapping[str, Any]: ...
    def view(self, scan_id: str, series: Sequence[str] = ()) -> Path: ...
    def submit(
        self, scan_id: str, model: str, settings: Settings = ..., origin: Mapping[str, Any] | None = None
    ) -> JobRecord: ...
    def progress(self, job_id: str) -> Progress | None: ...
    def wait(self, job_id: str, seen: int, timeout_s: float) -> int: ...
    def cancel(self, job_id: str) -> JobRecord: ...
    def result(self, job_id: str, form: str) -> Path: ...
    def correct(self, job_id: str, labels: Path, meant: Sequence[int] = ()) -> int: ...
    def corrections(self, job_id: str) -> list[int]: ...
    def correction(self, job_id: str, number: int, form: str) -> Path: ...
    def health(self) -> Health: ...
