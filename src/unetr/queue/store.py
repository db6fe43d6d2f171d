"""The database of scans and jobs: SQLite, in one file. What a method has returned from outlasts a kill and a power cut.

Every change of a job's state is one transaction that names the state it starts from, so that two processes or threads
never both make it. The same work is one job, however often it is submitted.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from unetr.errors import InputError
from unetr.queue.record import ENDED, WAITING, JobError, JobEvent, JobRecord, JobSpec, JobState, ResultFile
from unetr.queue.tables.rows import event_of, job_of, joined_origin, states_sql
from unetr.queue.tables.scans import ScanStore

MOST_WAITING = 32
MOST_ATTEMPTS = 3
_SILENT = "the engine ended without a word"


class QueueFullError(InputError):
    """As many jobs wait as may; the caller tries again later."""


class JobStore(ScanStore):
    """The scans and jobs of one queue. Safe to use from several threads, and several processes."""

    def submit(
        self,
        spec: JobSpec,
        *,
        state: JobState = JobState.RECEIVED,
        origin: Mapping[str, Any] | None = None,
        most_waiting: int = MOST_WAITING,
    ) -> JobRecord:
        """The job that does what is asked for: one that is there, or a new one in `state`, received or ready.

        One that failed or was cancelled is tried again. One that is there has in its `origin` what both ask for. Raises
        QueueFullError where `most_waiting` jobs wait already.
        """
        now = self._clock()
        with self.changing() as connection:
            row = connection.execute("SELECT * FROM jobs WHERE id = ?", (spec.id,)).fetchone()
            if row is not None and row["state"] not in (JobState.FAILED, JobState.CANCELLED):
                known = job_of(row)
                both = joined_origin(known.origin, origin or {})
                connection.execute("UPDATE jobs SET origin = ? WHERE id = ?", (json.dumps(both), spec.id))
                return replace(known, origin=both)
            waiting = connection.execute(f"SELECT count(*) FROM jobs WHERE state IN {states_sql(WAITING)}").fetchone()[
                0
            ]
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
        return job_of(self._database.row("job", "SELECT * FROM jobs WHERE id = ?", (job,)))

    def jobs(self, states: Sequence[JobState] = tuple(JobState), limit: int = 100) -> list[JobRecord]:
        """The newest first."""
        rows = self._database.rows(
            f"SELECT * FROM jobs WHERE state IN {states_sql(states)} ORDER BY created_s DESC LIMIT ?", (limit,)
        )
        return [job_of(row) for row in rows]

    def ended_before(self, before_s: float) -> list[JobRecord]:
        """The jobs that had ended by then."""
        rows = self._database.rows(
            f"SELECT * FROM jobs WHERE state IN {states_sql(ENDED)} AND updated_s < ?", (before_s,)
        )
        return [job_of(row) for row in rows]

    def job_ids(self) -> set[str]:
        """Of all jobs."""
        return {row[0] for row in self._database.rows("SELECT id FROM jobs")}

    def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state."""
        rows = self._database.rows("SELECT state, count(*) FROM jobs GROUP BY state")
        return dict.fromkeys(JobState, 0) | {JobState(state): count for state, count in rows}

    def oldest_waiting_s(self) -> float | None:
        """When the job that waits longest was submitted; None where none waits."""
        query = f"SELECT min(created_s) FROM jobs WHERE state IN {states_sql(WAITING)}"
        found: float | None = self._database.rows(query)[0][0]
        return found

    def claim(
        self,
        owner: str,
        lease_s: float,
        states: Sequence[JobState] = (JobState.READY,),
        but: Collection[str] = (),
    ) -> JobRecord | None:
        """The job that waits longest, now running and this owner's for lease_s; None where none waits.

        but: ids of jobs that are left for later. A running job whose lease has ended is one that waits, until its
        attempts are used up.
        """
        now = self._clock()
        with self.changing() as connection:
            self._take_back(connection, now)
            row = connection.execute(
                f"SELECT id FROM jobs WHERE state IN {states_sql(states)}"
                f" AND id NOT IN ({', '.join('?' * len(but))}) ORDER BY created_s LIMIT 1",
                tuple(but),
            ).fetchone()
            if row is None:
                return None
            connection.execute(
                "UPDATE jobs SET state = ?, owner = ?, lease_s = ?, attempts = attempts + 1, updated_s = ?,"
                " error = NULL WHERE id = ?",
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

    def release(self, job: str, owner: str, reason: str = _SILENT) -> None:
        """Gives a running job back, as its engine died; it is tried again, or failed where attempts are used up.

        reason: what happened to the engine, for people.
        """
        with self.changing() as connection:
            connection.execute(
                "UPDATE jobs SET lease_s = 0 WHERE id = ? AND owner = ? AND state = ?", (job, owner, JobState.RUNNING)
            )
            self._take_back(connection, self._clock(), reason)

    def give_back(self, job: str, owner: str, why: JobError | None = None) -> None:
        """Gives a running job back, as its engine is stopped or the disk is full (why); that is no attempt.

        One that was to stop is cancelled.
        """
        told = {} if why is None else {"error": json.dumps(asdict(why))}
        with self.changing() as connection:
            if self.job(job).cancelling:
                self._move(job, (JobState.RUNNING,), JobState.CANCELLED, owner=owner)
            elif self._move(job, (JobState.RUNNING,), JobState.READY, owner=owner, **told):
                connection.execute("UPDATE jobs SET attempts = attempts - 1 WHERE id = ?", (job,))

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
                self._changed.jobs.append(job)
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
                self._changed.jobs.append(job)
        return self.job(job)

    def make_cancelled(self, job: str) -> bool:
        """running -> cancelled: its engine has stopped."""
        return self._move(job, (JobState.RUNNING,), JobState.CANCELLED)

    def forget(self, job: str) -> None:
        """Removes a job that has ended, and its events. Its files are the caller's to remove before."""
        with self.changing() as connection:
            gone = connection.execute(
                f"DELETE FROM jobs WHERE id = ? AND state IN {states_sql(ENDED)}", (job,)
            ).rowcount
            if gone:
                connection.execute("DELETE FROM events WHERE job = ?", (job,))

    def events(self, job: str, after: int = 0) -> list[JobEvent]:
        """The changes of a job's state with numbers above `after`, oldest first."""
        rows = self._database.rows("SELECT * FROM events WHERE job = ? AND number > ? ORDER BY number", (job, after))
        return [event_of(row) for row in rows]

    def _move(
        self, job: str, states: Sequence[JobState], to: JobState, owner: str | None = None, **told: str | None
    ) -> bool:
        """Changes the state where it is one of `states`, and the owner is the given one; whether it did.

        told: columns; an `error` of before is forgotten where there is none.
        """
        now = self._clock()
        told.setdefault("error", None)
        columns = "".join(f", {name} = ?" for name in told)
        with self.changing() as connection:
            moved = connection.execute(
                f"UPDATE jobs SET state = ?, updated_s = ?, owner = NULL, lease_s = NULL, cancelling = 0{columns} "
                f"WHERE id = ? AND state IN {states_sql(states)} AND (? IS NULL OR owner = ?)",
                (to, now, *told.values(), job, owner, owner),
            ).rowcount
            if moved:
                self._note(connection, job, to, now)
        return moved == 1

    def _take_back(self, connection: sqlite3.Connection, now: float, reason: str = _SILENT) -> int:
        """Running jobs whose lease has ended wait again, are cancelled where that was asked for, or have failed."""
        rows = connection.execute(
            "SELECT id, attempts, cancelling FROM jobs WHERE state = ? AND lease_s <= ?", (JobState.RUNNING, now)
        ).fetchall()
        for row in rows:
            if row["cancelling"]:
                self._move(row["id"], (JobState.RUNNING,), JobState.CANCELLED)
            elif row["attempts"] >= MOST_ATTEMPTS:
                told = f"{reason}; it was tried {row['attempts']} times"
                self.fail(row["id"], JobError(kind="MachineError", message=told))
            else:
                self._move(row["id"], (JobState.RUNNING,), JobState.READY)
        return len(rows)

    def _note(self, connection: sqlite3.Connection, job: str, state: JobState, now: float) -> None:
        connection.execute("INSERT INTO events (job, state, at_s) VALUES (?, ?, ?)", (job, state, now))
        self._changed.jobs.append(job)
