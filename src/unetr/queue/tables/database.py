"""The database's file: its tables, one connection, transactions. SQLite in WAL mode, flushed at every commit."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from unetr.errors import InputError, MachineError, NoRoomError

_BUSY_MS = 10_000
# The second is of the file beside the database that its processes share.
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
# Of all tables in the file, a node's as well. To be raised with every change of one of them.
LAYOUT = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS scans (
  id TEXT PRIMARY KEY, files TEXT NOT NULL, bytes INTEGER NOT NULL, created_s REAL NOT NULL, facts TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS jobs (
  id TEXT PRIMARY KEY, scan TEXT NOT NULL, model TEXT NOT NULL, model_sha256 TEXT NOT NULL, settings TEXT NOT NULL,
  version TEXT NOT NULL, state TEXT NOT NULL, created_s REAL NOT NULL, updated_s REAL NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0, cancelling INTEGER NOT NULL DEFAULT 0, owner TEXT, lease_s REAL,
  results TEXT NOT NULL DEFAULT '[]', summary TEXT NOT NULL DEFAULT '{}', error TEXT, origin TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, created_s);
CREATE TABLE IF NOT EXISTS events (
  number INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT NOT NULL, state TEXT NOT NULL, at_s REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS events_by_job ON events (job, number);
"""


class Database:
    """One file, that several threads and several processes may use at once. Raises MachineError where it cannot be."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            for pragma in ("journal_mode = WAL", "synchronous = FULL", f"busy_timeout = {_BUSY_MS}"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._lay_out(path)
            self._empty_log()
        except sqlite3.Error as error:
            raise _kind(error)(f"{path}: cannot be opened as the database of jobs: {error}") from error

    def _lay_out(self, path: Path) -> None:
        """Makes the tables of a new file. Raises InputError for a file of another layout, which it leaves as it is."""
        with self.changing() as connection:
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found != LAYOUT and connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
                raise InputError(
                    f"{path}: was written by {'a newer' if found > LAYOUT else 'an older'} version of unetr "
                    f"(layout {found}); expected layout {LAYOUT}: use that version, or another folder"
                )
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {LAYOUT}")

    def close(self) -> None:
        """Ends the connection."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing. Tables of others, such as a node's deliveries, may join in it."""
        with self._lock:
            nested = self._connection.in_transaction
            try:
                if not nested:
                    self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                if not nested:
                    self._connection.execute("COMMIT")
            except BaseException as error:
                if not nested and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    kind = _kind(error)
                    if kind is NoRoomError:
                        self._empty_log()
                    raise kind(f"the database of jobs cannot be written: {error}; free space") from error
                raise

    def _empty_log(self) -> None:
        """What is in the log goes to the database, so that the log begins anew: on a full disk that needs less room."""
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def rows(self, query: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """What a query finds. Raises MachineError where the file cannot be read."""
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise _kind(error)(f"the database of jobs cannot be read: {error}") from error

    def row(self, what: str, query: str, values: Sequence[object]) -> sqlite3.Row:
        """The one that a query finds. what: "job" or "scan". Raises InputError where there is none."""
        found = self.rows(query, values)
        if not found:
            raise InputError(f"no such {what}; it may have been removed after its time")
        return found[0]


def _kind(error: sqlite3.Error) -> type[MachineError]:
    return NoRoomError if getattr(error, "sqlite_errorcode", None) in _NO_ROOM else MachineError
