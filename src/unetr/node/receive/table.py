"""The table of series that arrive, in the database of jobs. The files are the truth; this is what was made of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from unetr.queue.store import JobStore

_TABLE = """
CREATE TABLE IF NOT EXISTS arriving (
  series TEXT PRIMARY KEY, study TEXT NOT NULL, source TEXT NOT NULL, state TEXT NOT NULL, files INTEGER NOT NULL,
  first_s REAL NOT NULL, last_s REAL NOT NULL, jobs TEXT NOT NULL DEFAULT '{}', said TEXT,
  whole INTEGER NOT NULL DEFAULT 0
) STRICT
"""


class SeriesState(StrEnum):
    """What was made of a series.

    new: nothing yet. waiting: it has a gap, and more may come. held: a channel of a rule whose others may come.
    submitted: its jobs are in the queue. unmatched: no rule asks for it. failed: what is wrong is said.
    """

    NEW = "new"
    WAITING = "waiting"
    HELD = "held"
    SUBMITTED = "submitted"
    UNMATCHED = "unmatched"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """A series. series, study: digests of their UIDs. source: who brought it first. files: how many it had when its
    state was decided, -1 where that counts no more. first_s, last_s: when files came. jobs: the newest made of it, by
    rule. said: why it waits or has failed, without what could name somebody. whole: who brought its last files has
    ended as meant, and none of them was refused."""

    series: str
    study: str
    source: str
    state: SeriesState = SeriesState.NEW
    files: int = 0
    first_s: float
    last_s: float
    jobs: Mapping[str, str] = field(default_factory=dict)
    said: str | None = None
    whole: bool = False


class ArrivingTable:
    """The rows. Safe to use from several threads."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        with store.changing() as connection:
            connection.execute(_TABLE)

    def all(self) -> list[SeriesRow]:
        """Every series, the oldest first."""
        with self._store.changing() as connection:
            return [_row(one) for one in connection.execute("SELECT * FROM arriving ORDER BY first_s, series")]

    def put(self, row: SeriesRow) -> None:
        """Keeps the row, in place of the one that was there."""
        with self._store.changing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO arriving VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(row.series, row.study, row.source, row.state, row.files, row.first_s, row.last_s),
                    *(json.dumps(dict(row.jobs)), row.said, row.whole),
                ),
            )

    def forget(self, series: str) -> None:
        """Removes a row, whose files are gone."""
        with self._store.changing() as connection:
            connection.execute("DELETE FROM arriving WHERE series = ?", (series,))


def _row(row: sqlite3.Row) -> SeriesRow:
    return SeriesRow(
        series=row["series"],
        study=row["study"],
        source=row["source"],
        state=SeriesState(row["state"]),
        files=row["files"],
        first_s=row["first_s"],
        last_s=row["last_s"],
        jobs=json.loads(row["jobs"]),
        said=row["said"],
        whole=bool(row["whole"]),
    )
