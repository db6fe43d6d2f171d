"""Between the database's rows and the queue's records."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from unetr.queue.record import JobError, JobEvent, JobRecord, JobSpec, JobState, ResultFile, ScanRecord, Settings


def states_sql(states: Sequence[JobState]) -> str:
    """The states as SQL writes a list of them; they are of this program, never of others."""
    return "(" + ", ".join(f"'{state}'" for state in states) + ")"


def _settings_of(told: dict[str, Any]) -> Settings:
    told["series"], told["forms"] = tuple(told["series"]), tuple(told["forms"])
    return Settings(**told)


def joined_origin(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """What two who ask for the same work note of it: the first one's word counts, lists in mappings are of both.

    So a result that two rules want goes to the places of both.
    """
    both = {**second, **first}
    for name, told in first.items():
        other = second.get(name)
        if isinstance(told, Mapping) and isinstance(other, Mapping):
            keys = {**told, **other}
            both[name] = {key: list(dict.fromkeys((*told.get(key, ()), *other.get(key, ())))) for key in keys}
    return both


def job_of(row: sqlite3.Row) -> JobRecord:
    """A job."""
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


def scan_of(row: sqlite3.Row) -> ScanRecord:
    """A scan."""
    return ScanRecord(
        id=row["id"],
        files=tuple(json.loads(row["files"])),
        bytes=row["bytes"],
        created_s=row["created_s"],
        facts=json.loads(row["facts"]),
    )


def event_of(row: sqlite3.Row) -> JobEvent:
    """A change of a job's state."""
    return JobEvent(number=row["number"], job=row["job"], state=JobState(row["state"]), at_s=row["at_s"])
