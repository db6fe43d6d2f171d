"""Asks one PACS again and again, in a thread; a PACS that is away is asked again later, and nothing is lost by it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol, Self

from unetr.errors import UnetrError
from unetr.node.pull.dicomweb import DicomWebSource
from unetr.node.pull.orthanc import OrthancSource
from unetr.node.pull.seen import Seen
from unetr.node.receive.arriving import Arrivals
from unetr.node.settings import Limits, Pull
from unetr.queue.store import JobStore

_LONGEST_PAUSE_S = 30.0


class Source(Protocol):
    """A PACS."""

    @property
    def place(self) -> str:
        """Host and port, for people."""

    def ask(self) -> int:
        """Fetches what is new; how many series. Raises UnetrError."""

    def sweep(self) -> int:
        """Fetches what the questions before have missed; how many series. Raises UnetrError."""

    def close(self) -> None:
        """Ends its connections."""


def open_source(pull: Pull, limits: Limits, arrivals: Arrivals, store: JobStore) -> Source:
    """The PACS that the settings name. Nothing is asked yet. Raises InputError."""
    seen = Seen(store, pull.name)
    if pull.orthanc is not None:
        return OrthancSource(pull, pull.orthanc, limits, arrivals, seen)
    if pull.dicomweb is not None:
        return DicomWebSource(pull, pull.dicomweb, limits, arrivals, seen)
    raise AssertionError("checked by Pull")


class PullLoop:
    """A context in which a PACS is asked. note: hears a line when it is away, and when it is back."""

    def __init__(self, pull: Pull, source: Source, note: Callable[[str], None]) -> None:
        self._pull, self._source, self._note = pull, source, note
        self._stop = threading.Event()
        self._swept = float("-inf")
        self._thread = threading.Thread(target=self._run, name=f"pull {pull.name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._source.close()
        self._thread.join()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._once()
                if failures:
                    self._note(f"{self._pull.name}: answers again")
                    self._swept = float("-inf")  # what it did while it was away, it may not tell
                failures = 0
            except UnetrError as error:
                failures = self._failed(failures, str(error))
            except Exception as error:  # noqa: BLE001  # a defect must not end the thread; its words may hold anything
                failures = self._failed(failures, f"asking it failed: {type(error).__name__}")
            self._stop.wait(
                min(self._pull.every_s * 2.0 ** min(failures, 10), max(self._pull.every_s, _LONGEST_PAUSE_S))
            )

    def _once(self) -> None:
        found, failure = 0, None
        try:
            found = self._source.ask()
        except UnetrError as error:  # of one series, it may be: that keeps no sweep back
            failure = error
        try:
            if time.monotonic() - self._swept >= self._pull.sweep_s:
                self._swept = time.monotonic()
                found += self._source.sweep()
        finally:
            if found:
                self._note(f"{self._pull.name}: {found} series fetched")
        if failure is not None:
            raise failure

    def _failed(self, failures: int, why: str) -> int:
        if not failures and not self._stop.is_set():
            self._note(f"{self._pull.name}: {why}; it is asked again")
        return failures + 1
