"""What was fetched of a PACS already, in the database of jobs: how far its events were read, how its series stood."""

from __future__ import annotations

import datetime

from unetr.queue.store import JobStore

_TABLE = """
CREATE TABLE IF NOT EXISTS pulled (
  source TEXT NOT NULL, item TEXT NOT NULL, mark TEXT NOT NULL, PRIMARY KEY (source, item)
) STRICT
"""
_CURSOR = "cursor"
_FIRST = "first asked"


class Seen:
    """The marks of one PACS, by digests of its series. source: its name in the settings."""

    def __init__(self, store: JobStore, source: str) -> None:
        self._store, self._source = store, source
        with store.changing() as connection:
            connection.execute(_TABLE)

    def mark(self, item: str) -> str | None:
        """How the series stood when it was fetched, None where it was not."""
        with self._store.changing() as connection:
            row = connection.execute(
                "SELECT mark FROM pulled WHERE source = ? AND item = ?", (self._source, item)
            ).fetchone()
        return None if row is None else str(row["mark"])

    def note(self, item: str, mark: str) -> None:
        """The series was fetched as it stood."""
        with self._store.changing() as connection:
            connection.execute("INSERT OR REPLACE INTO pulled VALUES (?, ?, ?)", (self._source, item, mark))

    def first_asked(self) -> datetime.datetime:
        """When this is called for the first time, in UTC."""
        now = datetime.datetime.now(tz=datetime.UTC)
        found = self.mark(_FIRST)
        if found is None:
            self.note(_FIRST, now.isoformat())
            return now
        return min(now, datetime.datetime.fromisoformat(found))  # the clock may have been wrong

    @property
    def cursor(self) -> int:
        """How far the events were read, 0 at first."""
        return int(self.mark(_CURSOR) or 0)

    @cursor.setter
    def cursor(self, number: int) -> None:
        self.note(_CURSOR, str(number))
