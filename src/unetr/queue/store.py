"""The database of scans and jobs: SQLite, in one file. What a method has returned from outlasts a kill and a power cut.

Every change of a job's state is one transaction that names the state it starts from, so that two processes or threads
never both make it. The same work is one job, however often it is submitted.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unetr.errors import InputError, MachineError
from unetr.queue.record import (
    ENDED,
    WAITING,
    JobError,
    JobEvent,
    JobRecord,
    JobSpec,
    JobState,
    ResultFile,
    ScanRecord,
    Settings,
)

MOST_WAITING = 32
MOST_ATTEMPTS = 3
_BUSY_MS = 10_000

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


class QueueFullError(InputError):
    """As many jobs wait as may; the caller tries again later."""


class JobStore:
    """The scans and jobs of one queue. Safe to use from several threads, and several processes.

    clock: seconds since 1970, for tests.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            for pragma in ("journal_mode = WAL", "synchronous = FULL", f"busy_timeout = {_BUSY_MS}"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._connection.executescript(_TABLES)
        except sqlite3.Error as error:
            raise MachineError(f"{path}: cannot be opened as the database of jobs: {error}") from error

    def close(self) -> None:
        """Ends the connection."""
        with self._lock:
            self._connection.close()

    # Scans

    def add_scan(self, scan: ScanRecord) -> ScanRecord:
        """Keeps the scan; one of the same id that is there already is returned instead."""
        with self.changing() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO scans VALUES (?, ?, ?, ?, ?)",
                (scan.id, json.dumps(scan.files), scan.bytes, scan.created_s, json.dumps(dict(scan.facts))),
            )
        return self.scan(scan.id)

    def scan(self, scan: str) -> ScanRecord:
        """Raises InputError where there is none."""
        return _scan_of(self._one("SELECT * FROM scans WHERE id = ?", (scan,), "scan"))

    def describe_scan(self, scan: str, facts: Mapping[str, Any]) -> None:
        """Notes what reading the scan told."""
        with self.changing() as connection:
            connection.execute("UPDATE scans SET facts = ? WHERE id = ?", (json.dumps(dict(facts)), scan))

    # Jobs

    def submit(
        self,
        spec: JobSpec,
        *,
        state: JobState = JobState.RECEIVED,
        origin: Mapping[str, Any] | None = None,
        most_waiting: int = MOST_WAITING,
    ) -> JobRecord:
        """The job that does what is asked for: one that is there, or a new one in `state`, received or ready.

        One that failed or was cancelled is tried again. Raises QueueFullError where `most_waiting` jobs wait already.
        """
        now = self._clock()
        with self.changing() as connection:
            row = connection.execute("SELECT * FROM jobs WHERE id = ?", (spec.id,)).fetchone()
            if row is not None and row["state"] not in (JobState.FAILED, JobState.CANCELLED):
                return _job_of(row)
            waiting = connection.execute(f"SELECT count(*) FROM jobs WHERE state IN {_sql(WAITING)}").fetchone()[0]
            if waiting >= most_waiting:
                raise QueueFullError(f"{waiting} jobs wait already, which is the most; try again later")
            connection.execute("DELETE FROM jobs WHERE id = ?", (spec.id,))
            connection.execute(
                "INSERT INTO jobs (id, scan, model, model_sha256, settings, version, state, created_s, updated_s,"
                " origin) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    spec.id,
                    spec.scan,
                    spec.model,
                    spec.model_sha256,
                    json.dumps(asdict(spec.settings)),
                    spec.version,
                    state,
                    now,
                    now,
                    json.dumps(dict(origin or {})),
                ),
            )
            self._note(connection, spec.id, state, now)
        return self.job(spec.id)

    def job(self, job: str) -> JobRecord:
        """Raises InputError where there is none."""
        return _job_of(self._one("SELECT * FROM jobs WHERE id = ?", (job,), "job"))

    def jobs(self, states: Sequence[JobState] = tuple(JobState), limit: int = 100) -> list[JobRecord]:
        """The newest first."""
        with self._lock:
            rows = self._connection.execute(
                f"SELECT * FROM jobs WHERE state IN {_sql(states)} ORDER BY created_s DESC LIMIT ?", (limit,)
            ).fetchall()
        return [_job_of(row) for row in rows]

    def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state."""
        with self._lock:
            rows = self._connection.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
        return dict.fromkeys(JobState, 0) | {JobState(state): count for state, count in rows}

    def claim(self, owner: str, lease_s: float, states: Sequence[JobState] = (JobState.READY,)) -> JobRecord | None:
        """The job that waits longest, now running and this owner's for lease_s; None where none waits.

        A running job whose lease has ended is one that waits, until its attempts are used up.
        """
        now = self._clock()
        with self.changing() as connection:
            self._take_back(connection, now)
            row = connection.execute(
                f"SELECT * FROM jobs WHERE state IN {_sql(states)} ORDER BY created_s LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            connection.execute(
                "UPDATE jobs SET state = ?, owner = ?, lease_s = ?, attempts = attempts + 1, updated_s = ?"
                " WHERE id = ?",
                (JobState.RUNNING, owner, now + lease_s, now, row["id"]),
            )
            self._note(connection, row["id"], JobState.RUNNING, now)
        return self.job(row["id"])

    def renew(self, job: str, owner: str, lease_s: float) -> bool:
        """False where the job is not this owner's any more."""
        with self.changing() as connection:
            done = connection.execute(
                "UPDATE jobs SET lease_s = ? WHERE id = ? AND owner = ? AND state = ?",
                (self._clock() + lease_s, job, owner, JobState.RUNNING),
            )
            return done.rowcount == 1

    def take_back_all(self) -> int:
        """Every running job waits again. For the start of the one process that may run them: their owners are gone."""
        with self.changing() as connection:
            connection.execute("UPDATE jobs SET lease_s = 0 WHERE state = ?", (JobState.RUNNING,))
            return self._take_back(connection, self._clock())

    def release(self, job: str, owner: str) -> None:
        """Gives a running job back, as its engine died; it is tried again, or failed where attempts are used up."""
        with self.changing() as connection:
            connection.execute(
                "UPDATE jobs SET lease_s = 0 WHERE id = ? AND owner = ? AND state = ?", (job, owner, JobState.RUNNING)
            )
            self._take_back(connection, self._clock())

    def make_ready(self, job: str) -> bool:
        """received -> ready: its scan can be read."""
        return self._move(job, (JobState.RECEIVED,), JobState.READY)

    def make_written(self, job: str, owner: str, results: Sequence[ResultFile], summary: Mapping[str, Any]) -> bool:
        """running -> written; False where the job is not this owner's any more, whose files then count for nothing."""
        told = {"results": json.dumps([asdict(one) for one in results]), "summary": json.dumps(dict(summary))}
        return self._move(job, (JobState.RUNNING,), JobState.WRITTEN, owner=owner, **told)

    def add_result(self, job: str, result: ResultFile) -> JobRecord:
        """Another form of a written result, made later; one that is there already stays."""
        with self.changing() as connection:
            found = self.job(job)
            if all(one.form != result.form for one in found.results):
                told = json.dumps([asdict(one) for one in (*found.results, result)])
                connection.execute("UPDATE jobs SET results = ? WHERE id = ?", (told, job))
        return self.job(job)

    def make_delivered(self, job: str) -> bool:
        """written -> delivered."""
        return self._move(job, (JobState.WRITTEN,), JobState.DELIVERED)

    def fail(self, job: str, error: JobError) -> bool:
        """Ends a job that has not ended."""
        return self._move(job, (*WAITING, JobState.RUNNING), JobState.FAILED, error=json.dumps(asdict(error)))

    def cancel(self, job: str) -> JobRecord:
        """A job that waits is cancelled; one that runs is asked to stop (`cancelling`); one that has ended stays."""
        if not self._move(job, WAITING, JobState.CANCELLED):
            with self.changing() as connection:
                connection.execute("UPDATE jobs SET cancelling = 1 WHERE id = ? AND state = ?", (job, JobState.RUNNING))
        return self.job(job)

    def make_cancelled(self, job: str) -> bool:
        """running -> cancelled: its engine has stopped."""
        return self._move(job, (JobState.RUNNING,), JobState.CANCELLED)

    def forget(self, job: str) -> None:
        """Removes a job that has ended, and its events. Its files are the caller's to remove before."""
        with self.changing() as connection:
            gone = connection.execute(f"DELETE FROM jobs WHERE id = ? AND state IN {_sql(ENDED)}", (job,)).rowcount
            if gone:
                connection.execute("DELETE FROM events WHERE job = ?", (job,))

    def forget_scan(self, scan: str) -> bool:
        """Removes a scan that no job needs; whether it is gone."""
        with self.changing() as connection:
            return (
                connection.execute(
                    "DELETE FROM scans WHERE id = ? AND id NOT IN (SELECT scan FROM jobs)", (scan,)
                ).rowcount
                == 1
            )

    def idle_scans(self, before_s: float) -> list[ScanRecord]:
        """Scans from before that time that no job needs."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT * FROM scans WHERE created_s < ? AND id NOT IN (SELECT scan FROM jobs)", (before_s,)
            ).fetchall()
        return [_scan_of(row) for row in rows]

    def events(self, job: str, after: int = 0) -> list[JobEvent]:
        """The changes of a job's state with numbers above `after`, oldest first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT * FROM events WHERE job = ? AND number > ? ORDER BY number", (job, after)
            ).fetchall()
        return [JobEvent(number=r["number"], job=job, state=JobState(r["state"]), at_s=r["at_s"]) for r in rows]

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
                    raise MachineError(f"the database of jobs cannot be written: {error}; free space") from error
                raise

    def _move(self, job: str, states: Sequence[JobState], to: JobState, owner: str | None = None, **told: str) -> bool:
        """Changes the state where it is one of `states`, and the owner is the given one; whether it did."""
        now = self._clock()
        columns = "".join(f", {name} = ?" for name in told)
        with self.changing() as connection:
            moved = connection.execute(
                f"UPDATE jobs SET state = ?, updated_s = ?, owner = NULL, lease_s = NULL, cancelling = 0{columns} "
                f"WHERE id = ? AND state IN {_sql(states)} AND (? IS NULL OR owner = ?)",
                (to, now, *told.values(), job, owner, owner),
            ).rowcount
            if moved:
                self._note(connection, job, to, now)
        return moved == 1

    def _take_back(self, connection: sqlite3.Connection, now: float) -> int:
        """Running jobs whose lease has ended wait again, are cancelled where that was asked for, or have failed."""
        rows = connection.execute(
            "SELECT id, attempts, cancelling FROM jobs WHERE state = ? AND lease_s <= ?", (JobState.RUNNING, now)
        ).fetchall()
        for row in rows:
            if row["cancelling"]:
                self._move(row["id"], (JobState.RUNNING,), JobState.CANCELLED)
            elif row["attempts"] >= MOST_ATTEMPTS:
                ended = f"the engine ended without a word in each of {row['attempts']} attempts"
                self.fail(row["id"], JobError(kind="MachineError", message=ended))
            else:
                self._move(row["id"], (JobState.RUNNING,), JobState.READY)
        return len(rows)

    def _one(self, query: str, values: Sequence[str], what: str) -> sqlite3.Row:
        with self._lock:
            row: sqlite3.Row | None = self._connection.execute(query, values).fetchone()
        if row is None:
            raise InputError(f"no such {what}; it may have been removed after its time")
        return row

    def _note(self, connection: sqlite3.Connection, job: str, state: JobState, now: float) -> None:
        connection.execute("INSERT INTO events (job, state, at_s) VALUES (?, ?, ?)", (job, state, now))


def _sql(states: Sequence[JobState]) -> str:
    return "(" + ", ".join(f"'{state}'" for state in states) + ")"


def _settings_of(told: dict[str, Any]) -> Settings:
    told["series"], told["forms"] = tuple(told["series"]), tuple(told["forms"])
    return Settings(**told)


def _job_of(row: sqlite3.Row) -> JobRecord:
    spec = JobSpec(
        scan=row["scan"],
        model=row["model"],
        model_sha256=row["model_sha256"],
        settings=_settings_of(json.loads(row["settings"])),
        version=row["version"],
    )
    return JobRecord(
        id=row["id"],
        spec=spec,
        state=JobState(row["state"]),
        created_s=row["created_s"],
        updated_s=row["updated_s"],
        attempts=row["attempts"],
        cancelling=bool(row["cancelling"]),
        results=tuple(ResultFile(**one) for one in json.loads(row["results"])),
        summary=json.loads(row["summary"]),
        error=None if row["error"] is None else JobError(**json.loads(row["error"])),
        origin=json.loads(row["origin"]),
    )


def _scan_of(row: sqlite3.Row) -> ScanRecord:
    return ScanRecord(
        id=row["id"],
        files=tuple(json.loads(row["files"])),
        bytes=row["bytes"],
        created_s=row["created_s"],
        facts=json.loads(row["facts"]),
    )
