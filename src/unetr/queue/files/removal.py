"""What is removed: results and scans after their time, and at the start what was never acknowledged."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

from unetr.core.files.atomic import machine_error, remove_leftovers
from unetr.queue.files.scans import Scans
from unetr.queue.folder import QueueFolder
from unetr.queue.record import JobRecord
from unetr.queue.store import JobStore


def remove_unknown(folder: QueueFolder, store: JobStore) -> None:
    """Whatever lies in `incoming/`, scans and jobs that the database does not know, and what was half written when a
    process was killed. For the start alone."""
    _remove(*_in(folder.incoming))
    _remove_without_record(folder, store)
    for room in ("scans/*", "jobs/*", "jobs/*/corrections"):
        remove_leftovers(folder.path.glob(room))


def remove_old(
    folder: QueueFolder, store: JobStore, scans: Scans, before_s: float, held: Callable[[JobRecord], bool]
) -> list[JobRecord]:
    """Files first, then what the database knows of them, so that nothing stays behind that nobody knows.

    before_s: when a job has ended, a scan that no job needs has come, or a folder has received its last file. held:
    whether a job is still needed. Returns the jobs that are gone. Raises MachineError.
    """
    gone = []
    for job in store.ended_before(before_s):
        if not held(job):
            with scans.guard:
                _remove(folder.job(job.id))
                store.forget(job.id)
            gone.append(job)
    _remove(*(path for path in _in(folder.incoming) if _changed_s(path) < before_s))
    for scan in store.idle_scans(before_s):
        with scans.guard:
            if any(each.id == scan.id for each in store.idle_scans(before_s)):
                _remove(folder.scan(scan.id))
                store.forget_scan(scan.id)
    with scans.guard:  # a view or a form that was being made of what has just gone
        _remove_without_record(folder, store)
    return gone


def removed(folder: Path) -> None:
    """The folder and all in it are gone, if they were there. Raises MachineError."""
    _remove(folder)


def emptied(folder: Path) -> Path:
    """The folder, made anew. Raises MachineError."""
    removed(folder)
    try:
        folder.mkdir(0o700, parents=True)
    except OSError as error:
        raise machine_error(Path("the result"), error) from error
    return folder


def _remove_without_record(folder: QueueFolder, store: JobStore) -> None:
    for room, known in (("scans", store.scan_ids()), ("jobs", store.job_ids())):
        _remove(*(path for path in _in(folder.path / room) if path.name not in known))


def _in(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise machine_error(Path(folder.name), error) from error


def _changed_s(path: Path) -> float:
    """When it was written to, or files came or went; now where it is gone."""
    try:
        return max(each.stat().st_mtime for each in (path, *path.glob("*")))
    except OSError:
        return math.inf


def _remove(*paths: Path) -> None:
    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise machine_error(Path(path.name), error) from error
