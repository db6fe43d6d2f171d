"""The table of deliveries, in the database of jobs: one row for each form of a result and each of its destinations.

waiting -> sent -> delivered. `sent`: the destination has said yes, which is not believed until it was read back. A row
goes back to waiting where a try failed, and is dead where no further try would help, until a person asks for one. It is
superseded where a job of more slices of the same series has been written before it arrived.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from unetr.node.delivery.destination import DELIVER, wanted_of
from unetr.queue.record import FINISHED
from unetr.queue.store import JobStore

_TABLE = """
CREATE TABLE IF NOT EXISTS deliveries (
  number INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT NOT NULL, destination TEXT NOT NULL, form TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'waiting', attempts INTEGER NOT NULL DEFAULT 0, since_s REAL NOT NULL,
  next_s REAL NOT NULL, sha256 TEXT, error TEXT, UNIQUE (job, destination, form)
) STRICT
"""
# What jobs with a result supersede, and what that superseded in its turn, though it was cancelled and has no result.
_PAST = """
WITH RECURSIVE past (job) AS (
  SELECT older.value FROM jobs, json_each(jobs.origin, '$.supersedes') AS older
  WHERE jobs.state IN (?, ?) AND older.value != jobs.id
  UNION
  SELECT older.value FROM past JOIN jobs ON jobs.id = past.job, json_each(jobs.origin, '$.supersedes') AS older
  WHERE older.value != jobs.id
)
"""


class LetterState(StrEnum):
    """Where one delivery stands."""

    WAITING = "waiting"
    SENT = "sent"
    DELIVERED = "delivered"
    DEAD = "dead"
    SUPERSEDED = "superseded"


OPEN = (LetterState.WAITING, LetterState.SENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One form of one job's result on its way to one destination.

    since_s: when it was first wanted, or a person last asked for it. next_s: not tried before. sha256: of the file
    that is sent, once it is known. error: why the last try failed, without a word about the patient.
    """

    number: int
    job: str
    destination: str
    form: str
    state: LetterState
    attempts: int
    since_s: float
    next_s: float
    sha256: str | None
    error: str | None


class Letters:
    """The deliveries of one queue. Safe to use from several threads and processes, as JobStore is."""

    def __init__(self, store: JobStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        with store.changing() as connection:
            connection.execute(_TABLE)

    def collect(self) -> int:
        """Makes the letters of written jobs that are not there yet, and forgets those of jobs that are gone. What a
        newer job supersedes is not sent any more.

        Returns how many are new. Done twice, it does nothing the second time.
        """
        now, made = self._clock(), 0
        with self._store.changing() as connection:
            connection.execute("DELETE FROM deliveries WHERE job NOT IN (SELECT id FROM jobs)")
            rows = connection.execute(
                f"SELECT id, origin FROM jobs WHERE state IN (?, ?) AND json_extract(origin, '$.{DELIVER}') IS NOT NULL"
                " AND (SELECT count(*) FROM deliveries WHERE job = jobs.id) <"
                f" (SELECT total(json_array_length(value)) FROM json_each(jobs.origin, '$.{DELIVER}'))",
                FINISHED,
            ).fetchall()
            for row in rows:
                for destination, form in wanted_of(json.loads(row["origin"])):
                    made += connection.execute(
                        "INSERT OR IGNORE INTO deliveries (job, destination, form, since_s, next_s)"
                        " VALUES (?, ?, ?, ?, ?)",
                        (row["id"], destination, form, now, now),
                    ).rowcount
            connection.execute(
                f"{_PAST} UPDATE deliveries SET state = ? WHERE state IN {_sql(OPEN)}"
                " AND job IN (SELECT job FROM past)",
                (*FINISHED, LetterState.SUPERSEDED),
            )
        return made

    def due(self, destination: str, longest_s: float) -> Letter | None:
        """The letter to this destination that has been due longest, None where none is.

        longest_s: the longest wait between two tries. What seems to wait for longer was noted before the clock was set
        back, and is due, too.
        """
        now = self._clock()
        found = self._found(
            f"destination = ? AND state IN {_sql(OPEN)} AND (next_s <= ? OR next_s > ?) ORDER BY next_s LIMIT 1",
            (destination, now, now + longest_s),
        )
        return found[0] if found else None

    def open(self, destination: str) -> list[Letter]:
        """The letters that are on their way to this destination."""
        return self._found(f"destination = ? AND state IN {_sql(OPEN)} ORDER BY number", (destination,))

    def elsewhere(self, known: Sequence[str]) -> list[Letter]:
        """Letters on their way to destinations that are none of these."""
        marks = ", ".join("?" * len(known))
        return self._found(f"destination NOT IN ({marks}) AND state IN {_sql(OPEN)}", known)

    def dead(self) -> list[Letter]:
        """The letters that are not tried any more, the oldest first."""
        return self._found("state = ? ORDER BY number", (LetterState.DEAD,))

    def fixed(self, letter: Letter, sha256: str) -> None:
        """Notes the digest of the file, before anything is sent."""
        self._change(letter.number, "sha256 = ?", (sha256,))

    def begin(self, letter: Letter) -> None:
        """Counts a try, before it is made: a kill in the middle of it is one, too."""
        self._change(letter.number, "attempts = attempts + 1", ())

    def sent(self, letter: Letter) -> None:
        """waiting -> sent."""
        self._change(letter.number, "state = ?, error = NULL", (LetterState.SENT,))

    def failed(self, letter: Letter, why: str, next_s: float) -> None:
        """Back to waiting, until next_s."""
        self._change(letter.number, "state = ?, error = ?, next_s = ?", (LetterState.WAITING, why, next_s))

    def died(self, letter: Letter, why: str) -> None:
        """No further try is made, until `retry`."""
        self._change(letter.number, "state = ?, error = ?", (LetterState.DEAD, why))

    def delivered(self, letter: Letter) -> bool:
        """The destination has it. With the last letter of a job the job is delivered; whether it is."""
        with self._store.changing():
            self._change(letter.number, "state = ?, error = NULL", (LetterState.DELIVERED,))
            rest = self._found("job = ? AND state != ? LIMIT 1", (letter.job, LetterState.DELIVERED))
            return not rest and self._store.make_delivered(letter.job)

    def retry(self, numbers: Sequence[int]) -> int:
        """Dead letters wait again, their time anew; how many."""
        now, count = self._clock(), 0
        with self._store.changing() as connection:
            for number in numbers:
                count += connection.execute(
                    "UPDATE deliveries SET state = ?, attempts = 0, since_s = ?, next_s = ? WHERE number = ?"
                    " AND state = ?",
                    (LetterState.WAITING, now, now, number, LetterState.DEAD),
                ).rowcount
        return count

    def hurry(self, destination: str) -> None:
        """What waits for this destination is due now: it is back. Its waiting times begin anew."""
        with self._store.changing() as connection:
            connection.execute(
                "UPDATE deliveries SET next_s = ?, attempts = min(attempts, 1)"
                f" WHERE destination = ? AND state IN {_sql(OPEN)} AND next_s > ?",
                (self._clock(), destination, self._clock()),
            )

    def counts(self) -> dict[LetterState, int]:
        """How many letters are in each state."""
        with self._store.changing() as connection:
            rows = connection.execute("SELECT state, count(*) FROM deliveries GROUP BY state").fetchall()
        return dict.fromkeys(LetterState, 0) | {LetterState(state): count for state, count in rows}

    def _change(self, number: int, columns: str, values: Sequence[object]) -> None:
        with self._store.changing() as connection:
            connection.execute(f"UPDATE deliveries SET {columns} WHERE number = ?", (*values, number))

    def _found(self, where: str, values: Sequence[object]) -> list[Letter]:
        with self._store.changing() as connection:
            rows = connection.execute(f"SELECT * FROM deliveries WHERE {where}", tuple(values)).fetchall()
        return [_letter_of(row) for row in rows]


def _letter_of(row: sqlite3.Row) -> Letter:
    told = {key: row[key] for key in row.keys()}  # noqa: SIM118  # a Row's iteration gives values
    return Letter(**{**told, "state": LetterState(told["state"])})


def _sql(states: Sequence[LetterState]) -> str:
    return "(" + ", ".join(f"'{state}'" for state in states) + ")"
