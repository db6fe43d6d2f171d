"""Where the queue keeps its files. Every name is made here: none comes from a client.

```
jobs.sqlite3 (-wal, -shm)    states, results, deliveries
scans/<id>/source/…          the files of a scan, named 00001.dcm or scan.nii.gz
scans/<id>/view.nii          the scan as the page shows it, made when it is first asked for
jobs/<id>/…                  labels.nii.gz, stats.json, preview.png, labels.seg.dcm, corrections/0001.nii.gz …
incoming/…                   what is being received; whatever is found here at the start was never acknowledged
arriving/<digest>/…          what a DICOM node receives, until its series are whole (`node/receive/arriving.py`)
audit.jsonl                  who asked for what, without patient data
```
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from unetr.core.files.atomic import machine_error
from unetr.core.machine.system import close_to_others
from unetr.errors import InputError

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class QueueFolder:
    """The folder of a queue, which only this user may read."""

    path: Path

    @property
    def database(self) -> Path:
        """The database of jobs."""
        return self.path / "jobs.sqlite3"

    @property
    def incoming(self) -> Path:
        """Where what is being received lies."""
        return self.path / "incoming"

    @property
    def audit(self) -> Path:
        """The file of who asked for what."""
        return self.path / "audit.jsonl"

    def scan(self, scan: str) -> Path:
        """The folder of a scan. Raises InputError for what is no id."""
        return self.path / "scans" / _checked(scan)

    def source(self, scan: str) -> Path:
        """The folder of a scan's own files."""
        return self.scan(scan) / "source"

    def view(self, scan: str) -> Path:
        """The scan as the page shows it."""
        return self.scan(scan) / "view.nii"

    def job(self, job: str) -> Path:
        """The folder of a job's result. Raises InputError for what is no id."""
        return self.path / "jobs" / _checked(job)


def open_folder(path: Path) -> QueueFolder:
    """Makes the folder and its rooms where they are missing, and closes it to others. Raises MachineError."""
    try:
        for folder in (path, path / "scans", path / "jobs", path / "incoming"):
            folder.mkdir(0o700, parents=True, exist_ok=True)
        close_to_others(path)
    except OSError as error:
        raise machine_error(path, error) from error
    return QueueFolder(path)


def _checked(found: str) -> str:
    if not _ID.fullmatch(found):
        raise InputError("no such id; expected 32 of the digits 0-9 and a-f")
    return found
