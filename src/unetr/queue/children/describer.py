"""Scans are described by the reader: when somebody asks, and before a job of theirs is ready."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from unetr.errors import InputError, NoRoomError, UnetrError
from unetr.queue.children.child import NoChildError
from unetr.queue.children.orders import Orders
from unetr.queue.children.reader import ClosedError, Reader, ReaderBusyError
from unetr.queue.record import JobError, JobState, ScanRecord, Settings

DESCRIBE_S = 60.0
_READ_S = 600.0
# A job waits for the reader as long as it takes: until the longest task has ended, many times over.
_PATIENCE_S = 24 * 3600.0
_PAUSE_S = 5.0


class Describer:
    """A thread that makes received jobs ready, or fails them; and `describe` for everybody."""

    def __init__(self, orders: Orders, reader: Reader) -> None:
        self._orders = orders
        self._store = orders.store
        self._reader = reader
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._wake.set()
        self._thread = threading.Thread(target=self._work, name="describer", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """A job may have been received."""
        self._wake.set()

    def close(self) -> None:
        """Ends the thread; the reader is ended before, so that it waits for nothing."""
        self._closing.set()
        self._wake.set()
        self._thread.join()

    def describe(self, scan: str, timeout_s: float = DESCRIBE_S, patience_s: float | None = None) -> Mapping[str, Any]:
        """The scan's facts, read when they are first asked for. patience_s: see `turn`.

        Raises InputError for what is no scan, ReaderBusyError.
        """
        found = self._store.scan(scan)
        if found.facts:
            return found.facts
        facts = self._reader.ask("describe", self._orders.source(scan, Settings()), timeout_s, patience_s)
        self._store.describe_scan(scan, facts)
        return facts

    def _work(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            try:
                while not self._closing.is_set() and self._next():
                    pass
            except Exception:  # noqa: BLE001  # the database cannot be written; nor may a defect end the thread
                self._closing.wait(_PAUSE_S)
                self._wake.set()

    def _next(self) -> bool:
        """Settles the job that was received first; whether there was one. Raises MachineError where it waits on."""
        received = self._store.jobs((JobState.RECEIVED,))
        if not received:
            return False
        job = received[-1]
        try:
            facts = self.describe(job.spec.scan, _READ_S, _PATIENCE_S)
            check_settings(self._store.scan(job.spec.scan), facts, job.spec.settings)
        except ClosedError:
            return False
        except (NoRoomError, NoChildError, ReaderBusyError):  # nothing is wrong with the scan: it is tried again
            raise
        except UnetrError as error:
            self._store.fail(job.id, JobError(kind=type(error).__name__, message=str(error), hint=error.hint))
        else:
            self._store.make_ready(job.id)
        return True


def check_settings(scan: ScanRecord, facts: Mapping[str, Any], settings: Settings) -> None:
    """Raises InputError where a job with these settings cannot work on the scan: before it waits for its turn."""
    known = [series["uid"] for series in facts.get("series", ())]
    if "series" in facts["needs"] and not settings.series:
        raise InputError(f"the scan: holds {len(known)} series; choose by UID: {', '.join(known[:20])}", hint="series")
    for uid in settings.series:
        if uid not in known:
            raise InputError(f"the scan: has no series {uid}; expected one of {', '.join(known[:20])}", hint="series")
    if "assume_affine" in facts["needs"] and not settings.assume_affine:
        raise InputError(
            f"{scan.files[0]}: does not say where its voxels lie; expected an affine, or axes to be assumed",
            hint="assume_affine",
        )
    if settings.forms and facts["kind"] != "dicom":
        raise InputError(f"{scan.files[0]}: is no DICOM, which {settings.forms[0]} needs", hint="format")
