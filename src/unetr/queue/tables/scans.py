"""Scans in the database, and transactions that tell who listens which jobs they have changed."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unetr.queue.record import ScanRecord
from unetr.queue.tables.database import Database
from unetr.queue.tables.rows import scan_of


class _Changed(threading.local):
    """The jobs that this thread's transaction has changed."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.within = False


class ScanStore:
    """The scans of a queue.

    on_change: hears of each job whose state, results or wish to be cancelled have changed, in the thread that did it.
    clock: seconds since 1970, for tests.
    """

    def __init__(
        self, path: Path, clock: Callable[[], float] = time.time, on_change: Callable[[str], None] = lambda job: None
    ) -> None:
        self._clock = clock
        self._on_change = on_change
        self._changed = _Changed()
        self._database = Database(path)

    def close(self) -> None:
        """Ends the connection."""
        self._database.close()

    def add_scan(self, scan: ScanRecord) -> ScanRecord:
        """Keeps the scan; one of the same id that is there already is returned instead, with this one's time."""
        with self.changing() as connection:
            connection.execute(
                "INSERT INTO scans VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET created_s = excluded.created_s",
                (scan.id, json.dumps(scan.files), scan.bytes, scan.created_s, json.dumps(dict(scan.facts))),
            )
        return self.scan(scan.id)

    def scan(self, scan: str) -> ScanRecord:
        """Raises InputError where there is none."""
        return scan_of(self._database.row("scan", "SELECT * FROM scans WHERE id = ?", (scan,)))

    def describe_scan(self, scan: str, facts: Mapping[str, Any]) -> None:
        """Notes what reading the scan told."""
        with self.changing() as connection:
            connection.execute("UPDATE scans SET facts = ? WHERE id = ?", (json.dumps(dict(facts)), scan))

    def forget_scan(self, scan: str) -> bool:
        """Removes a scan that no job needs; whether it is gone."""
        with self.changing() as connection:
            return (
                connection.execute(
                    "DELETE FROM scans WHERE id = ? AND id NOT IN (SELECT scan FROM jobs)", (scan,)
                ).rowcount
                == 1
            )

    def scan_ids(self) -> set[str]:
        """Of all scans."""
        return {row[0] for row in self._database.rows("SELECT id FROM scans")}

    def idle_scans(self, before_s: float) -> list[ScanRecord]:
        """Scans from before that time that no job needs."""
        rows = self._database.rows(
            "SELECT * FROM scans WHERE created_s < ? AND id NOT IN (SELECT scan FROM jobs)", (before_s,)
        )
        return [scan_of(row) for row in rows]

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing. Tables of others, such as a node's deliveries, may join in it."""
        outermost = not self._changed.within
        self._changed.within = True
        try:
            with self._database.changing() as connection:
                yield connection
        except BaseException:
            self._changed.jobs = self._changed.jobs if not outermost else []
            raise
        finally:
            self._changed.within = not outermost
        if outermost:
            told, self._changed.jobs = self._changed.jobs, []
            for job in told:
                self._on_change(job)
